"""Real labelled crops, each time turned, mirrored, moved and scaled anew: exact, for a camera with one centre."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64, Int64

from crossnets.geometry.crop import CROP_PX, CUBE_MM, crop_hand, normalise
from crossnets.geometry.cube import CropViews, views_of
from crossnets.training.kept_frames import Patches, Reach

MOST_DEVIATIONS = 3.0
"""Centres are moved no further, so that a patch can hold every crop that is drawn."""


@dataclass(frozen=True, kw_only=True)
class RealConfig:
    """Crops of real labelled hands beside each batch of rendered ones."""

    crops: int = 32
    """Crops in each batch."""
    roll_deg: float = 180.0
    """Most turn about the optical axis, either way: all of them, as DeepPrior++ (Oberweger & Lepetit 2017) does."""
    mirrored: float = 0.5
    """Share that is seen in a mirror."""
    center_spread_mm: float = 10.0
    """Deviation, in each axis, of a crop's centre from the mean of the joints."""
    cube_mm: tuple[float, float] = (190.0, 290.0)
    """Least and most side of the cube around a hand of the rendered hands' mean size. It grows with the hand."""
    first_mm: float = CUBE_MM
    """Cube of a first pass, which does not know the size of the hand. The range of sides is widened to include it."""

    def __post_init__(self) -> None:
        least, most = self.cube_mm
        if not (self.crops > 0 and 0 <= self.mirrored <= 1 and 0 < least <= most and self.center_spread_mm >= 0):
            raise ValueError(f"{self}: expected crops, a share from 0 to 1, and sides above 0 in order.")

    def cubes_mm(self, sizes: Float[np.ndarray, "B"]) -> Float64[np.ndarray, "B 2"]:
        """Least and most side of the cubes around hands of these sizes, over the rendered ones' mean."""
        least, most = np.multiply.outer(np.array(self.cube_mm), sizes)
        return np.stack([np.minimum(least, self.first_mm), np.maximum(most, self.first_mm)], axis=-1)

    def reach(self, joints_mm: Float32[np.ndarray, "K 3"], size: float) -> Reach:
        """Bounds of the crops of a hand with these joints and of this size."""
        center_mm = joints_mm.mean(axis=0, dtype=np.float64)
        moved_mm = np.sqrt(2) * MOST_DEVIATIONS * self.center_spread_mm  # along any axis, once turned
        return Reach(center_mm, float(moved_mm), float(self.cubes_mm(np.array([size]))[0, 1]))


class Changes(NamedTuple):
    """Changes of frames before they are cropped."""

    turn: Float64[np.ndarray, "B 2 2"]
    """Turn of x and y."""
    centers_mm: Float64[np.ndarray, "B 3"]
    """Centres in the turned scene."""
    cube_mm: Float64[np.ndarray, "B"]


class RealCrops(NamedTuple):
    """Augmented crops and their labels, both in the turned scene."""

    image: Float32[np.ndarray, "B S S"]
    """Metric depth, -1 to 1, background +1."""
    joints_mm: Float32[np.ndarray, "B K 3"]
    views: CropViews


def draw_changes(
    rng: np.random.Generator,
    joints_mm: Float32[np.ndarray, "B K 3"],
    sizes: Float[np.ndarray, "B"],
    config: RealConfig,
) -> Changes:
    """Changes for hands with these joints and sizes."""
    count = len(joints_mm)
    angle = np.deg2rad(config.roll_deg) * rng.uniform(-1, 1, count)
    flip = np.where(rng.random(count) < config.mirrored, -1.0, 1.0)
    columns = [np.cos(angle) * flip, -np.sin(angle), np.sin(angle) * flip, np.cos(angle)]
    turn = np.stack(columns, axis=-1).reshape(count, 2, 2)
    moved = np.clip(rng.standard_normal((count, 3)), -MOST_DEVIATIONS, MOST_DEVIATIONS)
    centers = turned(joints_mm, turn).mean(axis=1, dtype=np.float64) + config.center_spread_mm * moved
    least, most = config.cubes_mm(sizes).T
    return Changes(turn, centers, least + (most - least) * rng.random(count))


def turned(joints_mm: Float32[np.ndarray, "B K 3"], turn: Float64[np.ndarray, "B 2 2"]) -> Float32[np.ndarray, "B K 3"]:
    """Joints in scenes whose x and y are turned."""
    across = joints_mm[..., :2] @ turn.swapaxes(1, 2)
    return np.concatenate([across, joints_mm[..., 2:]], axis=-1).astype(np.float32)


def changed_crops(
    patches: Patches, rows: Int64[np.ndarray, "B"], changes: Changes, size_px: int = CROP_PX
) -> RealCrops:
    """Cut a crop of each of these frames and apply its change."""
    crops = []
    for row, turn, center_mm, cube_mm in zip(rows, *changes, strict=True):
        depth_mm, camera = patches.image(int(row))
        crops.append(crop_hand(depth_mm, camera, center_mm, float(cube_mm), size_px, turn))
    image = np.stack([normalise(crop, "metric") for crop in crops])
    return RealCrops(image, turned(patches.joints_mm[rows], changes.turn), views_of(crops))


@dataclass(frozen=True)
class RealHands:
    """Real labelled frames to draw from."""

    patches: Patches
    weights: Float32[np.ndarray, "K J"]
    """The labels' joints as weighted means of a network's."""
    config: RealConfig

    def changes(self, rng: np.random.Generator, rows: Int64[np.ndarray, "B"]) -> Changes:
        """Changes of these frames."""
        return draw_changes(rng, self.patches.joints_mm[rows], self.patches.sizes[rows], self.config)

    def draw(self, rng: np.random.Generator, rows: Int64[np.ndarray, "B"]) -> RealCrops:
        """Crops of these frames, changed anew."""
        return changed_crops(self.patches, rows, self.changes(rng, rows))
