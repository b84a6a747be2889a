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


def test_a_frame_is_the_same_whoever_asks_for_it(scenes: SyntheticScenes) -> None:
    whole, one = scenes.draw(range(4, 12)), SyntheticScenes(CONFIG).draw([9])
    for together, alone in zip(whole, one, strict=True):
        assert_array_equal(np.asarray(together[5]), np.asarray(alone[0]))
    assert whole.depth_mm.shape == (8, 128, 160)


def test_labels_lie_on_hands(scenes: SyntheticScenes) -> None:
    drawn = scenes.draw(range(200))
    states = np.bincount(drawn.state.ravel(), minlength=3)
    assert states[PRESENT] > 60
    assert states[UNCLEAR] > 3
    behind = []
    for b, k in zip(*np.nonzero(drawn.state == PRESENT), strict=True):
        u, v, d = drawn.uvd[b, k]
        assert 0 <= u < 160
        assert 0 <= v < 128
        assert 80 < drawn.length_mm[b, k] < 260
        row, column, reach = round(float(v)), round(float(u)), 4
        part = drawn.depth_mm[b, max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
        behind.append(np.abs(part[part > 0] - d).min() if part.any() else np.inf)
    assert np.quantile(behind, 0.95) < 50  # its own surface is there, or something that hides it


def test_second_hands_are_of_the_other_side(scenes: SyntheticScenes) -> None:
    drawn = scenes.draw(range(200))
    both = (drawn.state != NONE).all(axis=1)
    assert both.sum() > 10
    assert_array_equal(drawn.side[both, 0], -drawn.side[both, 1])


def test_frames_without_hands_have_none_and_look_at_faces() -> None:
    drawn = SyntheticScenes(replace(CONFIG, empty=1.0)).draw(range(60))
    assert not drawn.state.any()
    assert np.mean([image.any() for image in drawn.depth_mm]) > 0.5
    seen = drawn.depth_mm[drawn.depth_mm > 0]
    assert np.mean(seen < 700) > 0.05


def test_shares_of_empty_frames_are_those_asked_for() -> None:
    never = SyntheticScenes(replace(CONFIG, empty=0.0)).draw(range(100))
    assert np.mean((never.state != NONE).any(axis=1)) > 0.8


def test_half_the_frames_are_cut_below(scenes: SyntheticScenes) -> None:
    cut = [not image[120:].any() for image in scenes.draw(range(80)).depth_mm if image[110:120].any()]
    assert 0.3 < np.mean(cut) < 0.7


def test_mistakes_are_named(scenes: SyntheticScenes) -> None:
    with pytest.raises(ValueError, match="at least one index"):
        scenes.draw([])
    with pytest.raises(ValueError, match="and clutter, without which"):
        SceneConfig(hands=SyntheticConfig())
    with pytest.raises(ValueError, match="a share from 0 to 1"):
        replace(CONFIG, empty=2.0)
