"""librealsense's own software device, which plays a camera that is plugged in."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossnets.geometry.camera import CameraPreset
from crossnets.types import Pinhole

WIDTH, HEIGHT, UNIT_MM = 64, 48, 0.25
FX, FY, CX, CY = 50.0, 51.0, 31.5, 23.5


SMALL = CameraPreset(Pinhole(FX, FY, CX, CY), WIDTH, HEIGHT, UNIT_MM, "test")


class SoftwareCamera:
    """A device with one depth stream; `send` gives a frame whose counts are all 500 + its number unless given."""

    def __init__(
        self,
        rs: Any,
        coefficients: Sequence[float] = (0.0,) * 5,
        model: str = "brown_conrady",
        preset: CameraPreset = SMALL,
    ) -> None:
        self._rs, self._preset = rs, preset
        self.device = rs.software_device()
        self.device.register_info(rs.camera_info.name, "Software camera")
        self.device.register_info(rs.camera_info.serial_number, "0123")
        self.sensor = self.device.add_sensor("Depth")
        self.profile = self.sensor.add_video_stream(_stream(rs, preset, coefficients, model))
        self.sensor.add_read_only_option(rs.option.depth_units, preset.depth_unit_mm / 1000)
        self.sent = 0

    def send(self, counts: np.ndarray | None = None) -> None:
        frame = self._rs.software_video_frame()
        frame.stride, frame.bpp = 2 * self._preset.width_px, 2
        plain = np.full((self._preset.height_px, self._preset.width_px), 500 + self.sent, np.uint16)
        frame.pixels = plain if counts is None else counts
        frame.timestamp, frame.frame_number = 1000 / 30 * self.sent, self.sent
        frame.domain = self._rs.timestamp_domain.hardware_clock
        frame.profile = self.profile.as_video_stream_profile()
        frame.depth_units = self._preset.depth_unit_mm / 1000
        self.sensor.on_video_frame(frame)
        self.sent += 1

    def send_while(
        self, going: threading.Event, pause_s: float = 0.01, counts: np.ndarray | None = None
    ) -> threading.Thread:
        """Send in a thread until `going` is cleared."""

        def run() -> None:
            while going.is_set():
                self.send(counts)
                time.sleep(pause_s)

        thread = threading.Thread(target=run)
        thread.start()
        return thread


def record_file(rs: Any, path: Path, frames: Sequence[np.ndarray | None], preset: CameraPreset = SMALL) -> None:
    """A .db3 file of frames of these counts, or of the camera's own where they are None."""
    camera = SoftwareCamera(rs, preset=preset)
    recorder = rs.recorder(str(path), camera.device)
    sensor = recorder.query_sensors()[0]
    sensor.open(camera.profile)
    sensor.start(lambda _: None)
    for counts in frames:
        camera.send(counts)
        time.sleep(0.002 if counts is None else 0.05)
    time.sleep(0.2)
    sensor.stop()
    sensor.close()


def _stream(rs: Any, preset: CameraPreset, coefficients: Sequence[float], model: str) -> Any:
    stream, numbers = rs.video_stream(), rs.intrinsics()
    numbers.width, numbers.height = preset.width_px, preset.height_px
    numbers.fx, numbers.fy, numbers.ppx, numbers.ppy = preset.pinhole
    numbers.model, numbers.coeffs = getattr(rs.distortion, model), list(coefficients)
    stream.type, stream.index, stream.uid = rs.stream.depth, 0, 0
    stream.width, stream.height, stream.fps = preset.width_px, preset.height_px, 30
    stream.bpp, stream.fmt = 2, rs.format.z16
    stream.intrinsics = numbers
    return stream
