"""The One-Euro filter: steady when still, close behind when moving."""

import numpy as np
import pytest

from crossnets.inference.smoothing import OneEuro, OneEuroConfig

STEP_S = 1 / 60


def filtered(values: np.ndarray, config: OneEuroConfig | None = None) -> np.ndarray:
    smooth = OneEuro(config)
    return np.stack([smooth(value, number * STEP_S) for number, value in enumerate(values)])


def test_a_still_hand_is_steadier() -> None:
    noisy = 500 + np.random.default_rng(0).normal(0, 2, (300, 21, 3))
    steady = filtered(noisy)[60:]
    assert steady.std(axis=0).mean() < 0.5 * noisy[60:].std(axis=0).mean()
    assert np.abs(steady.mean(axis=0) - 500).max() < 1.5


def test_a_fast_hand_is_followed_closely() -> None:
    path = np.zeros((120, 1, 3))
    path[:, 0, 0] = 500 * STEP_S * np.arange(120)  # half a metre a second
    lag_mm = (path - filtered(path))[60:, 0, 0]
    assert 0 < lag_mm.max() < 15


def test_constants_of_the_paper_s_equations() -> None:
    """No speed term: an exponential mean with share r / (r + 1), r = 2 pi cutoff step."""
    found = filtered(np.array([[[0.0, 0, 0]], [[1.0, 0, 0]]]), OneEuroConfig(min_cutoff_hz=1.0, beta_per_mm=0.0))
    r = 2 * np.pi * STEP_S
    assert found[1, 0, 0] == pytest.approx(r / (r + 1))


def test_time_must_grow() -> None:
    smooth = OneEuro()
    smooth(np.zeros((2, 3)), 1.0)
    with pytest.raises(ValueError, match="Times must increase"):
        smooth(np.zeros((2, 3)), 1.0)


@pytest.mark.parametrize("wrong", [{"min_cutoff_hz": 0.0}, {"beta_per_mm": -1.0}, {"speed_cutoff_hz": np.inf}])
def test_constants_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected cutoffs above 0 Hz"):
        OneEuroConfig(**wrong)
