"""Pixels of filled holes are removed, and images without them stay as they are."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

import crossnets
from crossnets.datasets.image_sources import open_sources
from crossnets.datasets.opening import open_dataset
from crossnets.geometry.filled_holes import _ends_of_holes, in_runs, without_filling
from crossnets.inference import tracker as tracker_module
from crossnets.inference.loading import Candidates
from crossnets.inference.predict import predict_frame
from crossnets.synth.sensor.hole_filling import LEFT, WAYS, fill_holes
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter
from crossnets.types import HandFrame


def runs_by_loops(depth: np.ndarray, least_px: int) -> np.ndarray:
    """The definition, pixel by pixel."""
    found = np.zeros(depth.shape, bool)
    for v, row in enumerate(depth):
        for u, value in enumerate(row):
            left = u
            right = u
            while left > 0 and row[left - 1] == value:
                left -= 1
            while right + 1 < len(row) and row[right + 1] == value:
                right += 1
            found[v, u] = value > 0 and right - left + 1 >= least_px
    return found


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
@pytest.mark.parametrize("least_px", [2, 3, 5])
def test_runs_agree_with_their_definition(kind: type, least_px: int) -> None:
    depth = np.random.default_rng(0).choice([0, 500, 501], (29, 31), p=[0.2, 0.6, 0.2]).astype(kind)
    expected = runs_by_loops(depth, least_px)
    assert 0 < expected.sum() < expected.size
    np.testing.assert_array_equal(in_runs(depth, least_px), expected)
    np.testing.assert_array_equal(in_runs(depth, least_px, "column"), runs_by_loops(depth.T, least_px).T)


def scene() -> np.ndarray:
    """A hand's width of a surface at 500 mm before a wall at 900 mm, with noise and holes."""
    rng = np.random.default_rng(1)
    depth = np.full((240, 320), 900.0, np.float32)
    depth[60:180, 100:160] = 500
    depth += rng.normal(0, 2, depth.shape)
    depth[55:185, 160:230] = 0
    depth[:50, :60] = 0
    depth[rng.random(depth.shape) < 0.01] = 0
    return np.round(depth).astype(np.uint16)


def inside_the_hole() -> np.ndarray:
    inside = np.zeros((240, 320), bool)
    inside[60:180, 162:228] = True
    return inside


TURNS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda image: image,
    "mirrored": np.fliplr,
    "upside down": np.flipud,
    "turned left": np.rot90,
    "turned right": lambda image: np.rot90(image, -1),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("turn", TURNS)
def test_filled_pixels_are_removed_and_others_stay(way: int, turn: str) -> None:
    unfilled = scene()
    filled = unfilled.copy()
    fill_holes(filled, way)
    given = np.ascontiguousarray(TURNS[turn](filled))
    before = given.copy()
    mended = without_filling(given)
    np.testing.assert_array_equal(given, before)
    unfilled = TURNS[turn](unfilled)
    filled = given
    hole = TURNS[turn](inside_the_hole())
    assert np.count_nonzero(filled[hole]) > 0.9 * filled[hole].size
    assert np.count_nonzero(mended[hole]) < 0.1 * filled[hole].size
    kept = mended[unfilled > 0]
    assert np.count_nonzero(kept) > 0.97 * kept.size
    assert np.isin(mended[mended > 0] - filled[mended > 0], 0).all()


@cache
def filled_in_part(most_px: int) -> np.ndarray:
    """The scene after so many pixels at both ends of each hole in a row got the depth beside it."""
    filled = scene()
    for image in (filled, filled[:, ::-1]):
        before = image.copy()
        for column in range(1, image.shape[1]):
            for distance in range(1, min(most_px, column) + 1):
                between = (before[:, column - distance + 1 : column + 1] == 0).all(axis=1)
                reached = between & (before[:, column - distance] > 0) & (image[:, column] == 0)
                image[reached, column] = before[reached, column - distance]
    return filled


