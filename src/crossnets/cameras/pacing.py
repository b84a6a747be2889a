"""Frames of recordings and of the virtual camera at the speed they were taken."""

import time
from collections.abc import Callable, Iterator

from crossnets.cameras.frames import DepthFrame, DepthSource

_LATE_S = 0.25
"""After a delay of more than this, frames are not delivered faster to catch up."""


def paced(source: DepthSource, wait: Callable[[float], object] = time.sleep) -> Iterator[DepthFrame]:
    """Yield the frames of an opened source, each when its time has come. Frames of live cameras are not delayed.

    Args:
        source: Where frames come from.
        wait: Sleeps for so many seconds; may return early.
    """
    if source.live:
        yield from source
        return
    start = time.monotonic()
    for frame in source:
        ahead_s = start + frame.time_s - time.monotonic()
        if ahead_s > 0:
            wait(ahead_s)
        elif ahead_s < -_LATE_S:
            start -= ahead_s
        yield frame
