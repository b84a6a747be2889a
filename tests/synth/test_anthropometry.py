import numpy as np
import pytest

from crossnets.synth.hand.anthropometry import BONES_MM, HandShape, hand_length, mean_shape, sample_shape


def hand_breadth(shape: HandShape) -> np.ndarray:
    """(*B,): breadth in mm across the knuckles of index and little finger with their flesh."""
    knuckle_x = shape.bases_mm[..., 0] + shape.rays[..., 0] * shape.bones_mm[..., 0]
    return knuckle_x[..., 1] - knuckle_x[..., 4] + shape.radii_mm[..., 1, 0] + shape.radii_mm[..., 4, 0]


def test_the_mean_hand_has_the_published_bones() -> None:
    shape = mean_shape()
    np.testing.assert_allclose(shape.bones_mm, BONES_MM)
    assert float(hand_length(shape)) == pytest.approx(187, abs=1)
    assert float(hand_breadth(shape)) == pytest.approx(0.45 * 187, rel=0.05)


def test_sampled_hands_have_realistic_sizes() -> None:
    shape = sample_shape(np.random.default_rng(0), 4000)
    length = hand_length(shape)
    ratio = hand_breadth(shape) / length
    assert length.min() > 95  # a small child of four years
    assert length.max() < 220
    adults = length[length > 165]
    assert 178 < np.median(adults) < 190
    assert np.quantile(ratio, 0.01) > 0.375
    assert np.quantile(ratio, 0.99) < 0.52
    assert 0.4 < np.mean(shape.side > 0) < 0.6
    assert np.all(np.abs(np.linalg.norm(shape.rays, axis=-1) - 1) < 1e-12)


def test_proportions_of_bones_differ_between_hands() -> None:
    shape = sample_shape(np.random.default_rng(1), 4000)
    spread = (shape.bones_mm / hand_length(shape)[:, None, None]).std(axis=0) / BONES_MM * 187
    assert np.all((spread > 0.015) & (spread < 0.08))


def test_equal_seeds_give_equal_hands() -> None:
    first, second = (sample_shape(np.random.default_rng(3), 5) for _ in range(2))
    for name, value in vars(first).items():
        np.testing.assert_array_equal(value, getattr(second, name))