@pytest.mark.parametrize("most_px", [5, 8, 16, 30])
@pytest.mark.parametrize("turn", ["as it is", "mirrored", "upside down"])
@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_holes_that_were_filled_in_part_are_widened_again(most_px: int, turn: str, kind: type) -> None:
    unfilled = scene()
    filled = filled_in_part(most_px)
    inside = inside_the_hole()
    assert np.count_nonzero(filled[inside]) > 0.9 * 2 * (most_px - 2) / 66 * np.count_nonzero(inside)
    given = np.ascontiguousarray(TURNS[turn](filled)).astype(kind)
    before = given.copy()
    mended = without_filling(given)
    np.testing.assert_array_equal(given, before)
    assert np.count_nonzero(mended[TURNS[turn](inside)]) < 0.02 * np.count_nonzero(inside)
    kept = mended[TURNS[turn](unfilled) > 0]
    assert np.count_nonzero(kept) > 0.97 * kept.size
    assert np.isin(mended[mended > 0] - given[mended > 0], 0).all()


@pytest.mark.parametrize("turn", ["turned left", "turned right"])
def test_turned_images_whose_holes_were_filled_in_part_stay_as_they_are(turn: str) -> None:
    """The mend knows filters along rows alone (docs/cameras.md)."""
    given = np.ascontiguousarray(TURNS[turn](filled_in_part(8)))
    assert without_filling(given) is given


def test_depth_in_steps_is_not_taken_for_holes_that_were_filled_in_part() -> None:
    depth = ((scene() + 10) // 20 * 20).astype(np.uint16)
    ends = _ends_of_holes(depth)
    assert ends.share() > 0.35, "runs lead to the holes"
    assert ends.inside() > 0.35, "and run through the surfaces"
    assert without_filling(depth) is depth


@pytest.mark.parametrize("invalid", [np.nan, np.inf])
def test_invalid_pixels_of_any_kind_are_treated_alike(invalid: float) -> None:
    filled = scene()
    fill_holes(filled, LEFT)
    expected = without_filling(filled)
    with_others = np.where(filled > 0, filled, invalid).astype(np.float32)
    changed = without_filling(with_others)
    np.testing.assert_array_equal(np.where(np.isfinite(changed), changed, 0), expected)


def flat_wall() -> np.ndarray:
    depth = np.full((240, 320), 900, np.uint16)
    depth[:, :40] = 0
    return depth


def floor_in_steps() -> np.ndarray:
    """A rendered floor without noise, whose depth is rounded to 5 mm. Each row has one depth."""
    return np.repeat(5 * np.arange(120, 360, dtype=np.uint16)[:, None], 320, axis=1)


def floor_beside_an_invalid_column() -> np.ndarray:
    depth = floor_in_steps()
    depth[:, 0] = 0
    return depth


def room_without_noise() -> np.ndarray:
    """A floor in steps of 5 mm and a ball before it, seen by a camera whose first columns are invalid."""
    depth = floor_in_steps()
    rows, columns = np.indices(depth.shape)
    away = np.hypot(rows - 150, columns - 160)
    ball = 5 * np.round((500 - np.sqrt(np.maximum(60**2 - away**2, 0))) / 5)
    depth = np.where(away < 60, ball, depth).astype(np.uint16)
    depth[:, :40] = 0
    return depth


def coarse_scene() -> np.ndarray:
    return (scene() // 20 * 20).astype(np.uint16)


@pytest.mark.parametrize(
    "image", [scene, flat_wall, floor_in_steps, floor_beside_an_invalid_column, room_without_noise, coarse_scene]
)
@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_images_without_filled_holes_stay_as_they_are(image: Callable[[], np.ndarray], kind: type) -> None:
    depth = image().astype(kind)
    assert without_filling(depth) is depth


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (2, 40), (40, 1), (3, 3), (40, 5)])
@pytest.mark.parametrize("value", [0, 500])
def test_small_images_stay_as_they_are(shape: tuple[int, int], value: int) -> None:
    depth = np.full(shape, value, np.uint16)
    assert without_filling(depth) is depth


