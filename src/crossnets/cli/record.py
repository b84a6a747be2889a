"""Commands that read a camera."""

from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn

from crossnets.cli.arguments import Source
from crossnets.datasets.image_sources import counted

_HELD = 90
"""Frames that `record` keeps while the disk is busy: 3 s."""


def record(
    source: Source,
    out: Path,
    frames: int | None = None,
    seconds: float | None = None,
    camera: str | None = None,
    seed: int = 0,
    retry_s: float = 2.0,
    tries: int = 5,
) -> None:
    """Write the frames of a camera as a recording, until there are enough or Ctrl-C.

    SIGTERM ends it as Ctrl-C does. After a kill the same command continues the recording.

    Example: crossnets record realsense --out my-hands --seconds 10

    Args:
        source: realsense or realsense:SERIAL, a .db3 file of a RealSense, virtual or virtual:CAMERA (a rendered
            hand, with labels), a recording, or a folder of 16-bit PNGs.
        out: New folder for camera.json and the frames. docs/recording-format.md describes it.
        frames: Largest number of frames.
        seconds: Largest duration, from the first frame on.
        camera: Camera of a folder of PNGs: a name such as realsense-d435, or fx,fy,cx,cy in pixels and, after
            them, the mm of one depth count. The coefficients of a lens may follow after a colon.
        seed: Seed of the virtual hand.
        retry_s: Pause in seconds before a camera that was unplugged or has stalled is opened again.
        tries: Attempts in a row before the camera is given up.
    """
    from crossnets.cameras import open_source
    from crossnets.cameras.reconnecting import Retries
    from crossnets.cameras.record import record as record_frames

    console = Console(stderr=True)
    retries = Retries(retry_s=retry_s, tries=tries)
    opened = open_source(source, camera, seed=seed, retries=retries, tell=partial(_say, console), held=_HELD)
    with Progress("{task.description}", TextColumn("{task.completed} frames"), console=console, transient=True) as bar:
        task = bar.add_task(f"recording {opened.name}; Ctrl-C ends", total=frames)
        shown = partial(bar.update, task)
        done = record_frames(
            opened,
            out,
            frames=frames,
            seconds=seconds,
            progress=lambda count: shown(completed=count),
            request={"source": source, "camera": camera, "seed": seed},
        )
    if not done.frames:
        _say(console, "Ended before the first frame; nothing was written.")
        return
    if done.continued:
        _say(console, f"Continued a command that was killed: it wrote {counted(done.continued, 'frame')} of these.")
    ended = " until Ctrl-C" if done.interrupted else ""
    _say(console, f"{out}: {counted(done.frames, 'frame')} in {done.seconds:.1f} s{ended}.")
    if done.lost:
        lost = counted(done.lost, "frame")
        _say(console, f"Lost {lost} of the camera: it was faster than the disk or this processor.")


def _say(console: Console, message: str) -> None:
    console.print(message, markup=False, highlight=False, soft_wrap=True)
