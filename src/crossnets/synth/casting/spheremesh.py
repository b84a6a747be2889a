"""The surface that the hand is made of and the cameras see: spheres, and the hulls of two or three of them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Topology(NamedTuple):
    """Which spheres of a sphere-mesh are joined (Tkach, Pauly, Tagliasacchi 2016)."""

    capsules: Int[np.ndarray, "C 2"]
    """Convex hulls of two spheres: tapered capsules."""
    wedges: Int[np.ndarray, "W 3"]
    """Convex hulls of three spheres."""


class SphereMesh(NamedTuple):
    """One surface, or a batch of surfaces of one topology; the camera frame, mm."""

    centers_mm: Float[np.ndarray, "*B S 3"]
    radii_mm: Float[np.ndarray, "*B S"]
    topology: Topology
