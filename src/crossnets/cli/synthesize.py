"""The command `synthesize`."""

from pathlib import Path
from typing import Annotated, Literal

import tyro


def synthesize(
    as_format: Annotated[Literal["nyu", "icvl", "msra", "cvar", "hands17", "recording"], tyro.conf.arg(name="as")],
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

    The same command continues after a kill.

    Args:
        as_format: Format. ICVL shows left hands, recordings both, and the others right hands.
        frames: Frames of the training split, or of all.
        out: A new folder. An old one is not overwritten.
        seed: The same seed gives the same frames.
        noise: Strength of the sensor's noise. 0 gives exact depth.
        camera: Camera of a recording: a preset such as realsense-d435.
        skeleton: Skeleton of a recording's labels: nyu36, nyu14, icvl16, msra21, cvar21, mediapipe21 or hands17-21.
        left_share: Share of left hands, 0 to 1.
        test_frames: Frames of the test split of nyu, icvl and hands17. A tenth of --frames by default.
        clutter: Render sleeves, other hands, things, a desk, the person and the room as well.
    """
    from crossnets.synth.writing import write_dataset

    counts = write_dataset(
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
