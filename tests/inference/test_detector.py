"""Frames thinned for a detector, and maps read as hands."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crossnets.geometry.camera import CAMERAS, project, unproject
from crossnets.geometry.thinned import Maps, as_image, cell_px, nearest_around, stride_of, thin, thinned_camera
from crossnets.inference.detector import DetectorModel, HandDetector, decode
from crossnets.types import Pinhole

CAMERA = CAMERAS["realsense-sr300"].pinhole
MODEL = DetectorModel(preset="detector", threshold=0.3)


def maps_of(hands: list[tuple[int, int, float]], rows: int = 32, columns: int = 40) -> Maps:
    """Row, column and logit of each."""
    maps = np.zeros((6, 1, rows, columns), np.float32)
    maps[0] = -6.0
    for row, column, score in hands:
        maps[0, 0, row, column] = score
    return Maps(*maps)


def flat(depth_mm: float = 600.0) -> np.ndarray:
    return as_image(np.full((128, 160), depth_mm, np.float32))[None]


@pytest.mark.parametrize("name", CAMERAS)
def test_pixels_mean_about_the_same_angle_on_every_sensor(name: str) -> None:
    camera = CAMERAS[name].pinhole
    assert 95 < thinned_camera(camera, stride_of(camera)).fx_px < 135


def test_a_thinned_frame_agrees_with_its_camera() -> None:
    stride = stride_of(CAMERA)
    v, u = np.mgrid[:480, :640]
    columns, rows = (thin((part + 1).astype(np.float32), stride) - 1 for part in (u, v))
    assert columns.shape == (128, 160)
    point = np.array([30.0, -40.0, 600.0])
    small = project(point, thinned_camera(CAMERA, stride))[:2]
    at = np.round(small).astype(int)
    whole = project(point, CAMERA)[:2]
    assert abs(columns[at[1], at[0]] - whole[0]) <= stride / 2 + 1e-6
    assert abs(rows[at[1], at[0]] - whole[1]) <= stride / 2 + 1e-6


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_frames_of_any_size_are_filled_up(kind: type) -> None:
    depth = np.full((70, 90), 500, kind)
    out = thin(depth, 1)
    assert (out.shape, out.dtype) == ((80, 96), np.float32)
    expected = np.full((70, 90), 500)
    expected[[0, 0, -1, -1], [0, -1, 0, -1]] = 0  # a corner of the image has three neighbours, and four must support it
    assert_array_equal(out[:70, :90], expected)
    assert not out[70:].any()
    assert not out[:, 90:].any()


def test_invalid_depth_stays_invalid() -> None:
    depth = np.full((16, 16), 500, np.float32)
    depth[0, :4] = np.nan, np.inf, -1, 0
    assert_array_equal(thin(depth, 1)[0, :5], [0, 0, 0, 0, 500])


def test_pixels_beyond_the_edge_are_invalid() -> None:
    depth = np.random.default_rng(0).uniform(300, 900, (32, 48)).astype(np.float32)
    wider = np.zeros((64, 80), np.float32)
    wider[16:48, 16:64] = depth
    image = as_image(wider)
    assert_allclose(image[:, 16:48, 16:64], as_image(depth), atol=1e-5)
    assert not image[:, :16].any()
    assert image[0, 20, 20] == pytest.approx(500 / wider[20, 20])


def test_a_peak_is_decoded_at_its_place() -> None:
    maps = maps_of([(10, 20, 2.0)])
    maps.column[0, 10, 20], maps.row[0, 10, 20], maps.depth[0, 10, 20] = 0.25, -0.5, 0.2
    maps.side[0, 10, 20], maps.log_length[0, 10, 20] = 3.0, np.log(0.9)
    (found,) = decode(maps, flat(), CAMERA, 0.3)[0]
    u, v, d = project(found.center_mm, thinned_camera(CAMERA, 4))
    assert_allclose([u, v, d], [cell_px(20.25), cell_px(9.5), 620.0], rtol=1e-5)
    assert found.score == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert found.side_right == pytest.approx(1 / (1 + np.exp(-3.0)))
    assert found.length_mm == pytest.approx(162, rel=1e-5)


def test_sides_are_probabilities_however_large_the_logit() -> None:
    maps = maps_of([(10, 20, 2.0)])
    for logit, expected in ((-2000.0, 0), (2000.0, 1)):
        maps.side[0, 10, 20] = logit
        assert decode(maps, flat(), CAMERA, 0.3)[0][0].side_right == expected


def test_scores_below_the_threshold_yield_no_hands() -> None:
    assert decode(maps_of([]), flat(), CAMERA, 0.3) == [[]]
    assert decode(maps_of([(10, 20, -1.0)]), flat(), CAMERA, 0.3) == [[]]


def test_two_peaks_are_two_hands_best_first_and_three_are_two() -> None:
    found = decode(maps_of([(10, 8, 1.0), (12, 30, 3.0)]), flat(), CAMERA, 0.3)[0]
    assert [round(one.score, 2) for one in found] == [0.95, 0.73]
    more = decode(maps_of([(10, 8, 1.0), (12, 30, 3.0), (25, 20, 2.0)]), flat(), CAMERA, 0.3)[0]
    assert [round(one.score, 2) for one in more] == [0.95, 0.88]


def test_peaks_of_one_hand_are_one() -> None:
    # At 600 mm two cells are 40 mm.
    assert len(decode(maps_of([(10, 8, 1.0), (10, 10, 3.0)]), flat(), CAMERA, 0.3)[0]) == 1
    behind = maps_of([(10, 8, 1.0), (10, 9, 0.5), (10, 10, 3.0)])
    behind.depth[0, 10, 8] = 3.0  # the same place, farther away
    assert len(decode(behind, flat(), CAMERA, 0.3)[0]) == 1


def test_depths_start_from_the_nearest_thing_around() -> None:
    depth = np.full((32, 32), 900, np.float32)
    depth[9, 13] = 450
    inverse = as_image(depth)[0]
    assert nearest_around(inverse, 2, 2) == pytest.approx(450)  # pixels 4 to 15
    assert nearest_around(inverse, 5, 5) == pytest.approx(900)
    assert nearest_around(np.zeros((32, 32), np.float32), 3, 3) == 500


def test_invalid_depth_yields_no_hands() -> None:
    maps = maps_of([(10, 20, 2.0)])
    maps.depth[0, 10, 20] = -20
    assert decode(maps, flat(), CAMERA, 0.3) == [[]]


def test_find_takes_any_frame() -> None:
    shapes = []

    def network(image: np.ndarray) -> np.ndarray:
        shapes.append(image.shape)
        maps = np.full((1, 6, image.shape[2] // 4, image.shape[3] // 4), -6, np.float32)
        maps[:, 1:] = 0
        maps[0, 0, 5, 6] = 4
        return maps

    detector = HandDetector(network, MODEL)
    for height, width in ((480, 640), (240, 317)):
        camera = Pinhole(475.0 * width / 640, 475.0 * width / 640, width / 2, height / 2)
        (found,) = detector.find(np.full((height, width), 700, np.uint16), camera)
        assert found.center_mm[2] == pytest.approx(700)
        expected = unproject(np.array([cell_px(6.0), cell_px(5.0), 700.0]), thinned_camera(camera, stride_of(camera)))
        assert_allclose(found.center_mm, expected, rtol=1e-5)
        assert detector(np.full((height, width), 700, np.uint16), camera)[0].score == found.score
    assert shapes[0] == (1, 2, 128, 160)


def test_impossible_thresholds_raise() -> None:
    with pytest.raises(ValueError, match=r"threshold is 1\.0, expected a score between 0 and 1"):
        DetectorModel(preset="detector", threshold=1.0)
