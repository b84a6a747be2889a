"""The paper's detector against spec 1.5 written out, on an image of rectangles, whose contours' areas are known."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import ndimage

from crossnets.geometry import localise
from crossnets.geometry.camera import unproject
from crossnets.geometry.localise import find_center_slices
from crossnets.types import Pinhole

CAMERA = Pinhole(241.0, 241.0, 160.0, 120.0)
RECTANGLES = {
    "contour of 169 pixels, so no hand": (300.0, slice(10, 24), slice(10, 24)),
    "contour of 225 pixels: the hand": (420.0, slice(90, 106), slice(150, 166)),
    "in its slice and its window": (440.0, slice(10, 90), slice(215, 218)),
    "in its slice, out of its window": (430.0, slice(90, 200), slice(20, 23)),
    "behind the slice's border": (460.0, slice(106, 240), slice(150, 190)),
    "too near, and too far": (9.0, slice(0, 5), slice(0, 320)),
}


def image() -> np.ndarray:
    depth = np.zeros((240, 320), np.float32)
    for depth_mm, rows, columns in RECTANGLES.values():
        depth[rows, columns] = depth_mm
    depth[106:, 150:190] += np.linspace(0, 120, 134, dtype=np.float32)[:, None]  # an arm that leads away
    depth[:, 300:] = 1501.0
    return depth


def middle(part: np.ndarray, corner: tuple[int, int]) -> tuple[float, float, float]:
    v, u = np.nonzero(part)
    return u.mean() + corner[1], v.mean() + corner[0], part[v, u].mean(dtype=np.float64)


def window(center: float, half: float, size: int) -> slice:
    return slice(max(0, int(np.floor(center - half))), min(size, int(np.floor(center + half))))


def by_the_spec(depth: np.ndarray) -> np.ndarray:
    kept = np.where((depth >= 10) & (depth <= 1500), depth, 0)
    for k in range(20):
        in_slice = (kept >= 10 + 74.5 * k) & (kept < 10 + 74.5 * (k + 1))
        found = ndimage.find_objects(ndimage.label(in_slice)[0])
        areas = [(rows.stop - rows.start - 1) * (columns.stop - columns.start - 1) for rows, columns in found]
        if areas and max(areas) > 200:
            rows, columns = found[int(np.argmax(areas))]
            v, u = (rows.start + rows.stop - 1) / 2, (columns.start + columns.stop - 1) / 2
            rows, columns = window(v, 100, 240), window(u, 100, 320)
            u, v, d = middle((kept * in_slice)[rows, columns], (rows.start, columns.start))
            for _ in range(5):
                rows, columns = window(v, 125 * 241 / d, 240), window(u, 125 * 241 / d, 320)
                cube = kept[rows, columns]
                cube = np.where((cube > 0) & (cube <= d + 125), np.maximum(cube, d - 125), 0)
                u, v, d = middle(cube, (rows.start, columns.start))
            return unproject(np.array([u, v, d]), CAMERA)
    raise AssertionError


def test_the_center_is_that_of_the_spec() -> None:
    assert_allclose(find_center_slices(image(), CAMERA), by_the_spec(image()), atol=0.01)


@pytest.mark.parametrize(
    ("constant", "wrong"),
    [
        ("_PAPER_ROUNDS", 4),
        ("_PAPER_ROUNDS", 6),
        ("_PAPER_WINDOW_PX", 40.0),
        ("_PAPER_WINDOW_PX", 1000.0),
        ("_PAPER_AREA_PX", 150.0),
        ("_PAPER_AREA_PX", 250.0),
    ],
)
def test_the_image_tells_other_constants_apart(constant: str, wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localise, constant, wrong)
    assert np.linalg.norm(find_center_slices(image(), CAMERA) - by_the_spec(image())) > 0.05
