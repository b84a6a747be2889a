"""A camera that may be unplugged, stall or change. Each event is reported, the camera is opened again, and nothing
hangs."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from crossnets.cameras.frames import LEAST_STEP_S, UNOPENED, Closing, DepthFrame, DepthSource, SourceError, Tell
from crossnets.geometry.camera import CameraPreset
from crossnets.geometry.lens import pinhole_of
from crossnets.geometry.skeleton import Skeleton

_POLL_S = 0.05
_LEAVING_S = 2.0
"""A driver that takes longer to let go of the camera is left behind in its thread."""


@dataclass(frozen=True)
class Retries:
    """When a camera counts as lost, and how often it is opened again."""

    timeout_s: float = 3.0
    """A camera that gives no frame for this time is lost."""
    opening_s: float = 15.0
    """Time that a camera has to give its first frame."""
    retry_s: float = 2.0
    """Pause before it is opened again."""
    tries: int | None = 5
    """Attempts in a row before the camera is given up. None tries for ever."""

    def __post_init__(self) -> None:
        waits = self.timeout_s > 0 and self.opening_s > 0 and 0 <= self.retry_s <= threading.TIMEOUT_MAX
        if not (waits and (self.tries is None or self.tries >= 0)):
            raise ValueError(
                f"{self}: expected timeouts above 0 s, a pause of 0 to {threading.TIMEOUT_MAX:.0f} s, and 0 or more "
                "tries."
            )


class Retrying(Closing):
    """Frames of a live camera, read in a thread of their own; when they are not fetched in time the oldest are lost."""

    live = endless = True

    def __init__(
        self, name: str, open_camera: Callable[[], DepthSource], retries: Retries, tell: Tell, held: int = 2
    ) -> None:
        """`open_camera` is called for each try; `held` frames wait until they are fetched."""
        self.name = name
        self.skeleton: Skeleton | None = None
        self.lost = 0
        """Frames that were not fetched in time."""
        self._open_camera, self._retries, self._tell, self._held = open_camera, retries, tell, held
        self._closed = threading.Event()
        self._reader: _Reader | None = None
        self._first: DepthFrame | None = None
        self.preset = UNOPENED

    def __enter__(self) -> "Retrying":
        """Open the camera and wait for its first frame.

        Raises:
            SourceError: the camera is missing. At the start it is not tried again.
        """
        self._closed.clear()
        self._reader = self._read()
        try:
            self._first = self._reader.next(self._retries.opening_s, self._closed)
        except BaseException:
            self.close()
            raise
        self.preset = self._reader.preset
        return self

    def close(self) -> None:
        """See `DepthSource`."""
        self._closed.set()
        self._leave()

    def __iter__(self) -> Iterator[DepthFrame]:
        """Frames, renumbered so that numbers and times grow over every retry.

        Raises:
            SourceError: the camera did not come back.
        """
        began, number, offset_s = time.monotonic(), 0, 0.0
        last_s, failures = -1.0, 0
        frame = self._first
        while not self._closed.is_set():
            try:
                if frame is None:
                    frame = self._fetch()
                if frame is None:
                    return
                self._check_same(frame)
            except SourceError as error:
                frame, failures = None, failures + 1
                self._wait_to_retry(error, failures)
                offset_s = time.monotonic() - began
                continue
            failures = 0
            time_s = max(frame.time_s + offset_s, last_s + LEAST_STEP_S)
            yield replace(frame, number=number, time_s=time_s)
            number, last_s, frame = number + 1, time_s, None

    def _read(self) -> "_Reader":
        return _Reader(self._open_camera, self._held)

    def _leave(self) -> None:
        """Stop the reader, if there is one; also asked from two threads at once."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.stop()
            self.lost += reader.lost

    def _fetch(self) -> DepthFrame | None:
        """Return the next frame. A lost camera is opened again. None after `close`."""
        reader, timeout_s = self._reader, self._retries.timeout_s
        if reader is None:
            if self._closed.is_set():
                return None
            self._reader = reader = self._read()
            timeout_s = self._retries.opening_s
        try:
            return reader.next(timeout_s, self._closed)
        except SourceError:
            if self._closed.is_set():
                return None
            raise

    def _check_same(self, frame: DepthFrame) -> None:
        """Refuse frames that the intrinsics of the first ones do not belong to.

        Raises:
            SourceError: of another size, or of another camera.
        """
        height, width = frame.depth_mm.shape
        expected = self.preset.width_px, self.preset.height_px
        if (width, height) != expected:
            raise SourceError(
                f"a frame of {width}x{height} pixels came, expected {expected[0]}x{expected[1]} as before"
            )
        if frame.camera != self.preset.camera:
            found, before = (
                ", ".join(f"{n:.1f}" for n in pinhole_of(camera)) for camera in (frame.camera, self.preset.camera)
            )
            raise SourceError(f"a frame of another camera came, with fx, fy, cx, cy of {found}, expected {before}")

    def _wait_to_retry(self, error: SourceError, failures: int) -> None:
        """Leave the camera and wait.

        Raises:
            SourceError: it failed too often.
        """
        self._leave()
        tries = self._retries.tries
        if tries is not None and failures > tries:
            raise SourceError(
                f"{self.name}: {error}. It was opened again {tries} times in a row without success, so this is the "
                "end. Check the cable and whether another program uses the camera, then start again."
            ) from error
        count = "" if tries is None else f" (try {failures} of {tries})"
        self._tell(f"{self.name}: {error}. Trying again in {self._retries.retry_s:g} s{count}.")
        self._closed.wait(self._retries.retry_s)


@dataclass
class _Reader:
    """A thread that opens a camera and fetches its frames, so that a driver that hangs holds up nobody else."""

    open_camera: Callable[[], DepthSource]
    held: int
    lost: int = 0
    preset: CameraPreset = UNOPENED
    source: DepthSource | None = None
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(self.held)
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def next(self, timeout_s: float, closed: threading.Event) -> DepthFrame:
        """The next frame.

        Raises:
            SourceError: none came in time, the camera failed, or `closed` was set.
        """
        until = time.monotonic() + timeout_s
        while not closed.is_set():
            try:
                item = self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                if time.monotonic() > until:
                    raise SourceError(f"no frame came for {timeout_s:g} s") from None
                continue
            if isinstance(item, DepthFrame):
                return item
            raise item
        raise SourceError("the source was closed")

    def stop(self) -> None:
        """Ask the camera to close, and wait a moment until it has."""
        self.stopped.set()
        self._thread.join(_LEAVING_S)

    def _run(self) -> None:
        watch = threading.Thread(target=self._close_when_stopped, name="camera-close", daemon=True)
        try:
            with self.open_camera() as self.source:
                self.preset = self.source.preset
                watch.start()
                for frame in self.source:
                    if self.stopped.is_set():
                        return
                    self._put(frame)
            self._put(SourceError("the camera sends no more frames"))
        except SourceError as error:
            self._put(error)
        except ImportError as error:  # the user must install something; no retry helps
            self._put(error)
        except Exception as error:  # drivers raise anything
            self._put(SourceError(f"the camera failed with {type(error).__name__}: {error}"))
        finally:
            self.stopped.set()

    def _close_when_stopped(self) -> None:
        self.stopped.wait()
        if self.source is not None:
            self.source.close()

    def _put(self, item: Any) -> None:
        """Add to the queue. The oldest frame makes place."""
        while True:
            try:
                self._queue.put_nowait(item)
                return
            except queue.Full:
                try:
                    self._queue.get_nowait()
                    self.lost += 1
                except queue.Empty:
                    continue
