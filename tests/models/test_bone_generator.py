"""The generator and the discriminator of the preset `crossing`."""

import copy

import pytest
import torch

from crossnets.geometry.skeleton import CVAR21
from crossnets.models.bone_generator import MAP, BoneGenerator, PatchDiscriminator

BONES = ((0, 1), (1, 2))


def generator_of(bones: tuple[tuple[int, int], ...] = BONES) -> BoneGenerator:
    return BoneGenerator(bones, torch.Generator().manual_seed(0)).eval()


def test_a_bone_is_near_where_it_is_and_has_its_depth_there() -> None:
    joints = torch.tensor([[[-0.5, 0.0, -0.4], [0.5, 0.0, 0.4], [0.5, 0.8, 0.4]]])
    near, depth = generator_of(((0, 1),)).maps(joints)[0]
    row = MAP // 2
    left, middle, right = 8, 16, 24  # columns at -0.5, 0 and 0.5
    assert near[row, left:right].min() > 0.9
    assert near[row, 0] < 1e-3
    assert near[0].max() < 1e-3
    # Depth rises along the bone from -0.4 to 0.4.
    assert (depth / near)[row, [left, middle, right]].tolist() == pytest.approx([-0.375, 0.025, 0.4], abs=0.03)


def test_a_bone_towards_the_camera_is_a_point() -> None:
    joints = torch.tensor([[[0.0, 0.0, 0.5], [0.0, 0.0, -0.5], [0.3, 0.3, 0.0]]])
    maps = generator_of(((0, 1),)).maps(joints)
    assert maps.isfinite().all()
    assert maps[0, 0, MAP // 2, MAP // 2] > 0.8


def test_a_hand_that_moves_by_a_place_of_the_maps_moves_the_drawing() -> None:
    network = generator_of()
    joints = torch.tensor([[[-0.2, -0.1, 0.0], [0.1, 0.0, 0.1], [0.2, 0.2, -0.1]]])
    moved = joints + torch.tensor([2 * 2 / MAP, 0.0, 0.0])
    with torch.no_grad():
        one, other = network(joints), network(moved)
    assert one.shape == (1, 1, 128, 128)
    # The border differs by the padding of the convolutions.
    torch.testing.assert_close(other[..., 40:-40, 48:-32], one[..., 40:-40, 40:-40], atol=1e-4, rtol=0)


def test_every_parameter_learns() -> None:
    network = BoneGenerator(CVAR21.bones, torch.Generator().manual_seed(1))
    optimiser = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(2):  # residual blocks begin as the identity, so that their insides learn from the second step on
        optimiser.zero_grad()
        network(torch.rand(2, 21, 3) - 0.5).square().mean().backward()
        optimiser.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_the_discriminator_is_the_same_for_the_same_seed_and_can_be_copied() -> None:
    image = torch.rand(2, 1, 128, 128)
    one, other = (PatchDiscriminator(torch.Generator().manual_seed(3)).eval() for _ in range(2))
    torch.rand(7)  # torch's own state does not matter
    with torch.no_grad():
        assert torch.equal(one(image), other(image))
        assert torch.equal(copy.deepcopy(one)(image), one(image))
    assert one(image).shape == (2, 1, 16, 16)


def test_the_discriminator_s_slope_is_bounded() -> None:
    """Each layer has a spectral norm of about 1, so the judgement changes little more than the image does."""
    network = PatchDiscriminator(torch.Generator().manual_seed(4)).train()
    image = torch.rand(2, 1, 128, 128)
    for _ in range(30):  # the power iteration of the spectral norm
        network(image)
    network.eval()
    norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in (*network.layers, network.last)]
    assert norms == pytest.approx([1.0] * 4, abs=0.05)
