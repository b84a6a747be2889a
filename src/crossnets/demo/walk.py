"""Animation of a walk through the latent space of a model, from an open hand to a closed one."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from crossnets import metrics
from crossnets.demo.hands import HeldOutHands
from crossnets.demo.measure import Result
from crossnets.evaluation.report.examples import Example, pictures
from crossnets.geometry.crop import crop_hand
from crossnets.inference.torch_models import Estimator
from crossnets.latent.film import map_to_rgb, save_gif, with_skeleton
from crossnets.latent.generate import joints_in_crop_px, walk

STEPS = 16
_TIMES = 2
"""Magnification of the generated depth maps."""
_TURN_COSTS = 1.0
"""Penalty in hand lengths for a pair of hands. It counts once for each of two palm axes that differs by 90 degrees."""


@dataclass(frozen=True)
class Walk:
    """The animation and the frames at its ends."""

    path: Path
    ends: list[Example]


def film(estimator: Estimator, hands: HeldOutHands, result: Result, path: Path) -> Walk | None:
    """Write the animation between the latents of two images. Return None if the model has no latent space."""
    try:
        nets = estimator.latent_networks()
    except ValueError:
        return None
    ends = open_and_closed(hands, result)
    frames = [hands[index] for index in ends]
    centers_mm = hands.centers_mm[list(ends)]
    cube_mm = estimator.config.cube_mm
    crops = [crop_hand(f.depth_mm, f.camera, center, cube_mm) for f, center in zip(frames, centers_mm, strict=True)]
    z = estimator.latents(crops)
    made = walk(nets, z[0], z[1], STEPS)
    share = np.linspace(0, 1, STEPS, dtype=np.float32)[:, None]
    between_mm = (1 - share) * centers_mm[0] + share * centers_mm[1]
    points_px = joints_in_crop_px(estimator, made.pose, between_mm, frames[0].camera)
    plain = [map_to_rgb(depth, _TIMES) for depth in made.depth.numpy()]
    drawn = [with_skeleton(p, points, estimator.skeleton) for p, points in zip(plain, points_px, strict=True)]
    save_gif(path, plain, drawn)
    return Walk(path, pictures(result.evaluation.compared, hands, ends))


def open_and_closed(hands: HeldOutHands, result: Result) -> tuple[int, int]:
    """Choose a frame with straight and one with bent fingers, from similar views.

    Only the better half of the estimates is considered.
    """
    assert hands.skeleton is not None
    compared = result.evaluation.compared
    errors = metrics.joint_errors_mm(compared.predicted_mm, compared.labels_mm).mean(axis=1)
    rows = np.argsort(errors, kind="stable")[: max(2, len(errors) // 2)]
    joints = hands.joints_mm[rows].astype(np.float64)
    names = hands.skeleton.joints
    wrist, middle, little = (joints[:, names.index(name)] for name in ("wrist", "middle_mcp", "little_mcp"))
    tips = joints[:, [joint for joint, name in enumerate(names) if name.endswith("tip") and "thumb" not in name]]
    reach = np.linalg.norm(tips - wrist[:, None], axis=-1).mean(axis=1) / np.linalg.norm(middle - wrist, axis=-1)
    forward = _unit(middle - wrist)
    across = _unit(little - middle)
    # Each axis of the palm adds 1 - cos of the angle between the two hands: 0 for the same direction, 1 at 90 degrees.
    turned = 2 - forward @ forward.T - across @ across.T
    gain = reach[:, None] - reach[None, :] - _TURN_COSTS * turned
    np.fill_diagonal(gain, -np.inf)
    opened, closed = np.unravel_index(int(gain.argmax()), gain.shape)
    return int(rows[opened]), int(rows[closed])


def _unit(vectors: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
