"""Pixels that no surface supports are removed, and those of surfaces stay."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import crossnets
from crossnets.datasets.images import open_sources
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.support import LEAST, WITHIN_MM, unsupported
from crossnets.geometry.thinned import thin
from crossnets.types import Pinhole

CAMERA = Pinhole(475.0, 475.0, 160.0, 120.0)


def by_loops(depth_mm: np.ndarray, step: int) -> np.ndarray:
    """The definition, pixel by pixel."""
    height, width = depth_mm.shape
    found = np.zeros(depth_mm.shape, np.uint8)
    for v in range(height):
        for u in range(width):
            support = 0
            for down in (-step, 0, step):
                for right in (-step, 0, step):
                    inside = 0 <= v + down < height and 0 <= u + right < width
                    other = float(depth_mm[v + down, u + right]) if inside else 0.0
                    support += (down, right) != (0, 0) and abs(float(depth_mm[v, u]) - other) <= WITHIN_MM
            found[v, u] = support < LEAST or depth_mm[v, u] < 120
    return found


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
@pytest.mark.parametrize("step", [1, 2])
def test_support_agrees_with_its_definition(kind: type, step: int) -> None:
    rng = np.random.default_rng(0)
    depth = rng.choice([0, 100, 300, 310, 325, 500], (23, 31)).astype(kind)
    np.testing.assert_array_equal(unsupported(depth, step_px=step), by_loops(depth, step))


def test_a_stride_examines_every_nth_pixel_by_its_neighbours() -> None:
    depth = np.random.default_rng(1).choice([0, 300, 310, 330], (50, 61)).astype(np.uint16)
    np.testing.assert_array_equal(unsupported(depth, stride=5), unsupported(depth)[2::5, 2::5])


def bar(width_px: int) -> np.ndarray:
    """A finger of this width at 500 mm before nothing."""
    depth = np.zeros((240, 320), np.float32)
    depth[60:180, 150 : 150 + width_px] = 500
    return depth


def test_a_thin_finger_stays() -> None:
    assert not unsupported(bar(3))[60:180, 150:153].any()
    assert not unsupported(bar(2))[61:179, 150:152].any()


@pytest.mark.parametrize("how", ["bilinear", "gaussian"])
def test_mixtures_of_a_surface_with_invalid_pixels_are_removed(how: str) -> None:
    depth = bar(40)
    if how == "bilinear":
        mixed = cv2.resize(cv2.resize(depth, None, fx=0.5, fy=0.5), (320, 240))
    else:
        mixed = cv2.GaussianBlur(depth, (5, 5), 0)
    wrong = (mixed > 0) & (mixed < 470)
    assert wrong.sum() > 300
    kept = np.where(unsupported(np.asarray(mixed, np.float32)) > 0, 0, mixed)
    assert ((kept > 0) & (kept < 470)).sum() <= 8, "some at the corners"
    assert (kept[64:176, 156:184] == mixed[64:176, 156:184]).all(), "the inside stays"


def test_wrong_pixels_in_front_of_a_hand_are_in_neither_crop_nor_thinned_frame() -> None:
    rng = np.random.default_rng(2)
    depth = bar(60).astype(np.uint16)
    wrong = rng.random(depth.shape) < 0.005
    depth[wrong] = rng.integers(60, 400, wrong.sum())
    crop = crop_hand(depth, CAMERA, np.array([20, 0, 500], np.float32), supported=True)
    assert not ((crop.depth_mm > 0) & (crop.depth_mm < 490)).any()
    assert (crop_hand(depth, CAMERA, np.array([20, 0, 500], np.float32)).depth_mm < 490).any()
    thinned = thin(depth, 4)
    assert not ((thinned > 0) & (thinned < 490)).any()


@pytest.mark.real
@pytest.mark.parametrize("share", [0.0005, 0.002, 0.01])
def test_hands_of_a_real_sensor_are_found_among_wrong_pixels(real_data: Path, share: float) -> None:
    """SR305: 19 frames, some of their pixels set to 60 to 170 mm."""
    images = sorted(str(path) for path in (real_data / "sr305").rglob("*.png"))
    sources = open_sources(images, "realsense-sr305", "test")
    tracker, rng = crossnets.load(), np.random.default_rng(0)
    found, moved_mm = 0, []
    for frame in (source[k] for source in sources for k in range(len(source))):
        whole = tracker.predict(frame.depth_mm, frame.camera)
        wrong = rng.random(frame.depth_mm.shape) < share
        depth = np.where(wrong, rng.uniform(60, 170, frame.depth_mm.shape), frame.depth_mm).astype(np.float32)
        hands = tracker.predict(depth, frame.camera)
        found += bool(hands)
        if hands and whole:
            apart = [np.linalg.norm(hand.joints_mm - whole[0].joints_mm, axis=1).mean() for hand in hands]
            moved_mm.append(min(apart))
    assert found >= 18
    assert np.median(moved_mm) < 5
