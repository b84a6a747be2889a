"""Data that crosses modules, numpy only. Camera frame: x right, y down, z forward, in mm."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float32, Float64, UInt16

POSE_UNIT_MM = 50.0
"""Millimetres in one unit of a normalised pose (spec 1.2: 50 for every data set)."""

Refinement: TypeAlias = Literal["none", "update", "energy"]
"""Refinement after an estimate (spec 5): the learned update, or BFGS on the energy. Both need torch."""


class Pinhole(NamedTuple):
    """Intrinsics of a camera without lens distortion, at the size of the images it is used with."""

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float


class Lens(NamedTuple):
    """Distortion of a lens: OpenCV's coefficients in OpenCV's order, Brown (k1 to k3) or rational (k1 to k6)."""

    k1: float
    k2: float
    p1: float
    p2: float
    k3: float = 0.0
    k4: float = 0.0
    k5: float = 0.0
    k6: float = 0.0
    modified: bool = False
    """Whether p1 and p2 act on the radially distorted point, as RealSense's modified Brown-Conrady model has it."""


class LensCamera(NamedTuple):
    """A camera with a lens. Its images are as the sensor took them, and `geometry.lens` converts their pixels."""

    pinhole: Pinhole
    """Intrinsics that belong to the lens."""
    lens: Lens
    width_px: int
    """Size of the images."""
    height_px: int


@runtime_checkable
class DepthImage(Protocol):
    """Anything with a depth image and its camera: a `HandFrame`, or what a camera gave."""

    @property
    def depth_mm(self) -> Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]:
        """Zero where the sensor saw nothing."""
        ...

    @property
    def camera(self) -> Pinhole | LensCamera:
        """Its intrinsics, and its lens if the image was taken through one."""
        ...


@dataclass(frozen=True)
class HandFrame:
    """One depth image of one hand, as a reader gives it: whole, unnormalised, in the camera frame."""

    key: str
    """Stable name, such as `nyu/test/1/0000017`; result files and messages use it."""
    sequence: str
    """Subject or recording the frame belongs to, such as `P1`; results are split by it."""
    depth_mm: Float32[np.ndarray, "H W"]
    """Zero where the sensor saw nothing; every other value is finite and positive."""
    camera: Pinhole
    joints_mm: Float32[np.ndarray, "J 3"] | None
    """None when the frame has no label; otherwise every value is finite."""


@dataclass(frozen=True)
class HandCrop:
    """The part of a depth image inside a cube around the hand, resampled to a square."""

    depth_mm: Float32[np.ndarray, "S S"]
    """Depth from the camera. Nearer than the cube: clamped to its front. Zero: background or nothing seen."""
    center_mm: Float32[np.ndarray, "3"]
    """Centre of the cube."""
    cube_mm: float
    """Side of the cube."""
    to_crop_px: Float64[np.ndarray, "3 3"]
    """Affine map from pixels (u, v, 1) of the full image to pixels of the crop."""
    camera: Pinhole
    """Camera of the full image, without distortion: of the ideal image, if the frame's camera has a lens."""


@dataclass(frozen=True)
class PredictedFrame:
    """Prediction of a model for one frame."""

    key: str
    sequence: str
    center_mm: Float32[np.ndarray, "3"] | None
    """Centre of the crop. None if no hand was found."""
    joints_mm: Float32[np.ndarray, "J 3"] | None
    """None without a prediction."""
    std_mm: Float32[np.ndarray, "J"] | None = None
    """Standard deviation of each joint in each axis; None where the model does not say."""
    forced: bool = False
    """True where `Tracker.predict` finds no hand, and the likeliest candidate is given because an answer is wanted."""
