"""Write rendered hands with exact labels as files in the format of a data set."""

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from rich.console import Console
from rich.progress import track

from crossnets.atomic import UnfinishedMark, held, make_folder
from crossnets.datasets.recording import RecordingWriter
from crossnets.datasets.writers import require_new_folder, set_writer
from crossnets.geometry.skeleton import CVAR21, HANDS17_21, ICVL16, MSRA21, NYU36, SKELETONS, Skeleton
from crossnets.synth.hand.sampler import DISTANCE_MM
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter

Format: TypeAlias = Literal["nyu", "icvl", "msra", "cvar", "hands17", "recording"]
FORMAT_DEFAULTS: dict[str, tuple[str, Skeleton, float, tuple[float, float]]] = {
    "nyu": ("nyu-kinect", NYU36, 0.0, (450.0, 1000.0)),
    "icvl": ("icvl-senz3d", ICVL16, 1.0, (250.0, 380.0)),
    "msra": ("msra-senz3d", MSRA21, 0.0, (250.0, 600.0)),
    "cvar": ("cvar-senz3d", CVAR21, 0.0, (250.0, 700.0)),
    "hands17": ("realsense-sr300", HANDS17_21, 0.0, (250.0, 700.0)),
    "recording": ("realsense-sr300", MSRA21, 0.5, DISTANCE_MM),
}
"""Camera, skeleton, share of left hands and distances of each format. The distances are our choice: a Kinect has no
depth below 400 mm, and ICVL's test frames have none from 500 mm on."""


WITH_SPLIT = ("nyu", "icvl", "hands17")
"""Formats with a training and a test split."""


def write_dataset(
    as_format: Format,
    frames: int,
    out: Path,
    *,
    seed: int = 0,
    noise: float = 1.0,
    camera: str | None = None,
    skeleton: str | None = None,
    left_share: float | None = None,
    test_frames: int | None = None,
    clutter: bool = False,
    progress: bool = True,
) -> dict[str, int]:
    """Write a data set. Return the number of frames of each split.

    If an earlier call with the same options was killed, a recording continues after its last whole frame. The other
    formats start again and replace each file with the same contents.

    Raises:
        BlockingIOError: another process writes into `out`.
        FileExistsError: `out` is not empty.
        ValueError: the number of frames is not positive, the camera or skeleton is unknown, the format does not support
            an option, or an earlier call that was killed had other options.
    """
    config = config_of(as_format, seed, noise, camera, skeleton, left_share, clutter)
    counts = _counts(as_format, frames, test_frames)
    mark = UnfinishedMark(out, "synthesis", {"format": as_format, "frames": counts, "settings": str(config)})
    begun = mark.is_there()
    if not begun:
        require_new_folder(out)
    make_folder(out)
    with held(out, "writes a data set into"):
        mark.set()
        _write_splits(as_format, counts, out, config, progress=progress)
        mark.remove()
    return counts


def _write_splits(
    as_format: Format, counts: dict[str, int], out: Path, config: SyntheticConfig, *, progress: bool
) -> None:
    hands = SyntheticHands(config)
    first = 0
    for split, count in counts.items():
        writer = set_writer(as_format, out, split, count, hands.preset, hands.skeleton, resume=True)
        written = writer.count if isinstance(writer, RecordingWriter) else 0
        indices = range(first + written, first + count)
        bar = track(indices, f"Rendering {split}", len(indices), console=Console(stderr=True), transient=True)
        try:
            for index in bar if progress else indices:
                frame = hands.frame(index)
                assert frame.joints_mm is not None
                writer.add(frame.depth_mm, frame.joints_mm)
        except BaseException:
            # A recording that is closed can be continued too. The others write the labels of whole splits alone.
            if isinstance(writer, RecordingWriter):
                writer.close()
            raise
        writer.close()
        first += count


def config_of(
    as_format: Format,
    seed: int = 0,
    noise: float = 1.0,
    camera: str | None = None,
    skeleton: str | None = None,
    left_share: float | None = None,
    clutter: bool = False,
) -> SyntheticConfig:
    """Return the settings of a format's rendered frames.

    The training split holds the first frames of the stream. The test split holds the next ones.

    Raises:
        ValueError: the format, camera or skeleton is unknown, or the format does not support an option.
    """
    if as_format not in get_args(Format):
        raise ValueError(f"Unknown format {as_format!r}. Known: {', '.join(get_args(Format))}.")
    default_camera, default_skeleton, default_share, distance_mm = FORMAT_DEFAULTS[as_format]
    if as_format != "recording" and (camera or skeleton):
        raise ValueError(
            f"--camera and --skeleton apply to recordings only: {as_format} always has {default_camera} and "
            f"{default_skeleton.name}."
        )
    if skeleton is not None and skeleton not in SKELETONS:
        raise ValueError(f"Unknown skeleton {skeleton!r}. Known: {', '.join(SKELETONS)}.")
    return SyntheticConfig(
        camera=camera or default_camera,
        skeleton=default_skeleton if skeleton is None else SKELETONS[skeleton],
        seed=seed,
        noise=(noise, noise),
        left_share=default_share if left_share is None else left_share,
        distance_mm=distance_mm,
        clutter=Clutter() if clutter else None,
    )


def _counts(as_format: Format, frames: int, test_frames: int | None) -> dict[str, int]:
    """Return the number of frames of each split."""
    if frames < 1 or (test_frames is not None and test_frames < 0):
        raise ValueError(
            f"Invalid numbers of frames: {frames}, and {test_frames} for testing. Expected at least one frame."
        )
    if as_format not in WITH_SPLIT:
        if test_frames is not None:
            raise ValueError(f"--test-frames applies to {', '.join(WITH_SPLIT)} only: {as_format} has no test split.")
        return {"frames": frames}
    test = max(frames // 10, 2) if test_frames is None else test_frames
    if as_format == "icvl" and test == 1:
        raise ValueError("ICVL has two test sequences, so 1 test frame is too few. Use 2 or more, or 0.")
    return {"train": frames, "test": test} if test else {"train": frames}
