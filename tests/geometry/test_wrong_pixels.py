"""Pixels that no surface supports are removed, and those of surfaces stay."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import crossnets
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.thinned import thin
from crossnets.geometry.wrong_pixels import LEAST, WITHIN_MM, unsupported
from crossnets.types import Pinhole
from tests.test_scripts import script

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


@pytest.mark.parametrize("shape", [(1, 40), (2, 40), (40, 1)])
def test_images_of_few_rows_have_no_hand(shape: tuple[int, int]) -> None:
    depth_mm = np.full(shape, 500, np.uint16)
    camera = Pinhole(float(shape[1]), float(shape[1]), shape[1] / 2, shape[0] / 2)
    assert crossnets.load().predict(depth_mm, camera) == []


@pytest.mark.parametrize("width_px", [2, 3])
def test_a_thin_finger_stays(width_px: int) -> None:
    lost = unsupported(bar(width_px))[60:180, 150 : 150 + width_px]
    assert lost.sum() == 4, "the corners"
    assert not lost[1:-1].any()


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


@pytest.mark.parametrize("side_px", [3, 5])
def test_a_speck_in_front_of_a_hand_is_not_in_a_thinned_frame(side_px: int) -> None:
    depth = bar(60).astype(np.uint16)
    depth[100 : 100 + side_px, 170 : 170 + side_px] = 200
    assert unsupported(depth)[101:104, 171:174].sum() < 9, "its middle supports itself"
    thinned = thin(depth, 4)
    assert not ((thinned > 0) & (thinned < 490)).any()
    assert (thinned > 0).sum() > 400, "the hand stays"


@pytest.mark.real
@pytest.mark.parametrize(
    ("damage", "moved_mm"),
    [
        ("0.05 % outliers", 5.0),
        ("0.2 % outliers", 5.0),
        ("1 % outliers", 5.0),
        ("resize to half", 12.0),
        ("resize to double", 5.0),
        ("GaussianBlur 5 x 5", 8.0),
        ("holes filled from the left", 5.0),
        ("holes filled with the farthest", 5.0),
        ("holes filled with the nearest", 5.0),
    ],
)
@pytest.mark.filterwarnings("ignore:.*repeat the depth")
def test_hands_of_a_real_sensor_are_found_in_damaged_frames(real_data: Path, damage: str, moved_mm: float) -> None:
    """SR305: 19 frames with outliers of 60 to 170 mm, resized, blurred or with filled holes."""
    mixed, tracker = script("mixed_pixels"), crossnets.load()
    shots = mixed.real(str(real_data / "sr305" / "datasets" / "custom"), "realsense-sr305", tracker)
    row = mixed.score([mixed.DAMAGES[damage](shot) for shot in shots], tracker)
    assert row["hands"] == 19
    assert row["found"] >= 18
    assert row["median_mm"] < moved_mm
