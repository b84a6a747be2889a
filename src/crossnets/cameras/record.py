"""Write the frames of a source down as a recording."""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from crossnets.atomic import UnfinishedMark, held, make_folder
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
    continued: int = 0
    """Frames of an earlier call that was killed. They are the first of the recording."""


def record(
    source: DepthSource,
    out: Path,
    *,
    frames: int | None = None,
    seconds: float | None = None,
    progress: Callable[[int], None] = lambda _: None,
    request: dict[str, Any] | None = None,
) -> Recorded:
    """Write frames until there are enough, the source ends, or Ctrl-C. The recording can be read whatever ends it.

    A recording that a kill or an error ended is continued. Frames of a live camera follow its frames. A source that
    gives the same frames again is read from the first frame that is missing.

    Args:
        source: Not entered yet.
        out: Folder of the recording. Nothing is made before the first frame.
        frames: Most frames.
        seconds: Most time, from the first frame on.
        progress: Told the number of frames after each.
        request: What decides the frames, such as the text and the seed of the source. A recording is continued only
            with the same request. The name of the source by default.

    Raises:
        BlockingIOError: another process records into `out`.
        FileExistsError: `out` holds something.
        OSError: the camera is lost, or the disk full; the frames before that stay.
        ValueError: a limit is not above 0, or the source gives no frame.
    """
    if (frames is not None and frames < 1) or (seconds is not None and not seconds > 0):
        raise ValueError(
            f"Asked for {frames} frames and {seconds} seconds; expected at least one frame, and above 0 s."
        )
    mark = UnfinishedMark(out, "recording", {"source": source.name} if request is None else request)
    begun = mark.is_there()
    if not begun:
        require_new_folder(out)
    writer = None
    count = 0
    before = 0
    first_s = 0.0
    last_s = 0.0
    interrupted = False
    unlimited = frames is None and seconds is None
    with ExitStack() as stack:
        try:
            with source:
                # The camera of a live source is known from here on.
                if begun:
                    writer = stack.enter_context(_recording(out, source, mark))
                    before = writer.count
                    frames = None if frames is None else max(frames - before, 0)
                stream = paced(source) if unlimited and source.endless else iter(source)
                remaining = stream if source.live else islice(stream, before, None)
                with closing(_until(remaining, frames, seconds)) as chosen:
                    for frame in chosen:
                        if not count:
                            first_s = frame.time_s
                        if writer is None:
                            writer = stack.enter_context(_recording(out, source, mark))
                        writer.add(frame.depth_mm.astype(np.float32), frame.joints_mm)
                        count += 1
                        last_s = frame.time_s
                        progress(before + count)
        except KeyboardInterrupt:
            interrupted = True
    if not count and not before and not interrupted:
        raise ValueError(f"{source.name} gave no frame, so nothing was written.")
    return Recorded(before + count, last_s - first_s, getattr(source, "lost", 0), interrupted, before)


@contextmanager
def _recording(out: Path, source: DepthSource, mark: UnfinishedMark) -> Iterator[RecordingWriter]:
    """A writer that is closed at the end. After an error the mark stays, so that the recording can be continued."""
    make_folder(out)
    with held(out, "records into"):
        mark.set()
        with RecordingWriter(out, source.preset, source.skeleton, name=source.name, resume=True) as writer:
            yield writer
        # Without a frame there is no recording yet, and the same command begins again.
        if writer.count:
            mark.remove()


def _until(stream: Iterator[DepthFrame], frames: int | None, seconds: float | None) -> Generator[DepthFrame]:
    """The first frames, up to these limits."""
    if frames == 0:
        return
    first_s: float | None = None
    for count, frame in enumerate(stream, 1):
        first_s = frame.time_s if first_s is None else first_s
        if seconds is not None and frame.time_s - first_s >= seconds:
            return
        yield frame
        if count == frames:
            return
