"""The command `generate`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro


def generate(
    action: tyro.conf.Positional[Literal["pose-to-depth", "depth-to-pose", "walk", "sample"]],
    model: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="MODEL")]],
    data: str | None = None,
    frame: str | None = None,
    start: Annotated[str | None, tyro.conf.arg(name="from")] = None,
    end: Annotated[str | None, tyro.conf.arg(name="to")] = None,
    steps: int = 9,
    count: int = 8,
    seed: int = 0,
    by_image: bool = False,
    split: Literal["train", "test"] = "test",
    out: Path = Path("generated"),
) -> None:
    """Draw the latent space of a model: a depth map from a pose, a pose from a depth map, a walk, or random hands.

    Example: crossnets generate walk runs/few --data cvar:PATH#P5 --from 0 --to 100

    Args:
        action: pose-to-depth starts from the label of a frame, depth-to-pose from its image. walk goes straight
            from the latent of one frame to that of another, and draws a depth map and a pose at each step. sample
            draws random hands and needs no data.
        model: Run or model folder.
        data: Data set with the frames, such as cvar:PATH#P5. Labels of another skeleton are converted.
        frame: Frame of the first two actions: its key, such as cvar/P5/000100, or its index from 0.
        start: First frame of a walk: key or index.
        end: Last frame of a walk.
        steps: Steps of a walk, both ends included.
        count: Number of hands of a sample.
        seed: Seed of a sample.
        by_image: Walk between the latents of the two images instead of their labels.
        split: Split of NYU, ICVL, HANDS17, FPHA, DexYCB, HO-3D, H2O-3D and H2O.
        out: Folder for ACTION.png and, for a walk, walk.gif and walk.html. Old ones are replaced.
    """
    from crossnets.latent.generating import generate_command

    paths = generate_command(
        action,
        model,
        data=data,
        split=split,
        frame=frame,
        start=start,
        end=end,
        steps=steps,
        count=count,
        seed=seed,
        by_image=by_image,
        out=out,
    )
    for path in paths:
        print(path)
