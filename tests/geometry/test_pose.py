import numpy as np
import pytest

from crossnets.geometry.pose import denormalise_pose, normalise_pose


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
@pytest.mark.parametrize("reference", [0, 5])
def test_round_trip(batch: tuple[int, ...], reference: int) -> None:
    random = np.random.default_rng(0)
    joints = random.uniform(-200, 800, (*batch, 14, 3))
    center = random.uniform(-200, 800, (*batch, 3))
    pose = normalise_pose(joints, center, reference)
    np.testing.assert_allclose(denormalise_pose(pose, center), joints, rtol=0, atol=1e-11)
    assert (pose.y[..., reference, :] == 0).all()


def test_round_trip_in_float32() -> None:
    random = np.random.default_rng(1)
    joints = random.uniform(-200, 800, (14, 3)).astype(np.float32)
    center = random.uniform(-200, 800, 3).astype(np.float32)
    pose = normalise_pose(joints, center, 0)
    assert pose.y.dtype == pose.t.dtype == np.float32
    np.testing.assert_allclose(denormalise_pose(pose, center), joints, rtol=0, atol=1e-3)


def test_units() -> None:
    """One unit is 50 mm, and t is the offset of the reference joint from the centre."""
    joints = np.array([[0.0, 0.0, 500.0], [50.0, 0.0, 600.0]])
    pose = normalise_pose(joints, np.array([0.0, 25.0, 550.0]), 0)
    np.testing.assert_allclose(pose.t, [0.0, -0.5, -1.0])
    np.testing.assert_allclose(pose.y[1], [1.0, 0.0, 2.0])
