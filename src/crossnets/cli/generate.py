"""The command `generate`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro


def generate(
    action: tyro.conf.Positional[Literal["pose-to-depth", "depth-to-pose", "walk"]],
    model: tyro.conf.Positional[Path],
    data: str,
    frame: str | None = None,
    start: Annotated[str | None, tyro.conf.arg(name="from")] = None,
    end: Annotated[str | None, tyro.conf.arg(name="to")] = None,
    steps: int = 9,
    by_image: bool = False,
    split: Literal["train", "test"] = "test",
    out: Path = Path("generated"),
) -> None:
    """Draw what a model makes of its latent space: a depth map from a pose, a pose from a depth map, or a walk.

    Args:
        action: pose-to-depth starts from the label of a frame, depth-to-pose from its image; walk goes straight from
            the latent of one frame to that of another, and draws a depth map and a pose at each step.
        model: Run or model folder.
        data: Data set with the frames, such as cvar:PATH#P5.
        frame: Of the first two actions: its key, such as cvar/P5/000100, or its index from 0.
        start: Where a walk starts: key or index.
        end: Where it ends.
        steps: Of a walk, with both ends.
        by_image: A walk between what is estimated from the two images, instead of between their labels.
        split: Of NYU and ICVL.
        out: Folder for ACTION.png and, for a walk, walk.gif; old ones are replaced.
    """
    from crossnets.latent.drawing import generate_command

    paths = generate_command(
        action,
        model,
        data=data,
        split=split,
        frame=frame,
        start=start,
        end=end,
        steps=steps,
        by_image=by_image,
        out=out,
    )
    for path in paths:
        print(path)