def filled_frame() -> tuple[HandFrame, np.ndarray, np.ndarray]:
    """A frame, its depth, and its depth with filled holes."""
    config = SyntheticConfig(camera="realsense-d435", seed=9_320_000, noise=(1.0, 1.0), distance_mm=(400.0, 600.0))
    frame = SyntheticHands(config).frame(1)
    depth = np.round(frame.depth_mm).astype(np.uint16)
    filled = depth.copy()
    fill_holes(filled, LEFT)
    return frame, depth, filled


@pytest.mark.filterwarnings("ignore:.*repeat the depth")
def test_every_prediction_of_an_image_is_without_its_filled_holes() -> None:
    frame, depth, filled = filled_frame()
    tracker = crossnets.load()
    (expected,) = tracker.predict(depth, frame.camera)
    (found,) = tracker.predict(filled, frame.camera)
    assert np.linalg.norm(found.joints_mm - expected.joints_mm, axis=1).mean() < 8
    (followed,) = crossnets.load().track(filled, frame.camera)
    np.testing.assert_array_equal(followed.joints_mm, found.joints_mm)
    same = replace(frame, depth_mm=filled.astype(np.float32))
    places = Candidates("detector", lambda image: list(tracker.finder(image.depth_mm, image.camera)), lambda _: [])
    one = predict_frame(tracker.estimator, same, places)
    assert one.joints_mm is not None
    np.testing.assert_allclose(one.joints_mm, found.joints_mm, atol=1e-3)
    with patch.object(tracker_module, "without_filling", lambda image: image):
        smeared = tracker.predict(filled, frame.camera)
    assert all(np.linalg.norm(hand.joints_mm - expected.joints_mm, axis=1).mean() > 15 for hand in smeared)


@pytest.mark.filterwarnings("ignore:.*repeat the depth")
def test_filling_that_is_switched_on_while_a_hand_is_followed_is_noticed_by_the_next_search() -> None:
    frame, depth, filled = filled_frame()
    tracker = crossnets.load()
    unfilled = [depth] * (2 * tracker_module.FINDS_EVERY)
    checked = []
    with patch.object(tracker_module, "without_filling", wraps=without_filling) as check:
        for image in [*unfilled, *[filled] * (tracker_module.FINDS_EVERY + 3)]:
            check.reset_mock()
            (found,) = tracker.track(image, frame.camera)
            checked.append(check.called)
    first = checked.index(True, len(unfilled))
    assert np.flatnonzero(checked[: len(unfilled)]).tolist() == [0, tracker_module.FINDS_EVERY]
    assert first <= len(unfilled) + tracker_module.FINDS_EVERY
    assert all(checked[first:])
    (expected,) = tracker.predict(filled, frame.camera)
    assert np.linalg.norm(found.joints_mm - expected.joints_mm, axis=1).mean() < 5, "15 or more if they stay"


@pytest.mark.real
def test_images_of_real_cameras_stay_as_they_are(real_data: Path) -> None:
    """All 1,080 labelled frames of CVAR and the 19 of an SR305."""
    frames = open_dataset(f"cvar:{real_data}/cvar#P1,P4,P5")
    assert len(frames) == 1080
    images = [frames[k].depth_mm for k in range(len(frames))]
    for source in open_sources([str(real_data / "sr305" / "datasets" / "custom")], "realsense-sr305"):
        images += [source[k].depth_mm for k in range(len(source))]
    assert len(images) == 1099
    assert all(without_filling(image) is image for image in images)


@pytest.mark.parametrize("camera", ["nyu-kinect", "realsense-sr300", "realsense-d415", "azure-kinect-nfov"])
def test_rendered_scenes_with_noise_stay_as_they_are(camera: str) -> None:
    hands = SyntheticHands(SyntheticConfig(camera=camera, seed=9_340_000, noise=(0.5, 1.5), clutter=Clutter()))
    for number in range(20):
        depth = hands.frame(number).depth_mm
        assert without_filling(depth) is depth
