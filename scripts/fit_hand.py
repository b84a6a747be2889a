"""Inverse kinematics: find the shape and pose of the rendered hand whose joints lie nearest to given joints.

`hand_coverage.py` fits real poses with it.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from crossnets.geometry.skeleton import Skeleton
from crossnets.synth.hand.anthropometry import HandShape, build_shape
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import (
    ANGLES,
    DIP,
    DIP_PER_PIP,
    LIMITS_RAD,
    PIP,
    HandPose,
    forward,
    rotation_from_vector,
)


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Weights of a fit. A deviation of one spread costs as much as a distance of 1 mm at one joint."""

    iterations: int = 9
    """Levenberg-Marquardt steps of each start. The best start gets the same number of steps again."""
    bone_spread: float = 0.05
    """Deviation of the logarithm of each bone's length relative to the scaled mean hand."""
    size_spread: float = 0.2
    breadth_spread: float = 0.06
    angle_spread_rad: float = 0.8
    """Deviation of each angle from the middle of its range. It holds angles that the joints do not determine."""
    limit_rad: float = 0.03
    """Deviation of each angle beyond its limits."""
    couple_rad: float = 0.5
    """Deviation of each last joint from two thirds of the angle of the joint before it."""


class Fit(NamedTuple):
    """Result of `fit` as torch tensors of float64."""

    shape: HandShape
    pose: HandPose
    residual_mm: Tensor
    """(B, J): distance of each fitted joint from the given one."""


# Layout of the parameter vector of one frame.
SIZE = 0
BREADTH = 1
BONES = slice(2, 22)
ANGLE_PART = slice(BONES.stop, BONES.stop + len(ANGLES))
ROTATION = slice(ANGLE_PART.stop, ANGLE_PART.stop + 3)
TRANSLATION = slice(ROTATION.stop, ROTATION.stop + 3)
COUNT = TRANSLATION.stop
TRANSLATION_SCALE = 100.0
"""Translations are stored in units of 100 mm, so that all parameters have a similar size."""
STARTS_DEG = (15.0, 55.0, 85.0)
"""Initial flexion in degrees of the first two joints of all fingers. The last joints follow."""


def fit(joints_mm: Tensor | np.ndarray, skeleton: Skeleton, side: float = 1.0, config: FitConfig | None = None) -> Fit:
    """Fit scale, bone lengths and pose of one hand per frame by Levenberg-Marquardt from several starts.

    Args:
        joints_mm: (B, J, 3) in the camera frame, all finite.
        skeleton: Skeleton of the joints.
        side: 1 for right hands, -1 for left ones.
        config: Weights and iterations.

    Raises:
        ValueError: the joints are not finite or do not have the shape (B, J, 3) of this skeleton.
    """
    config = config or FitConfig()
    target = torch.as_tensor(joints_mm, dtype=torch.float64)
    if target.ndim != 3 or target.shape[1:] != (len(skeleton), 3) or not target.isfinite().all():
        raise ValueError(
            f"Cannot fit a hand to joints of shape {tuple(target.shape)}: expected finite (B, {len(skeleton)}, 3) "
            f"for the skeleton {skeleton.name}."
        )
    problem = Problem(skeleton, side, config)
    shape, pose = problem.hand(*solve(problem, target))
    residual = (joints(forward(shape, pose), skeleton) - target).norm(dim=-1)
    return Fit(shape, pose, residual)


Solution = tuple[Tensor, Tensor, Tensor]
"""Parameters (B, P), base rotations (B, 3, 3) and costs (B,)."""


def solve(problem: "Problem", target: Tensor) -> tuple[Tensor, Tensor]:
    """Return parameters and base rotations of the best solution from all starts."""
    best = None
    for start_deg in STARTS_DEG:
        params, base = problem.start(target, np.deg2rad(start_deg))
        solution = problem.minimise(params, base, target)
        best = solution if best is None else better_of(best, solution)
    assert best is not None
    params, base, _ = problem.minimise(best[0], best[1], target)
    return params, base


def better_of(a: Solution, b: Solution) -> Solution:
    """Select the solution with the lower cost in each frame."""
    take_b = b[2] < a[2]
    return (
        torch.where(take_b[:, None], b[0], a[0]),
        torch.where(take_b[:, None, None], b[1], a[1]),
        torch.where(take_b, b[2], a[2]),
    )


