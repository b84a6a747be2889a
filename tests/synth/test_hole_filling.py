"""Hole filling of rendered frames does what librealsense's filter does."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from crossnets.synth.scenes import SceneConfig, SyntheticScenes, filling_of
from crossnets.synth.sensor.hole_filling import FARTHEST, LEFT, NEAREST, WAYS, fill_holes
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter
from crossnets.types import Pinhole
from tests.test_scripts import script

HANDS = SyntheticConfig(camera="realsense-sr300", seed=7, clutter=Clutter(), noise=(0.5, 1.5))
SCENES = SceneConfig(hands=HANDS, empty=0.3)


def filled(rows: list[list[float]], way: int) -> list[list[float]]:
    depth = np.array(rows, np.float32)
    fill_holes(depth, way)
    return depth.tolist()


def test_each_way_on_a_small_frame() -> None:
    frame = [
        [500.0, 0, 0, 700],
        [0, 0, 650, 0],
        [0, 800, 0, 0],
        [600, 0, 0, 0],
    ]
    assert filled(frame, LEFT) == [[500, 500, 500, 700], [0, 0, 650, 650], [0, 800, 800, 800], [600, 600, 600, 600]]
    # The hole in row 1, column 1 has 0 above, 500, 0 and 0 to its left, and 800 below.
    assert filled(frame, FARTHEST) == [[500, 0, 0, 700], [0, 800, 650, 700], [0, 800, 800, 800], [600, 0, 0, 0]]
    # It is not filled with the nearest, as nothing is above it.
    assert filled(frame, NEAREST) == [[500, 0, 0, 700], [0, 0, 650, 650], [0, 800, 650, 650], [600, 0, 0, 0]]


@pytest.mark.parametrize("way", WAYS)
def test_equal_to_librealsense(way: int) -> None:
    rs = pytest.importorskip("pyrealsense2", exc_type=ImportError)
    filters = script("camera_filters")
    rng = np.random.default_rng(way)
    depth_mm = rng.integers(1, 2000, (48, 64)).astype(np.float32)
    depth_mm[rng.random(depth_mm.shape) < 0.6] = 0
    depth_mm[10:20, 10:30] = 0
    sensor = filters.Sensor(Pinhole(50.0, 51.0, 31.5, 23.5), 64, 48, 1.0)
    try:
        expected, _ = sensor.filtered(depth_mm, [filters.made(rs.hole_filling_filter, holes_fill=way)])
    finally:
        sensor.close()
    fill_holes(depth_mm, way)
    assert_array_equal(depth_mm, expected)


def test_a_share_of_the_scenes_is_filled() -> None:
    plain = SyntheticScenes(SCENES).draw(range(64))
    some = SyntheticScenes(replace(SCENES, filled=0.3)).draw(range(64))
    every = SyntheticScenes(replace(SCENES, filled=1.0)).draw(range(64))
    changed = (some.depth_mm != plain.depth_mm).any(axis=(1, 2))
    assert 0.1 < changed.mean() < 0.5
    assert_array_equal(some.depth_mm[changed], every.depth_mm[changed])
    for name in ("uvd", "side", "length_mm", "state"):
        assert_array_equal(getattr(every, name), getattr(plain, name), err_msg=name)
    # Without the background a pixel may take another depth. It never becomes invalid.
    assert (every.depth_mm > 0).sum() > 1.2 * (plain.depth_mm > 0).sum()
    alone = SyntheticScenes(replace(SCENES, filled=1.0)).draw([9])
    assert_array_equal(alone.depth_mm[0], every.depth_mm[9])


def test_the_range_ends_behind_the_hand() -> None:
    fillings = [filling_of(np.random.default_rng(seed), 400.0) for seed in range(200)]
    ends = np.array([filling.range_mm for filling in fillings])
    assert 0.35 < np.isinf(ends).mean() < 0.65
    assert ends.min() > 440
    assert ends[np.isfinite(ends)].max() < 900
    assert {filling.way for filling in fillings} == set(WAYS)
    assert filling_of(np.random.default_rng(0), None) == filling_of(np.random.default_rng(0), None)


def test_crops_are_filled_up_to_the_surfaces_behind_them() -> None:
    indices = range(64)
    plain = SyntheticHands(HANDS).crops(indices, 48)
    every = SyntheticHands(replace(HANDS, filled=1.0)).crops(indices, 48)
    some = SyntheticHands(replace(HANDS, filled=0.3)).crops(indices, 48)
    assert_array_equal(every.joints_mm, plain.joints_mm)
    seen = plain.depth_mm > 0
    # Valid pixels stay as they are.
    assert_array_equal(every.depth_mm[seen], plain.depth_mm[seen])
    assert ((every.depth_mm > 0) & ~seen).any(axis=(1, 2)).mean() > 0.8
    # No surface from behind the cubes has come in.
    assert (every.depth_mm <= (every.centers_mm[:, 2] + every.cube_mm / 2 + 1e-3)[:, None, None]).all()
    changed = (some.depth_mm != plain.depth_mm).any(axis=(1, 2))
    assert 0.1 < changed.mean() < 0.5
    assert_array_equal(some.depth_mm[changed], every.depth_mm[changed])
    assert_array_equal(SyntheticHands(replace(HANDS, filled=1.0)).crops([9], 48).depth_mm[0], every.depth_mm[9])


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_shares_out_of_range_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"filled={share}"):
        replace(HANDS, filled=share)
    with pytest.raises(ValueError, match=f"filled={share}"):
        replace(SCENES, filled=share)
