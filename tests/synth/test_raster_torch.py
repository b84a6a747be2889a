import numpy as np
import torch

from crossnets.synth.casting.raster import render
from crossnets.synth.casting.raster_torch import render_depth
from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.types import Pinhole

from .test_raster import CAMERA, HEIGHT, WIDTH, some_mesh


def state(count: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    meshes = [some_mesh(seed) for seed in range(count)]
    centers = torch.from_numpy(np.stack([m.centers_mm for m in meshes]))
    radii = torch.from_numpy(np.stack([m.radii_mm for m in meshes]))
    return centers, radii, torch.tensor([CAMERA, CAMERA._replace(fx_px=70.0)][:count], dtype=torch.float64)


def test_depth_equals_the_compiled_caster() -> None:
    centers, radii, cameras = state()
    topology = some_mesh(0).topology
    depth = render_depth(centers, radii, topology, cameras, WIDTH, HEIGHT)
    for b in range(2):
        one = SphereMesh(centers[b].numpy(), radii[b].numpy(), topology)
        expected = render(one, Pinhole(*cameras[b].tolist()), WIDTH, HEIGHT)
        np.testing.assert_array_equal(depth[b].numpy() > 0, expected > 0)
        np.testing.assert_allclose(depth[b].numpy(), expected, atol=1e-3)


def test_gradient_equals_finite_differences() -> None:
    leaves = [t.requires_grad_() for t in state()]
    topology = some_mesh(0).topology
    generator = torch.Generator().manual_seed(0)
    towards = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in leaves]
    step = 1e-5

    def depth(amount: float) -> torch.Tensor:
        moved = [leaf + amount * way for leaf, way in zip(leaves, towards, strict=True)]
        return render_depth(*moved[:2], topology, moved[2], WIDTH, HEIGHT)

    with torch.no_grad():
        before, here, after = depth(-step), depth(0.0), depth(step)
        slope = (after - before) / (2 * step)
        # A pixel that changes its patch, or grazes, has no derivative to compare with.
        smooth = (before > 0) & (after > 0) & ((after - 2 * here + before).abs() < 1e-5)
    assert smooth.sum() > 0.95 * (here > 0).sum() > 200
    weights = torch.rand(here.shape, generator=generator, dtype=here.dtype) * smooth
    gradients = torch.autograd.grad((weights * depth(0.0)).sum(), leaves)
    analytic = sum((g * way).sum() for g, way in zip(gradients, towards, strict=True))
    torch.testing.assert_close(analytic, (weights * slope).sum(), rtol=1e-4, atol=1e-3)
    for gradient in gradients:
        assert gradient.isfinite().all()
        assert (gradient != 0).any()


def test_an_empty_image_has_a_gradient_of_zero() -> None:
    centers, radii, cameras = state(1)
    behind = (-centers).requires_grad_()
    depth = render_depth(behind, radii, some_mesh(0).topology, cameras, WIDTH, HEIGHT)
    assert not depth.any()
    assert depth.dtype == centers.dtype


def test_descent_finds_a_sphere_again() -> None:
    centers, radii, cameras = state(1)
    topology = some_mesh(0).topology
    wanted = render_depth(centers, radii, topology, cameras, WIDTH, HEIGHT)
    shift = torch.tensor([3.0, -2.0, 6.0], dtype=torch.float64).requires_grad_()
    optimiser = torch.optim.Adam([shift], lr=0.5)
    for _ in range(60):
        depth = render_depth(centers + shift, radii, topology, cameras, WIDTH, HEIGHT)
        both = (depth > 0) & (wanted > 0)
        loss = (depth - wanted)[both].abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert shift.detach().norm() < 1.0
