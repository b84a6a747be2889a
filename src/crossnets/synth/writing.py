"""Rendered hands with exact labels, written as files of a data set's own format."""

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from rich.console import Console
from rich.progress import track

from crossnets.datasets.writers import require_new_folder, set_writer
from crossnets.geometry.skeleton import CVAR21, ICVL16, MSRA21, NYU36, SKELETONS, Skeleton
from crossnets.synth.hand.sampler import DISTANCE_MM
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter

Format: TypeAlias = Literal["nyu", "icvl", "msra", "cvar", "recording"]
FORMAT_DEFAULTS: dict[str, tuple[str, Skeleton, float, tuple[float, float]]] = {
    "nyu": ("nyu-kinect", NYU36, 0.0, (450.0, 1000.0)),
    "icvl": ("icvl-senz3d", ICVL16, 1.0, (250.0, 380.0)),
    "msra": ("msra-senz3d", MSRA21, 0.0, (250.0, 600.0)),
    "cvar": ("cvar-senz3d", CVAR21, 0.0, (250.0, 700.0)),
    "recording": ("realsense-sr300", MSRA21, 0.5, DISTANCE_MM),
}
"""Camera, skeleton, share of left hands, distances (our choice; a Kinect sees nothing below 400 mm, and ICVL's test
frames nothing from 500 mm on)."""


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
    """Write a data set; returns the number of frames of each split.

    Raises:
        FileExistsError: `out` holds something.
        ValueError: no frames, an unknown camera or skeleton, or a choice that the format does not leave.
    """
    config = config_of(as_format, seed, noise, camera, skeleton, left_share, clutter)
    counts = _counts(as_format, frames, test_frames)
    require_new_folder(out)
    hands, first = SyntheticHands(config), 0
    for split, count in counts.items():
        writer = set_writer(as_format, out, split, count, hands.preset, hands.skeleton)
        indices = range(first, first + count)
        bar = track(indices, f"Rendering {split}", count, console=Console(stderr=True), transient=True)
        for index in bar if progress else indices:
            frame = hands.frame(index)
            assert frame.joints_mm is not None
            writer.add(frame.depth_mm, frame.joints_mm)
        writer.close()
        first += count
    return counts


def config_of(
    as_format: Format,
    seed: int = 0,
    noise: float = 1.0,
    camera: str | None = None,
    skeleton: str | None = None,
    left_share: float | None = None,
    clutter: bool = False,
) -> SyntheticConfig:
    """Settings of a format's rendered frames. The training split holds the first frames, the test split those after
    them.

    Raises:
        ValueError: an unknown format, camera or skeleton, or a choice that the format does not leave.
    """
    if as_format not in get_args(Format):
        raise ValueError(f"Cannot write {as_format!r}; known: {', '.join(get_args(Format))}.")
    own_camera, own_skeleton, own_share, distance_mm = FORMAT_DEFAULTS[as_format]
    if as_format != "recording" and (camera or skeleton):
        raise ValueError(
            f"--camera and --skeleton are for recordings: {as_format} has {own_camera} and {own_skeleton.name}."
        )
    if skeleton is not None and skeleton not in SKELETONS:
        raise ValueError(f"There is no skeleton {skeleton!r}; known: {', '.join(SKELETONS)}.")
    return SyntheticConfig(
        camera=camera or own_camera,
        skeleton=own_skeleton if skeleton is None else SKELETONS[skeleton],
        seed=seed,
        noise=(noise, noise),
        left_share=own_share if left_share is None else left_share,
        distance_mm=distance_mm,
        clutter=Clutter() if clutter else None,
    )


def _counts(as_format: Format, frames: int, test_frames: int | None) -> dict[str, int]:
    """Frames of each split."""
    if frames < 1 or (test_frames is not None and test_frames < 0):
        raise ValueError(f"Asked for {frames} frames and {test_frames} test frames; expected at least one frame.")
    if as_format not in ("nyu", "icvl"):
        if test_frames is not None:
            raise ValueError(f"--test-frames is for nyu and icvl: {as_format} has no test split.")
        return {"frames": frames}
    test = max(frames // 10, 2) if test_frames is None else test_frames
    if as_format == "icvl" and test == 1:
        raise ValueError("Asked for 1 test frame; ICVL has two test sequences. Ask for 2 or more, or for 0.")
    return {"train": frames, "test": test} if test else {"train": frames}
