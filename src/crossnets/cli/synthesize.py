"""The command `synthesize`."""

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import tyro


def synthesize(
    as_format: Annotated[
        Literal["nyu", "icvl", "msra", "cvar", "hands17", "fpha", "dexycb", "ho3d", "h2o3d", "h2o", "recording"],
        tyro.conf.arg(name="as"),
    ],
    out: Path,
    frames: int | None = None,
    motion: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    scale: str = "1",
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

    Example: crossnets synthesize --as nyu --motion --scale 1/6 --out nyu

    Args:
        as_format: Format. ICVL shows left hands, recordings both, and the others right hands.
        out: A new folder. An old one is not overwritten.
        frames: Frames of the training split, or of all. With --motion the real data set's number by default.
        motion: Continuous motion, with the people, sequences and number of frames of the real data set. Without it each
            frame shows another hand.
        scale: Share of the real data set's training frames for --motion, such as 1/6.
        seed: The same seed gives the same frames.
        noise: Strength of the sensor's noise. 0 gives exact depth.
        camera: Camera of a recording: a preset such as realsense-d435.
        skeleton: Skeleton of a recording's labels: nyu36, nyu14, icvl16, msra21, cvar21, mediapipe21, hands17-21 or
            ho3d-21, or a JSON file that declares one.
        left_share: Share of left hands, 0 to 1.
        test_frames: Frames of the test split of nyu, icvl, hands17, fpha, dexycb, ho3d, h2o3d and h2o. A tenth of
            --frames by default, and with --scale the real data set's number.
        clutter: Render sleeves, other hands, things, a desk, the person and the room as well.
    """
    from crossnets.synth.writing import write_dataset

    try:
        share = float(Fraction(scale))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ValueError(f"Found --scale {scale}, expected a share such as 1/6 or 0.1.") from None
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
        motion=motion,
        scale=share,
    )
    print(f"{out}: {', '.join(f'{count} {split}' for split, count in counts.items())}")
