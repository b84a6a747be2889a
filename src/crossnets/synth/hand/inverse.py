"""Inverse kinematics: the shape and pose whose joints lie nearest to given ones."""

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
    """Weights of a fit: all residuals are in mm, so a spread says what costs as much as one mm at one joint."""

    iterations: int = 9
    """Levenberg-Marquardt steps of each start; the best start gets as many again."""
    bone_spread: float = 0.05
    """Deviation of the logarithm of each bone's length over the scaled mean hand's."""
    size_spread: float = 0.2
    breadth_spread: float = 0.06
    angle_spread_rad: float = 0.8
    """Deviation of each angle about the middle of its range. It keeps at rest what the joints do not show."""
    limit_rad: float = 0.03
    """Deviation of angles beyond their limits."""
    couple_rad: float = 0.5
    """Deviation of the last joints from two thirds of the joints before."""


class Fit(NamedTuple):
    """Result of `fit`, in torch, float64."""

    shape: HandShape
    pose: HandPose
    residual_mm: Tensor
    """(B, J): distance of each joint from the one given."""


_SIZE, _BREADTH = 0, 1
_BONES, _ANGLES = slice(2, 22), slice(22, 22 + len(ANGLES))
_ROTATION = slice(_ANGLES.stop, _ANGLES.stop + 3)
_TRANSLATION = slice(_ROTATION.stop, _ROTATION.stop + 3)
_COUNT = _TRANSLATION.stop
_ROTATION_SCALE, _TRANSLATION_SCALE = 1.0, 100.0
_STARTS_DEG = (15.0, 55.0, 85.0)
"""Flexion of all fingers' first two joints at the start, in degrees; the last joints follow."""


def fit(joints_mm: Tensor | np.ndarray, skeleton: Skeleton, side: float = 1.0, config: FitConfig | None = None) -> Fit:
    """Fit scale, bone lengths and pose of one hand a frame to joints, by Levenberg-Marquardt from several starts.

    Args:
        joints_mm: (B, J, 3) in the camera frame, all finite.
        skeleton: Says which joints they are.
        side: 1 for right hands, -1 for left ones.
        config: Weights and iterations.

    Raises:
        ValueError: the joints are not (B, J, 3) of this skeleton, or not finite.
    """
    config = config or FitConfig()
    target = torch.as_tensor(joints_mm, dtype=torch.float64)
    if target.ndim != 3 or target.shape[1:] != (len(skeleton), 3) or not target.isfinite().all():
        raise ValueError(
            f"Cannot fit a hand to joints of shape {tuple(target.shape)}: expected finite (B, {len(skeleton)}, 3) "
            f"for the skeleton {skeleton.name}."
        )
    problem = _Problem(skeleton, side, config)
    best = None
    for start_deg in _STARTS_DEG:
        params, base = problem.start(target, np.deg2rad(start_deg))
        found = problem.minimise(params, base, target)
        best = found if best is None else _better(best, found)
    assert best is not None
    params, base, _ = problem.minimise(best[0], best[1], target)
    shape, pose = problem.hand(params, base)
    residual = (joints(forward(shape, pose), skeleton) - target).norm(dim=-1)
    return Fit(shape, pose, residual)


_Found = tuple[Tensor, Tensor, Tensor]
"""Parameters (B, P), base rotations (B, 3, 3) and costs (B,)."""


def _better(a: _Found, b: _Found) -> _Found:
    """The cheaper of two solutions, frame by frame."""
    take_b = b[2] < a[2]
    return (
        torch.where(take_b[:, None], b[0], a[0]),
        torch.where(take_b[:, None, None], b[1], a[1]),
        torch.where(take_b, b[2], a[2]),
    )


class _Problem:
    """Residuals of a fit and their minimum."""

    def __init__(self, skeleton: Skeleton, side: float, config: FitConfig) -> None:
        self.skeleton, self.side, self.config = skeleton, side, config
        self._low, self._high = (torch.from_numpy(np.ascontiguousarray(LIMITS_RAD[:, k])) for k in range(2))

    def hand(self, params: Tensor, base: Tensor) -> tuple[HandShape, HandPose]:
        """(*B, P) parameters and base rotations (*B, 3, 3) to a hand without a forearm."""
        size, breadth = params[..., _SIZE].exp(), params[..., _BREADTH].exp()
        bones = params[..., _BONES].exp().reshape(*size.shape, 5, 4)
        one = torch.ones_like(size)
        shape = build_shape(size, bones, breadth, one, self.side * one, 15 * one)
        turn = rotation_from_vector(params[..., _ROTATION] * _ROTATION_SCALE)
        pose = HandPose(turn @ base, params[..., _TRANSLATION] * _TRANSLATION_SCALE, params[..., _ANGLES])
        return shape, pose

    def residuals(self, params: Tensor, base: Tensor, target: Tensor) -> Tensor:
        """Residuals (*B, R) in mm: of the joints, then of the prior on hands."""
        config, angles = self.config, params[..., _ANGLES]
        found = joints(forward(*self.hand(params, base)), self.skeleton)
        middle = ((self._low + self._high) / 2).clamp(max=0.5)
        beyond = (angles - self._high).clamp(min=0) - (self._low - angles).clamp(min=0)
        uncoupled = angles[..., torch.from_numpy(DIP)] - DIP_PER_PIP * angles[..., torch.from_numpy(PIP)]
        parts = [
            (found - target).flatten(-2),
            params[..., :1] / config.size_spread,
            params[..., 1:2] / config.breadth_spread,
            params[..., _BONES] / config.bone_spread,
            (angles - middle) / config.angle_spread_rad,
            beyond / config.limit_rad,
            uncoupled / config.couple_rad,
        ]
        return torch.cat(parts, dim=-1)

    def start(self, target: Tensor, flexion: float) -> tuple[Tensor, Tensor]:
        """Parameters of equally flexed fingers laid on the joints by rotation, scale and translation (Umeyama 1991)."""
        params = target.new_zeros(len(target), _COUNT)
        angles = torch.zeros(len(ANGLES), dtype=target.dtype)
        angles[torch.from_numpy(PIP - 2)] = angles[torch.from_numpy(PIP)] = flexion
        angles[torch.from_numpy(DIP)] = DIP_PER_PIP * flexion
        angles[0] = 0.3 * flexion
        params[:, _ANGLES] = angles
        base = torch.eye(3, dtype=target.dtype).expand(len(target), 3, 3)
        found = joints(forward(*self.hand(params, base)), self.skeleton)
        centre, goal = found.mean(1, keepdim=True), target.mean(1, keepdim=True)
        u, s, vh = torch.linalg.svd((target - goal).mT @ (found - centre))
        sign = torch.ones_like(s)
        sign[:, 2] = torch.linalg.det(u @ vh)
        rotation = (u * sign[:, None, :]) @ vh
        size = ((target - goal).square().sum((1, 2)) / (found - centre).square().sum((1, 2))).sqrt()
        size = size.clamp(0.4, 1.6)
        params[:, _SIZE] = size.log()
        moved = goal - size[:, None, None] * (rotation @ centre.mT).mT
        params[:, _TRANSLATION] = moved[:, 0] / _TRANSLATION_SCALE
        return params, rotation

    def minimise(self, params: Tensor, base: Tensor, target: Tensor) -> _Found:
        """Levenberg-Marquardt, every frame with its own damping (Nocedal & Wright 2006, section 10.3)."""
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
        turned = rotation_from_vector(params[:, _ROTATION] * _ROTATION_SCALE) @ base
        params = params.clone()
        params[:, _ROTATION] = 0
        return params, turned, cost
