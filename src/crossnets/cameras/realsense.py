"""RealSense cameras and their .db3 recordings, through Intel's pyrealsense2.

The streams of a device are read without librealsense's pipeline, so that live cameras, recordings and its software
device (which the tests use) take the same way.
"""

import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from crossnets.cameras.frames import LEAST_STEP_S, UNOPENED, Closing, DepthFrame, SourceError, Tell
from crossnets.geometry.camera import CameraPreset, realsense_lens
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import Pinhole

_POLL_S = 0.1
_ENDED_S = 0.3
"""A recording that says it has stopped may still deliver frames for this long."""
_WANTED = (640, 480, 30)
"""Preferred width, height and frames a second, which give enough pixels on a hand and little noise."""
_PLAYED: deque[Any] = deque(maxlen=2)
"""Recordings that were closed last. If librealsense destroys a recording right after an early stop, one in a thousand
crashes the process. These recordings are therefore destroyed later, when others have been played."""


def load_library() -> Any:
    """The module pyrealsense2.

    Raises:
        ModuleNotFoundError: it is not installed.
        SourceError: it is, but does not load.
    """
    try:
        import pyrealsense2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "pyrealsense2 is not installed. Install crossnets with the extra realsense: pip install '.[realsense]' in "
            "its folder.",
            name="pyrealsense2",
        ) from error
    except (ImportError, OSError) as error:
        raise SourceError(
            f"pyrealsense2 is installed but does not load: {error}. If libusb is missing: apt-get install libusb-1.0-0."
        ) from error
    return pyrealsense2


class RealSense(Closing):
    """The depth stream of one device: a camera, or a recording of one."""

    skeleton: Skeleton | None = None

    def __init__(self, device: Any, name: str, *, recorded: bool, tell: Tell = lambda _: None) -> None:
        """`device` is librealsense's; `recorded` ones are read without losing a frame, and end."""
        self.name, self._device, self._tell = name, device, tell
        self.live, self.endless = not recorded, not recorded
        self._queue: queue.Queue[tuple[np.ndarray, float]] = queue.Queue(4)
        self._closed, self._stopped = threading.Event(), threading.Lock()
        self._sensor: Any = None
        self.preset = UNOPENED

    def __enter__(self) -> "RealSense":
        """Start the stream.

        Raises:
            SourceError: the device has no depth stream, or cannot start it.
        """
        try:
            self._start(load_library())
        except RuntimeError as error:
            self.close()
            raise SourceError(f"{self.name} cannot be started: {error}") from error
        return self

    def _start(self, rs: Any) -> None:
        sensor, profile = _depth_stream(rs, self._device, self.name)
        found = profile.get_intrinsics()
        unit_mm = 1.0
        if sensor.supports(rs.option.depth_units):
            unit_mm = round(1e3 * sensor.get_option(rs.option.depth_units), 6)
        pinhole = Pinhole(found.fx, found.fy, found.ppx, found.ppy)
        try:
            self.preset = CameraPreset(pinhole, found.width, found.height, unit_mm, "the device", realsense_lens(found))
        except ValueError as error:
            raise SourceError(f"{self.name} cannot be used: {error}") from error
        if not self.live:
            self._device.as_playback().set_real_time(False)
        sensor.open(profile)
        self._sensor = sensor
        sensor.start(self._take)

    def close(self) -> None:
        """See `DepthSource`."""
        self._closed.set()
        with self._stopped:
            if self._sensor is None:
                return
            sensor, self._sensor = self._sensor, None
        for end in (sensor.stop, sensor.close):
            with suppress(RuntimeError):  # it was unplugged, has ended, or never began
                end()
        if not self.live:
            _PLAYED.append(self._device)

    def __iter__(self) -> Iterator[DepthFrame]:
        """Frames as they come; of a recording all, in order.

        Raises:
            SourceError: the camera was unplugged.
        """
        before_s: float | None = None
        number, since_s, idle_since = 0, 0.0, time.monotonic()
        while not self._closed.is_set():
            try:
                counts, time_s = self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                if self._over(time.monotonic() - idle_since):
                    return
                continue
            if before_s is not None:  # the device's clock may be set back
                since_s += max(time_s - before_s, LEAST_STEP_S)
            before_s = time_s
            depth_mm = counts if self.preset.depth_unit_mm == 1 else _millimetres(counts, self.preset.depth_unit_mm)
            yield DepthFrame(depth_mm, self.preset.camera, since_s, number)
            number, idle_since = number + 1, time.monotonic()

    def _over(self, idle_s: float) -> bool:
        """Whether a recording has ended.

        Raises:
            SourceError: the camera was unplugged.
        """
        if self.live:
            if not self._device.is_connected():
                raise SourceError("it was unplugged")
            return False
        status = self._device.as_playback().current_status()
        return idle_s > _ENDED_S and status == load_library().playback_status.stopped

    def _take(self, frame: Any) -> None:
        """Called by librealsense, in a thread of its own, for each frame."""
        item = np.array(frame.get_data()), frame.get_timestamp() / 1e3
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
                return
            except queue.Full:
                if self.live:  # the reader is late; the next frame is as good
                    return


def open_camera(serial: str | None, tell: Tell) -> RealSense:
    """A camera that is plugged in: the one of this serial number, or the first.

    Raises:
        ModuleNotFoundError, SourceError: as for `load_library`, or the camera is not connected.
    """
    rs = load_library()
    found = {device.get_info(rs.camera_info.serial_number): device for device in rs.context().query_devices()}
    if not found or (serial is not None and serial not in found):
        wanted = "camera" if serial is None else f"camera with the serial number {serial}"
        there = f"There are: {', '.join(found)}." if found else "None is plugged in, or this user may not open it."
        raise SourceError(f"found no RealSense {wanted}. {there}")
    serial = next(iter(found)) if serial is None else serial
    return RealSense(found[serial], f"realsense:{serial}", recorded=False, tell=tell)


def open_recording(path: Path, tell: Tell) -> RealSense:
    """A .db3 file that librealsense recorded, a ROS 2 bag with depth and its camera, or a .bag of older versions.

    Raises:
        ModuleNotFoundError: as `load_library`.
        OSError: the file does not exist, or it cannot be played.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    rs = load_library()
    try:
        device = rs.context().load_device(str(path))
    except RuntimeError as error:
        if path.suffix == ".bag":
            hint = "Try pyrealsense2.context().convert_bag_to_db3(OLD, NEW)."
        else:
            hint = "Expected a file of librealsense. A ROS 2 bag needs a depth image and its camera_info, in SQLite."
        raise SourceError(f"librealsense cannot play {path}: {str(error).rstrip('.')}. {hint}") from error
    return RealSense(device, str(path), recorded=True, tell=tell)


def _depth_stream(rs: Any, device: Any, name: str) -> tuple[Any, Any]:
    """The sensor with depth and the profile to open: the preferred one, else the device's default, else the first."""
    for sensor in device.query_sensors():
        profiles = [p for p in sensor.get_stream_profiles() if p.stream_type() == rs.stream.depth]
        profiles = [p.as_video_stream_profile() for p in profiles if p.format() == rs.format.z16]
        if profiles:
            wanted = [p for p in profiles if (p.width(), p.height(), p.fps()) == _WANTED]
            default = [p for p in profiles if p.is_default()]
            return sensor, [*wanted, *default, *profiles][0]
    raise SourceError(f"{name} has no depth stream of 16 bits; a camera without depth cannot be used")


def _millimetres(counts: np.ndarray, unit_mm: float) -> np.ndarray:
    return counts.astype(np.float32) * np.float32(unit_mm)
