"""The depth camera in torch: depth and its gradient with respect to spheres and camera, for fitting to images.

The compiled caster says which patch each pixel hits. Its intersection is computed again in torch. The gradient of each
pixel's depth is exact while the pixel stays on its patch. What is missing is that moving an outline uncovers or covers
pixels: a fit needs another term for that, such as distances to the silhouette. At grazing rays the true gradient has no
bound. It is cut off (`_GRAZING`).
"""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from crossnets.synth.casting.raster import Cast, Patches, cast, patches_of
from crossnets.synth.casting.spheremesh import SphereMesh, Topology

_GRAZING = 1e-10
"""Below this share of its largest value the discriminant of a ray is held constant."""


def render_depth(
    centers_mm: Float[Tensor, "B S 3"],
    radii_mm: Float[Tensor, "B S"],
    topology: Topology,
    camera_px: Float[Tensor, "B 4"],
    width_px: int,
    height_px: int,
) -> Float[Tensor, "B H W"]:
    """Depth images in mm, 0 where nothing is hit; equal to `raster.render`.

    Args:
        centers_mm: Of the spheres, in the camera frame.
        radii_mm: Of the spheres.
        topology: Of every mesh of the batch.
        camera_px: fx, fy, cx, cy of each.
        width_px: Of the images.
        height_px: Of the images.
    """
    focal, middle = camera_px.double().view(-1, 2, 2).unbind(1)
    x = (torch.arange(width_px, device=camera_px.device) - middle[:, :1]) / focal[:, :1]
    y = (torch.arange(height_px, device=camera_px.device) - middle[:, 1:]) / focal[:, 1:]
    found = patches_of(topology, centers_mm.shape[1])
    seen = _cast(centers_mm, radii_mm, topology, x, y)
    patch = torch.from_numpy(seen.patch.astype(np.int64)).to(centers_mm.device)
    spheres, radii = centers_mm.double(), radii_mm.double()
    first_cone = found.num_spheres
    first_triangle = first_cone + len(found.pairs)
    depth = torch.zeros(patch.shape, dtype=torch.float64, device=centers_mm.device)
    for low, high, intersect in (
        (0, first_cone, _sphere),
        (first_cone, first_triangle, _cone),
        (first_triangle, first_triangle + 2 * len(found.wedges), _triangle),
    ):
        b, v, u = torch.nonzero((patch >= low) & (patch < high), as_tuple=True)
        if len(b):
            ray = torch.stack([x[b, u], y[b, v], torch.ones_like(x[b, u])], dim=-1)
            depth = depth.index_put((b, v, u), intersect(spheres, radii, found, b, patch[b, v, u] - low, ray))
    return depth.to(centers_mm.dtype)


def _cast(
    centers: Float[Tensor, "B S 3"],
    radii: Float[Tensor, "B S"],
    topology: Topology,
    x: Float[Tensor, "B W"],
    y: Float[Tensor, "B H"],
) -> Cast:
    """Hits of the compiled caster."""
    mesh = SphereMesh(centers.detach().cpu().numpy(), radii.detach().cpu().numpy(), topology)
    return cast(mesh, x.detach().cpu().numpy(), y.detach().cpu().numpy())


def _dot(a: Float[Tensor, "N 3"], b: Float[Tensor, "N 3"]) -> Float[Tensor, "N"]:
    return (a * b).sum(-1)


def _root(h: Float[Tensor, "N"], largest: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
    """Square root of a discriminant, with a gradient that stays finite."""
    return torch.maximum(h, _GRAZING * largest.detach()).sqrt()


def _sphere(
    centers: Float[Tensor, "B S 3"],
    radii: Float[Tensor, "B S"],
    found: Patches,
    b: Int64[Tensor, "N"],
    index: Int64[Tensor, "N"],
    ray: Float[Tensor, "N 3"],
) -> Float[Tensor, "N"]:
    """As `patches.draw_sphere`."""
    del found
    c, r = centers[b, index], radii[b, index]
    m, q = _dot(c, ray), _dot(c, c) - r**2
    return q / (m + _root(m**2 - _dot(ray, ray) * q, m**2))


def _cone(
    centers: Float[Tensor, "B S 3"],
    radii: Float[Tensor, "B S"],
    found: Patches,
    b: Int64[Tensor, "N"],
    index: Int64[Tensor, "N"],
    ray: Float[Tensor, "N 3"],
) -> Float[Tensor, "N"]:
    """As `patches.draw_cone`."""
    ends = torch.from_numpy(found.pairs.astype(np.int64)).to(b.device)[index]
    ca, ra = centers[b, ends[:, 0]], radii[b, ends[:, 0]]
    axis, rr = centers[b, ends[:, 1]] - ca, ra - radii[b, ends[:, 1]]
    m0, m1, m2, m5 = _dot(axis, axis), -_dot(axis, ca), _dot(axis, ray), _dot(ca, ca)
    d2, e = m0 - rr**2, rr * ra - m1
    k0 = d2 * m5 - m1**2 + 2 * m1 * rr * ra - m0 * ra**2
    k1 = e * m2 - d2 * _dot(ca, ray)
    k2 = d2 * _dot(ray, ray) - m2**2
    root = _root(k1**2 - k0 * k2, k1**2)
    approaches = k1 < 0
    return torch.where(approaches, k0, -k1 - root) / torch.where(approaches, root - k1, k2)


def _triangle(
    centers: Float[Tensor, "B S 3"],
    radii: Float[Tensor, "B S"],
    found: Patches,
    b: Int64[Tensor, "N"],
    index: Int64[Tensor, "N"],
    ray: Float[Tensor, "N 3"],
) -> Float[Tensor, "N"]:
    """As `patches.tangent_planes` and `patches.draw_triangle`."""
    corners = torch.from_numpy(found.wedges.astype(np.int64)).to(b.device)[index // 2]
    c0, r0 = centers[b, corners[:, 0]], radii[b, corners[:, 0]]
    a, c = centers[b, corners[:, 1]] - c0, centers[b, corners[:, 2]] - c0
    da, dc = r0 - radii[b, corners[:, 1]], r0 - radii[b, corners[:, 2]]
    aa, ac, cc = _dot(a, a), _dot(a, c), _dot(c, c)
    determinant = aa * cc - ac**2
    s, t = (da * cc - dc * ac) / determinant, (dc * aa - da * ac) / determinant
    within = s[:, None] * a + t[:, None] * c
    rise = ((1 - _dot(within, within)) / determinant).sqrt() * (1 - 2 * (index % 2))
    normal = within + rise[:, None] * torch.linalg.cross(a, c)
    return (_dot(normal, c0) + r0) / _dot(normal, ray)
