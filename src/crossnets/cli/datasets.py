"""Commands about data sets."""

from pathlib import Path
from typing import Annotated, Literal

import tyro

from crossnets.data.info import info_command


def data(
    action: tyro.conf.Positional[Literal["info"]],
    path: tyro.conf.Positional[str],
    split: Literal["train", "test"] = "train",
    json: bool = False,
) -> None:
    """Say what a data set's folder holds: frames, labels, joints, camera, depth range, bones, and what is broken.

    Args:
        action: What to do.
        path: A folder, or FORMAT:FOLDER#PARTS, such as cvar:PATH#P1,P4.
        split: For NYU and ICVL.
        json: Print JSON alone.
    """
    assert action == "info"
    info_command(path, json, split)


def synthesize(
    as_format: Annotated[Literal["nyu", "icvl", "msra", "cvar", "recording"], tyro.conf.arg(name="as")],
    frames: int,
    out: Path,
    seed: int = 0,
    noise: float = 1.0,
    camera: str | None = None,
    skeleton: str | None = None,
    left_share: float | None = None,
    test_frames: int | None = None,
    clutter: bool = False,
) -> None:
    """Render hands with exact labels into a data set of a benchmark's own format.

    Args:
        as_format: Whose files; ICVL shows left hands, the others but recordings right ones.
        frames: Of the training split, or of all.
        out: A new folder; an old one is not overwritten.
        seed: The same seed gives the same frames.
        noise: Strength of the sensor's noise; 0 for exact depth.
        camera: Of a recording: a preset such as realsense-d435.
        skeleton: Of a recording's labels: nyu36, nyu14, icvl16, msra21 or cvar21.
        left_share: Share of left hands, 0 to 1.
        test_frames: Of the test split of nyu and icvl; a tenth of --frames unless given.
        clutter: With sleeves, other hands, things, a desk, the person and the room in the picture.
    """
    from crossnets.data.synthesize import synthesize as write

    counts = write(
        as_format,
        frames,
        out,
        seed=seed,
        noise=noise,
        camera=camera,
        skeleton=skeleton,
        left_share=left_share,
        test_frames=test_frames,
        clutter=clutter,
    )
    print(f"{out}: {', '.join(f'{count} {split}' for split, count in counts.items())}")
