"""The fit of the rendered hand to given joints."""

from pathlib import Path

import numpy as np
import pytest
import torch

from crossnets.geometry.skeleton import ICVL16, MSRA21, NYU36, Skeleton
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import LIMITS_RAD, forward
from tests.loading import module_at
from tests.synth.hands import random_hands

fit_hand = module_at(Path(__file__).parent.parent / "scripts" / "fit_hand.py")
fit = fit_hand.fit


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize(("skeleton", "side"), [(NYU36, 1.0), (MSRA21, -1.0)])
def test_fit_recovers_the_joints(skeleton: Skeleton, side: float) -> None:
    shape, pose = random_hands(16)
    shape.side[:] = side
    target = joints(forward(shape, pose), skeleton)
    result = fit(target, skeleton, side)
    assert result.residual_mm.shape == (16, len(skeleton))
    assert float(result.residual_mm.median()) < 1.0
    assert float(result.residual_mm.mean(dim=1).median()) < 1.0
    fitted = joints(forward(result.shape, result.pose), skeleton)
    np.testing.assert_allclose((fitted.numpy() - target) ** 2 @ np.ones(3), result.residual_mm.numpy() ** 2, atol=1e-6)
    assert np.all(result.pose.angles_rad.numpy() > LIMITS_RAD[:, 0] - 0.15)
    assert np.all(result.pose.angles_rad.numpy() < LIMITS_RAD[:, 1] + 0.15)


def test_a_fit_does_not_depend_on_its_batch() -> None:
    shape, pose = random_hands(4)
    target = joints(forward(shape, pose), ICVL16)
    quick = fit_hand.FitConfig(iterations=3)
    together = fit(target, ICVL16, 1.0, quick)
    alone = fit(target[2:3], ICVL16, 1.0, quick)
    np.testing.assert_allclose(together.residual_mm[2].numpy(), alone.residual_mm[0].numpy(), atol=1e-3)


def test_invalid_joints_are_rejected() -> None:
    with pytest.raises(ValueError, match=r"\(1, 16, 3\).*\(B, 36, 3\).*nyu36"):
        fit(np.zeros((1, 16, 3)), NYU36)
    with pytest.raises(ValueError, match="finite"):
        fit(np.full((1, 36, 3), np.nan), NYU36)
