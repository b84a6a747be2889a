"""librealsense's own software device, which plays a camera that is plugged in."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, HEIGHT, UNIT_MM = 64, 48, 0.25
FX, FY, CX, CY = 50.0, 51.0, 31.5, 23.5


class SoftwareCamera:
    """A device with one depth stream; `send` gives a frame whose counts are all 500 + its number."""

    def __init__(self, rs: Any, coefficients: Sequence[float] = (0.0,) * 5, model: str = "brown_conrady") -> None:
        self._rs = rs
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.name, "Software camera")
        self.device.register_info(rs.camera_info.serial_number, "0123")
        self.sensor = self.device.add_sensor("Depth")
        self.profile = self.sensor.add_video_stream(_stream(rs, coefficients, model))
        self.sensor.add_read_only_option(rs.option.depth_units, UNIT_MM / 1000)
        self.sent = 0

    def send(self) -> None:
        frame = self._rs.software_video_frame()
        frame.stride, frame.bpp = 2 * WIDTH, 2
        frame.pixels = np.full((HEIGHT, WIDTH), 500 + self.sent, np.uint16)
        frame.timestamp, frame.frame_number = 1000 / 30 * self.sent, self.sent
        frame.domain = self._rs.timestamp_domain.hardware_clock
        frame.profile = self.profile.as_video_stream_profile()
        frame.depth_units = UNIT_MM / 1000
        self.sensor.on_video_frame(frame)
        self.sent += 1

    def send_while(self, going: threading.Event, pause_s: float = 0.01) -> threading.Thread:
        """Send in a thread until `going` is cleared."""

        def run() -> None:
            while going.is_set():
                self.send()
                time.sleep(pause_s)

        thread = threading.Thread(target=run)
        thread.start()
        return thread


def record_file(rs: Any, path: Path, frames: int) -> None:
    """A .db3 file of that many frames."""
    camera = SoftwareCamera(rs)
    recorder = rs.recorder(str(path), camera.device)
    sensor = recorder.query_sensors()[0]
    sensor.open(camera.profile)
    sensor.start(lambda _: None)
    for _ in range(frames):
        camera.send()
        time.sleep(0.002)
    time.sleep(0.2)
    sensor.stop()
    sensor.close()


def _stream(rs: Any, coefficients: Sequence[float] = (0.0,) * 5, model: str = "brown_conrady") -> Any:
    stream, numbers = rs.video_stream(), rs.intrinsics()
    numbers.width, numbers.height, numbers.fx, numbers.fy, numbers.ppx, numbers.ppy = WIDTH, HEIGHT, FX, FY, CX, CY
    numbers.model, numbers.coeffs = getattr(rs.distortion, model), list(coefficients)
    stream.type, stream.index, stream.uid = rs.stream.depth, 0, 0
    stream.width, stream.height, stream.fps, stream.bpp, stream.fmt = WIDTH, HEIGHT, 30, 2, rs.format.z16
    stream.intrinsics = numbers
    return stream
