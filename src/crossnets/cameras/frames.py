"""The interface of all sources of depth frames."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt16

from crossnets.geometry.camera import CameraPreset
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import LensCamera, Pinhole

Tell: TypeAlias = Callable[[str], None]
"""Takes a message for the user: a frame that was left out, a camera that is tried again."""


class SourceError(OSError):
    """A camera gives no frames: it is absent, unplugged, stalled, or another camera than before."""


@dataclass(frozen=True, repr=False)
class DepthFrame:
    """One depth image and when it was taken."""

    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]
    """Zero where the sensor saw nothing."""
    camera: Pinhole | LensCamera
    """Its intrinsics, and its lens if the image was taken through one."""
    time_s: float
    """Since the source was opened; grows from frame to frame."""
    number: int
    """Number of the frame, from 0. In folders, missing numbers are frames that could not be read."""
    joints_mm: Float32[np.ndarray, "J 3"] | None = None
    """The truth, where the source knows it: rendered hands and labelled recordings."""

    def __repr__(self) -> str:
        """Number, time and size in one line, instead of all pixels."""
        height, width = self.depth_mm.shape
        label = "" if self.joints_mm is None else f", {len(self.joints_mm)} true joints"
        return f"<frame {self.number} at {self.time_s:.3f} s: {width} x {height} pixels{label}>"


LEAST_STEP_S = 1e-4
"""Time between two frames if the camera's clock has stood still or gone back."""
UNOPENED = CameraPreset(Pinhole(1.0, 1.0, 0.0, 0.0), 0, 0, 1.0, "not opened yet")


@runtime_checkable
class DepthSource(Protocol):
    """Frames in order. A context manager: what it needs is opened on entering, and freed on leaving."""

    name: str
    """Name in messages, such as `realsense:0123`."""
    live: bool
    """Whether frames come on a clock of their own. The others wait until the next frame is asked for."""
    endless: bool
    """Whether frames never end by themselves."""
    skeleton: Skeleton | None
    """Skeleton of the frames' joints. None if the source gives no joints."""
    preset: CameraPreset
    """The camera, with the size of its images and its depth unit. Those of a live camera are known once it is
    entered."""

    def close(self) -> None:
        """End the frames, from any thread, and free all resources. A second call does nothing."""
        ...

    def __enter__(self) -> "DepthSource": ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def __iter__(self) -> Iterator[DepthFrame]:
        """The frames, until the source ends or is closed.

        Raises:
            SourceError: the camera gives no more frames.
        """
        ...


class Closing:
    """The part of a source that most share: leaving it closes it, and its `repr` says which camera it is."""

    name: str
    preset: CameraPreset

    def __repr__(self) -> str:
        """Name, size and intrinsics in one line."""
        preset = self.preset
        if preset is UNOPENED:
            return f"<source {self.name}, not opened yet>"
        fx, fy, cx, cy = (f"{number:.1f}" for number in preset.pinhole)
        unit = "" if preset.depth_unit_mm == 1 else f", {preset.depth_unit_mm:g} mm a count"
        lens = "" if preset.lens is None else ", with a lens"
        size = f"{preset.width_px} x {preset.height_px} pixels"
        return f"<source {self.name}: {size}, fx {fx}, fy {fy}, cx {cx}, cy {cy}{unit}{lens}>"

    def close(self) -> None:
        """See `DepthSource`."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
