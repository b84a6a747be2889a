"""Write rendered hands with exact labels as files in the format of a data set."""

from pathlib import Path
from typing import Literal, TypeAlias, get_args

from rich.console import Console
from rich.progress import track

from crossnets.atomic import UnfinishedMark, held, make_folder
from crossnets.datasets.recording import RecordingWriter
from crossnets.datasets.writers import FIXED, WITH_SPLIT, require_new_folder, set_writer
from crossnets.geometry.skeleton import MSRA21, Skeleton, find_skeleton
from crossnets.synth.clips import Clip, MotionSet, MotionSetConfig, clips_of
from crossnets.synth.hand.sampler import DISTANCE_MM
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter

Format: TypeAlias = Literal[
    "nyu", "icvl", "msra", "cvar", "hands17", "fpha", "dexycb", "ho3d", "h2o3d", "h2o", "recording"
]
FORMAT_DEFAULTS: dict[str, tuple[str, Skeleton, float, tuple[float, float]]] = {
    "nyu": (*FIXED["nyu"], 0.0, (450.0, 1000.0)),
    "icvl": (*FIXED["icvl"], 1.0, (250.0, 380.0)),
    "msra": (*FIXED["msra"], 0.0, (250.0, 600.0)),
    "cvar": (*FIXED["cvar"], 0.0, (250.0, 700.0)),
    "hands17": (*FIXED["hands17"], 0.0, (250.0, 700.0)),
    "fpha": (*FIXED["fpha"], 0.0, (250.0, 700.0)),
    "dexycb": (*FIXED["dexycb"], 0.0, (500.0, 1000.0)),
    "ho3d": (*FIXED["ho3d"], 0.0, (350.0, 900.0)),
    "h2o3d": (*FIXED["ho3d"], 0.0, (350.0, 900.0)),
    "h2o": (*FIXED["h2o"], 0.0, (300.0, 800.0)),
    "recording": ("realsense-sr300", MSRA21, 0.5, DISTANCE_MM),
}
"""Camera, skeleton, share of left hands and distances of each format. The distances are our choice: a Kinect has no
depth below 400 mm, and ICVL's test frames have none from 500 mm on."""


def write_dataset(
    as_format: Format,
    frames: int | None,
    out: Path,
    *,
    seed: int = 0,
    noise: float = 1.0,
    camera: str | None = None,
    skeleton: str | None = None,
    left_share: float | None = None,
    test_frames: int | None = None,
    clutter: bool = False,
    motion: bool = False,
    scale: float = 1.0,
    progress: bool = True,
) -> dict[str, int]:
    """Write a data set. Return the number of frames of each split.

    Without `motion` each frame shows another hand. With it, frames are continuous motion with the people, sequences and
    size of the real data set (`synth.clips`), of whose training frames `scale` is the share.

    If an earlier call with the same options was killed, a recording continues after its last whole frame. The other
    formats start again and replace each file with the same contents.

    Raises:
        BlockingIOError: another process writes into `out`.
        FileExistsError: `out` is not empty.
        FileNotFoundError: `out` was moved or deleted in the meantime.
        ValueError: the number of frames is missing or not positive, the camera or skeleton is unknown, the format does
            not support an option, or an earlier call that was killed had other options.
    """
    config = config_of(as_format, seed, noise, camera, skeleton, left_share, clutter)
    if motion:
        splits = clips_of(as_format, scale, frames, test_frames)
        counts = {name: sum(clip.frames for clip in clips) for name, clips in splits.items()}
        motion_config = moving(config, tuple(clip for clips in splits.values() for clip in clips))
        hands = MotionSet(motion_config)
        settings = str(motion_config)
    else:
        if scale != 1:
            raise ValueError(f"Found the scale {scale:g} without --motion. Give --frames instead.")
        counts = _counts(as_format, frames, test_frames)
        hands = SyntheticHands(config)
        settings = str(config)
    mark = UnfinishedMark(out, "synthesis", {"format": as_format, "frames": counts, "settings": settings})
    begun = mark.is_there()
    if not begun:
        require_new_folder(out)
    make_folder(out)
    with held(out, "writes a data set into"):
        mark.set()
        _write_splits(as_format, counts, out, hands, progress=progress)
        mark.remove()
    return counts


def _write_splits(
    as_format: Format, counts: dict[str, int], out: Path, hands: SyntheticHands | MotionSet, *, progress: bool
) -> None:
    gestures = isinstance(hands, MotionSet)
    first = 0
    for split, count in counts.items():
        writer = set_writer(
            as_format, out, split, count, hands.preset, hands.skeleton, resume=True, every_folder=gestures
        )
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


def moving(config: SyntheticConfig, clips: tuple[Clip, ...]) -> MotionSetConfig:
    """Settings of continuous motion, from those of single frames.

    Raises:
        ValueError: the surroundings would have to move too.
    """
    if config.clutter is not None:
        raise ValueError(
            "Found --clutter with --motion, but surroundings that move with a hand are missing. Leave one out."
        )
    return MotionSetConfig(
        camera=config.camera,
        skeleton=config.skeleton,
        clips=clips,
        seed=config.seed,
        noise=config.noise[0],
        left_share=config.left_share,
        distance_mm=config.distance_mm,
    )


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
    if as_format == "dexycb" and left_share:
        raise ValueError(
            "--left-share does not apply to dexycb, whose sequences show one hand each: ours are right hands."
        )
    if as_format == "h2o3d" and left_share:
        raise ValueError("--left-share does not apply to h2o3d, whose labels we write for the right hand alone.")
    return SyntheticConfig(
        camera=camera or default_camera,
        skeleton=default_skeleton if skeleton is None else find_skeleton(skeleton),
        seed=seed,
        noise=(noise, noise),
        left_share=default_share if left_share is None else left_share,
        distance_mm=distance_mm,
        clutter=Clutter() if clutter else None,
    )


def _counts(as_format: Format, frames: int | None, test_frames: int | None) -> dict[str, int]:
    """Return the number of frames of each split."""
    if frames is None:
        raise ValueError("Give --frames, or --motion for as many frames as the real data set has.")
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