class Problem:
    """Residuals of a fit and their minimum."""

    def __init__(self, skeleton: Skeleton, side: float, config: FitConfig) -> None:
        self.skeleton = skeleton
        self.side = side
        self.config = config
        self._low, self._high = torch.from_numpy(LIMITS_RAD.T.copy())

    def hand(self, params: Tensor, base: Tensor) -> tuple[HandShape, HandPose]:
        """Convert (*B, P) parameters and base rotations (*B, 3, 3) to a hand without a forearm."""
        size = params[..., SIZE].exp()
        breadth = params[..., BREADTH].exp()
        bones = params[..., BONES].exp().reshape(*size.shape, 5, 4)
        one = torch.ones_like(size)
        shape = build_shape(size, bones, breadth, one, self.side * one, 15 * one)
        turn = rotation_from_vector(params[..., ROTATION])
        pose = HandPose(turn @ base, params[..., TRANSLATION] * TRANSLATION_SCALE, params[..., ANGLE_PART])
        return shape, pose

    def residuals(self, params: Tensor, base: Tensor, target: Tensor) -> Tensor:
        """Return the residuals (*B, R): distances of the joints in mm, then the weighted prior on hands."""
        config = self.config
        angles = params[..., ANGLE_PART]
        fitted = joints(forward(*self.hand(params, base)), self.skeleton)
        middle = ((self._low + self._high) / 2).clamp(max=0.5)
        beyond = (angles - self._high).clamp(min=0) - (self._low - angles).clamp(min=0)
        uncoupled = angles[..., torch.from_numpy(DIP)] - DIP_PER_PIP * angles[..., torch.from_numpy(PIP)]
        parts = [
            (fitted - target).flatten(-2),
            params[..., :1] / config.size_spread,
            params[..., 1:2] / config.breadth_spread,
            params[..., BONES] / config.bone_spread,
            (angles - middle) / config.angle_spread_rad,
            beyond / config.limit_rad,
            uncoupled / config.couple_rad,
        ]
        return torch.cat(parts, dim=-1)

    def start(self, target: Tensor, flexion: float) -> tuple[Tensor, Tensor]:
        """Return parameters and base rotations of a start.

        All fingers are flexed equally. The hand is then aligned with the joints by rotation, scale and translation
        (Umeyama 1991).
        """
        params = target.new_zeros(len(target), COUNT)
        angles = torch.zeros(len(ANGLES), dtype=target.dtype)
        angles[torch.from_numpy(PIP - 2)] = angles[torch.from_numpy(PIP)] = flexion
        angles[torch.from_numpy(DIP)] = DIP_PER_PIP * flexion
        angles[0] = 0.3 * flexion
        params[:, ANGLE_PART] = angles
        base = torch.eye(3, dtype=target.dtype).expand(len(target), 3, 3)
        initial = joints(forward(*self.hand(params, base)), self.skeleton)
        centre = initial.mean(1, keepdim=True)
        goal = target.mean(1, keepdim=True)
        u, s, vh = torch.linalg.svd((target - goal).mT @ (initial - centre))
        sign = torch.ones_like(s)
        sign[:, 2] = torch.linalg.det(u @ vh)
        rotation = (u * sign[:, None, :]) @ vh
        size = ((target - goal).square().sum((1, 2)) / (initial - centre).square().sum((1, 2))).sqrt()
        size = size.clamp(0.4, 1.6)
        params[:, SIZE] = size.log()
        moved = goal - size[:, None, None] * (rotation @ centre.mT).mT
        params[:, TRANSLATION] = moved[:, 0] / TRANSLATION_SCALE
        return params, rotation

    def minimise(self, params: Tensor, base: Tensor, target: Tensor) -> Solution:
        """Run Levenberg-Marquardt with one damping for each frame (Nocedal & Wright 2006, section 10.3)."""
        jacobian = torch.func.vmap(torch.func.jacfwd(self.residuals))
        damping = params.new_full((len(params),), 1e-2)
        cost = self.residuals(params, base, target).square().sum(-1)
        for _ in range(self.config.iterations):
            r = self.residuals(params, base, target)
            j = jacobian(params, base, target)
            normal = j.mT @ j
            diagonal = normal.diagonal(dim1=-2, dim2=-1)
            damped = normal + torch.diag_embed(diagonal * damping[:, None] + 1e-9)
            step = torch.linalg.solve(damped, (j.mT @ r[..., None]))[..., 0]
            tried = params - step
            tried_cost = self.residuals(tried, base, target).square().sum(-1)
            better = tried_cost < cost
            params = torch.where(better[:, None], tried, params)
            cost = torch.where(better, tried_cost, cost)
            damping = torch.where(better, damping / 4, damping * 8).clamp(1e-6, 1e6)
        # The fitted rotation moves into the base, so that the next run starts at a zero rotation vector.
        turned = rotation_from_vector(params[:, ROTATION]) @ base
        params = params.clone()
        params[:, ROTATION] = 0
        return params, turned, cost
