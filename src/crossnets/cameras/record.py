"""Write the frames of a source down as a recording."""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crossnets.cameras.frames import DepthFrame, DepthSource
from crossnets.cameras.pacing import paced
from crossnets.datasets.recording import RecordingWriter
from crossnets.datasets.writers import require_new_folder


class Recorded(NamedTuple):
    """Summary of a recording."""

    frames: int
    seconds: float
    """Between the first and the last frame."""
    lost: int
    """Frames of a live camera that came faster than they could be written."""
    interrupted: bool


def record(
    source: DepthSource,
    out: Path,
    *,
    frames: int | None = None,
    seconds: float | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Recorded:
    """Write frames until there are enough, the source ends, or Ctrl-C. The recording can be read whatever ends it.

    Args:
        source: Not entered yet.
        out: Folder of the recording. Nothing is made before the first frame.
        frames: Most frames.
        seconds: Most time, from the first frame on.
        progress: Told the number of frames after each.

    Raises:
        FileExistsError: `out` holds something.
        OSError: the camera is lost, or the disk full; the frames before that stay.
        ValueError: a limit of nothing, or the source has no frame.
    """
    if (frames is not None and frames < 1) or (seconds is not None and not seconds > 0):
        raise ValueError(
            f"Asked for {frames} frames and {seconds} seconds; expected at least one frame, and above 0 s."
        )
    require_new_folder(out)
    writer, count, first_s, last_s, interrupted = None, 0, 0.0, 0.0, False
    unlimited = frames is None and seconds is None
    try:
        with source:
            stream = paced(source) if unlimited and source.endless else iter(source)
            with closing(_until(stream, frames, seconds)) as chosen:
                for frame in chosen:
                    if writer is None:
                        writer, first_s = _writer(out, source), frame.time_s
                    writer.add(frame.depth_mm.astype(np.float32), frame.joints_mm)
                    count, last_s = count + 1, frame.time_s
                    progress(count)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if writer is not None:
            writer.close()
    if not count and not interrupted:
        raise ValueError(f"{source.name} gave no frame, so nothing was written.")
    return Recorded(count, last_s - first_s, getattr(source, "lost", 0), interrupted)


def _writer(out: Path, source: DepthSource) -> RecordingWriter:
    return RecordingWriter(out, source.preset, source.skeleton, name=source.name)


def _until(stream: Iterator[DepthFrame], frames: int | None, seconds: float | None) -> Generator[DepthFrame]:
    """The first frames, up to these limits."""
    first_s: float | None = None
    for count, frame in enumerate(stream, 1):
        first_s = frame.time_s if first_s is None else first_s
        if seconds is not None and frame.time_s - first_s >= seconds:
            return
        yield frame
        if count == frames:
            return
