"""ROS 2 bags with a depth image and its camera, as `ros2 bag record` stores them in SQLite."""

import sqlite3
import struct
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from crossnets.geometry.camera import CameraPreset

_TABLES = """
CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
CREATE TABLE metadata(id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL, serialization_format TEXT NOT NULL,
    offered_qos_profiles TEXT NOT NULL, type_description_hash TEXT NOT NULL);
CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
    data BLOB NOT NULL);
CREATE INDEX timestamp_idx ON messages (timestamp ASC);
INSERT INTO schema VALUES (4, 'humble');
INSERT INTO topics VALUES (1, '/camera/depth/camera_info', 'sensor_msgs/msg/CameraInfo', 'cdr', '', '');
"""
_IMAGES = "INSERT INTO topics VALUES (2, '/camera/depth/image_rect_raw', 'sensor_msgs/msg/Image', 'cdr', '', '')"
_START_NS = 1_700_000_000 * 10**9


def write_ros_bag(path: Path, depths_mm: Sequence[np.ndarray], preset: CameraPreset, *, images: bool = True) -> None:
    """Write depth images at 30 a second. Without `images` the bag has the camera alone."""
    with closing(sqlite3.connect(path)) as bag:
        bag.executescript(_TABLES)
        if images:
            bag.execute(_IMAGES)
        for number, depth_mm in enumerate(depths_mm):
            time_ns = _START_NS + number * 33_333_333
            messages = [(1, _camera_info(time_ns, preset))]
            messages += [(2, _image(time_ns, depth_mm))] if images else []
            rows = [(topic, time_ns, data) for topic, data in messages]
            bag.executemany("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", rows)
        bag.commit()


class _Message:
    """A message in CDR, little endian. Numbers are aligned to their size."""

    def __init__(self, time_ns: int) -> None:
        self._data = bytearray()
        self.add("iI", time_ns // 10**9, time_ns % 10**9)
        self.text("camera_depth_optical_frame")

    def add(self, kinds: str, *values: float) -> None:
        for kind, value in zip(kinds, values, strict=True):
            self._data += bytes(-len(self._data) % struct.calcsize(kind)) + struct.pack(f"<{kind}", value)

    def text(self, text: str) -> None:
        self.raw(text.encode() + b"\0")

    def raw(self, data: bytes) -> None:
        self.add("I", len(data))
        self._data += data

    def encoded(self) -> bytes:
        return b"\0\1\0\0" + bytes(self._data)


def _image(time_ns: int, depth_mm: np.ndarray) -> bytes:
    height, width = depth_mm.shape
    message = _Message(time_ns)
    message.add("II", height, width)
    message.text("16UC1")
    message.add("BI", 0, 2 * width)
    message.raw(depth_mm.astype("<u2").tobytes())
    return message.encoded()


def _camera_info(time_ns: int, preset: CameraPreset) -> bytes:
    fx, fy, cx, cy = preset.pinhole
    message = _Message(time_ns)
    message.add("II", preset.height_px, preset.width_px)
    message.text("plumb_bob")
    message.add("I" + 5 * "d", 5, 0, 0, 0, 0, 0)
    message.add(9 * "d", *(fx, 0, cx), *(0, fy, cy), *(0, 0, 1))
    message.add(9 * "d", *(1, 0, 0), *(0, 1, 0), *(0, 0, 1))
    message.add(12 * "d", *(fx, 0, cx, 0), *(0, fy, cy, 0), *(0, 0, 1, 0))
    message.add(6 * "I" + "B", 0, 0, 0, 0, 0, 0, 0)
    return message.encoded()
