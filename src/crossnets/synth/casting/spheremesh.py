"""Surfaces made of spheres and of the convex hulls of two or three spheres."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Topology(NamedTuple):
    """The spheres that are joined into hulls (Tkach, Pauly, Tagliasacchi 2016)."""

    capsules: Int[np.ndarray, "C 2"]
    """Convex hulls of two spheres: tapered capsules."""
    wedges: Int[np.ndarray, "W 3"]
    """Convex hulls of three spheres."""


class SphereMesh(NamedTuple):
    """One surface, or a batch of surfaces of one topology, in mm in the camera frame."""

    centers_mm: Float[np.ndarray, "*B S 3"]
    radii_mm: Float[np.ndarray, "*B S"]
    topology: Topology

    def take(self, rows: int | Sequence[int]) -> "SphereMesh":
        """Return one surface of a batch, or a batch of several of them."""
        return self._replace(centers_mm=self.centers_mm[rows], radii_mm=self.radii_mm[rows])

    def as_batch(self) -> "SphereMesh":
        """Return a batch that contains only this surface."""
        return self._replace(centers_mm=self.centers_mm[None], radii_mm=self.radii_mm[None])


def stack(meshes: Sequence[SphereMesh]) -> SphereMesh:
    """Return a batch of surfaces of one topology."""
    centers_mm = np.stack([mesh.centers_mm for mesh in meshes])
    radii_mm = np.stack([mesh.radii_mm for mesh in meshes])
    return SphereMesh(centers_mm, radii_mm, meshes[0].topology)
