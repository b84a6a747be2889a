from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from crossnets.synth.scenes import NONE, PRESENT, UNCLEAR, SceneConfig, SyntheticScenes
from crossnets.synth.stream import SyntheticConfig
from crossnets.synth.surroundings.clutter import Clutter

CONFIG = SceneConfig(
    hands=SyntheticConfig(camera="realsense-sr300", seed=7, clutter=Clutter(body=1.0, second_hand=0.6))
)


@pytest.fixture(scope="module")
def scenes() -> SyntheticScenes:
    return SyntheticScenes(CONFIG)


def test_frames_do_not_depend_on_their_batch(scenes: SyntheticScenes) -> None:
    whole = scenes.draw(range(4, 12))
    one = SyntheticScenes(CONFIG).draw([9])
    for together, alone in zip(whole, one, strict=True):
        assert_array_equal(np.asarray(together[5]), np.asarray(alone[0]))
    assert whole.depth_mm.shape == (8, 128, 160)


def test_labels_lie_on_hands(scenes: SyntheticScenes) -> None:
    drawn = scenes.draw(range(200))
    states = np.bincount(drawn.state.ravel(), minlength=3)
    assert states[PRESENT] > 60
    assert states[UNCLEAR] > 3
    distances = []
    for b, k in zip(*np.nonzero(drawn.state == PRESENT), strict=True):
        u, v, d = drawn.uvd[b, k]
        assert 0 <= u < 160
        assert 0 <= v < 128
        assert 80 < drawn.length_mm[b, k] < 260
        row = round(float(v))
        column = round(float(u))
        reach = 4
        part = drawn.depth_mm[b, max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
        distances.append(np.abs(part[part > 0] - d).min() if part.any() else np.inf)
    # The surface of the hand is near its centre, or another surface hides it.
    assert np.quantile(distances, 0.95) < 50


def test_second_hands_have_the_other_side(scenes: SyntheticScenes) -> None:
    drawn = scenes.draw(range(200))
    both = (drawn.state != NONE).all(axis=1)
    assert both.sum() > 10
    assert_array_equal(drawn.side[both, 0], -drawn.side[both, 1])


def test_frames_without_hands_show_people() -> None:
    drawn = SyntheticScenes(replace(CONFIG, empty=1.0)).draw(range(60))
    assert not drawn.state.any()
    assert np.mean([image.any() for image in drawn.depth_mm]) > 0.5
    depth_mm = drawn.depth_mm[drawn.depth_mm > 0]
    assert np.mean(depth_mm < 700) > 0.05


def test_most_frames_have_hands_without_a_share_of_empty_ones() -> None:
    never = SyntheticScenes(replace(CONFIG, empty=0.0)).draw(range(100))
    assert np.mean((never.state != NONE).any(axis=1)) > 0.8


def test_half_of_the_frames_have_empty_rows_at_the_bottom(scenes: SyntheticScenes) -> None:
    cut = [not image[120:].any() for image in scenes.draw(range(80)).depth_mm if image[110:120].any()]
    assert 0.3 < np.mean(cut) < 0.7


def test_invalid_arguments_are_rejected(scenes: SyntheticScenes) -> None:
    with pytest.raises(ValueError, match="at least one index"):
        scenes.draw([])
    with pytest.raises(ValueError, match="show only clutter"):
        SceneConfig(hands=SyntheticConfig())
    with pytest.raises(ValueError, match="shares from 0 to 1"):
        replace(CONFIG, empty=2.0)
