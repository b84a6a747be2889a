"""Random hands for tests."""

from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch

from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.hand.anthropometry import HandShape, sample_shape
from crossnets.synth.hand.kinematics import LIMITS_RAD, HandFrames, HandPose, natural, rotation_from_vector

T = TypeVar("T", HandShape, HandPose, HandFrames)


def random_hands(n: int, seed: int = 0) -> tuple[HandShape, HandPose]:
    rng = np.random.default_rng(seed)
    angles = rng.uniform(LIMITS_RAD[:, 0], LIMITS_RAD[:, 1], (n, len(LIMITS_RAD)))
    pose = HandPose(rotation_from_vector(rng.normal(size=(n, 3))), rng.normal((0, 0, 600), 100, (n, 3)), angles)
    return sample_shape(rng, n), natural(pose)


def to_torch(value: T) -> T:
    return replace(value, **{name: torch.from_numpy(np.array(part)) for name, part in vars(value).items()})


def signed_distance(points: np.ndarray, mesh: SphereMesh, steps: int = 24) -> np.ndarray:
    """Upper bound of the distance to a mesh in mm, negative inside.

    A hull of spheres is the union of all interpolated spheres. The function samples these.
    """
    t = np.linspace(0, 1, steps)
    pairs = np.stack([t, 1 - t], axis=-1)
    u, v = np.meshgrid(t, t)
    triples = np.stack([u, v, 1 - u - v], axis=-1)[u + v <= 1]
    nearest = np.full(len(points), np.inf)
    for weights, hulls in ((pairs, mesh.topology.capsules), (triples, mesh.topology.wedges)):
        for hull in hulls:
            centers = weights @ mesh.centers_mm[hull]
            radii = weights @ mesh.radii_mm[hull]
            distance = np.linalg.norm(points[:, None] - centers, axis=-1) - radii
            nearest = np.minimum(nearest, distance.min(axis=1))
    return nearest
