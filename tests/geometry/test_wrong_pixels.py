"""Pixels that no surface supports are removed, and those of surfaces stay."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import crossnets
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.thinned import thin
from crossnets.geometry.wrong_pixels import LEAST, WITHIN_MM, remove_wrong, unsupported
from crossnets.types import Lens, LensCamera, Pinhole
from tests.test_scripts import script

CAMERA = Pinhole(475.0, 475.0, 160.0, 120.0)


def by_loops(depth_mm: np.ndarray) -> np.ndarray:
    """The definition, pixel by pixel."""
    height, width = depth_mm.shape
    found = np.zeros(depth_mm.shape, np.uint8)
    for v in range(height):
        for u in range(width):
            support = 0
            for down in (-1, 0, 1):
                for right in (-1, 0, 1):
                    inside = 0 <= v + down < height and 0 <= u + right < width
                    other = float(depth_mm[v + down, u + right]) if inside else 0.0
                    support += (down, right) != (0, 0) and abs(float(depth_mm[v, u]) - other) <= WITHIN_MM
            found[v, u] = support < LEAST or depth_mm[v, u] < 120
    return found


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_support_agrees_with_its_definition(kind: type) -> None:
    rng = np.random.default_rng(0)
    depth = rng.choice([0, 100, 300, 310, 325, 500], (23, 31)).astype(kind)
    np.testing.assert_array_equal(unsupported(depth), by_loops(depth))


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
    for focal_px in (float(shape[1]), 5.5 * shape[1]):
        camera = Pinhole(focal_px, focal_px, shape[1] / 2, shape[0] / 2)
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


def rim_by_loops(cut_mm: np.ndarray) -> np.ndarray:
    """The definition of `remove_wrong`, pixel by pixel."""
    lost = by_loops(cut_mm) > 0
    kept = np.where(lost, 0, cut_mm).astype(np.float64)
    changed = kept.copy()
    side = range(len(cut_mm))
    for v in side:
        for u in side:
            around = [(v + d, u + r) for d in (-1, 0, 1) for r in (-1, 0, 1) if v + d in side and u + r in side]
            beside = any(lost[at] and 0 < cut_mm[at] < kept[v, u] - 20 for at in around)
            if beside and any(7 < kept[at] - kept[v, u] <= 30 for at in around):
                changed[v, u] = 0
    return changed


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_removal_of_mixed_rims_agrees_with_its_definition(kind: type) -> None:
    rng = np.random.default_rng(3)
    cut = rng.choice([0, 300, 480, 500, 510, 515], (64, 64), p=[0.05, 0.08, 0.1, 0.4, 0.3, 0.07]).astype(kind)
    expected = rim_by_loops(cut)
    alone = np.where(by_loops(cut) > 0, 0, cut)
    assert np.count_nonzero(expected) < np.count_nonzero(alone) - 20
    remove_wrong(cut)
    np.testing.assert_array_equal(cut, expected)


def test_a_blurred_rim_is_removed_from_a_crop() -> None:
    blurred = np.asarray(cv2.GaussianBlur(bar(60), (5, 5), 0), np.float32)
    crop = crop_hand(blurred, CAMERA, np.array([20, 0, 480], np.float32), 400.0, supported=True)
    seen = crop.depth_mm[crop.depth_mm > 0]
    assert len(seen) > 300
    assert seen.min() > 490


@pytest.mark.parametrize("z_mm", [900.0, 1300.0])
def test_mixed_pixels_do_not_support_their_copies_in_an_enlarged_crop(z_mm: float) -> None:
    """Each pixel of the image is several pixels of the crop."""
    depth = np.zeros((240, 320), np.float32)
    depth[100:140, 150:170] = z_mm
    mixed = depth.copy()
    mixed[100:140, 149] = 0.75 * z_mm
    mixed[99, 150:170] = 0.75 * z_mm
    middle = np.array([0, 0, z_mm], np.float32)
    crop = crop_hand(mixed, CAMERA, middle, 350.0, supported=True)
    clean = crop_hand(depth, CAMERA, middle, 350.0)
    wrong = (crop.depth_mm > 0) & (crop.depth_mm < z_mm)
    assert not wrong.any()
    assert np.count_nonzero(crop.depth_mm) > 0.9 * np.count_nonzero(clean.depth_mm)


def test_support_in_an_enlarged_crop_is_the_same_through_a_lens() -> None:
    depth = np.zeros((240, 320), np.uint16)
    depth[100:140, 150:170] = 900
    depth[99, 150:170] = 700
    straight = LensCamera(CAMERA, Lens(0, 0, 0, 0), 320, 240)
    middle = np.array([0, 0, 900], np.float32)
    through = crop_hand(depth, straight, middle, supported=True)
    np.testing.assert_array_equal(through.depth_mm, crop_hand(depth, CAMERA, middle, supported=True).depth_mm)


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
        ("resize to half", 5.0),
        ("resize to double", 5.0),
        ("GaussianBlur 5 x 5", 5.0),
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
