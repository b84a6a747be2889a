import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from crossnets.models.blocks import BN_EPS, BatchNorm1d, BatchNorm2d
from crossnets.models.depth_gan import Discriminator, MetricKind
from crossnets.models.networks import build
from crossnets.models.paper import CrossingNets, CrossingNetsConfig, Regressor
from crossnets.models.pose_vae import PoseVAEConfig
from tests.models.nets import JOINTS, images, linears, make_nets, rng


def sides(network: nn.Module, kind: type[nn.Module], call: Callable[[], object]) -> list[tuple[int, int]]:
    """Side of the maps into and out of each layer of a kind, in order."""
    found: list[tuple[int, int]] = []
    layers = [layer for layer in network.modules() if isinstance(layer, kind)]
    handles = [
        layer.register_forward_hook(lambda _, given, out: found.append((given[0].shape[-1], out.shape[-1])))
        for layer in layers
    ]
    call()
    for handle in handles:
        handle.remove()
    return found


def test_the_generator_doubles_the_side_at_every_level() -> None:
    gen = make_nets().gen
    z = torch.zeros(2, 23)
    assert sides(gen, nn.ConvTranspose2d, lambda: gen(z)) == [(4, 8), (8, 16), (16, 32), (32, 64), (64, 128)]
    assert gen(z).shape == (2, 1, 128, 128)


def test_the_discriminator_halves_the_side_at_every_level() -> None:
    disc, x = make_nets().disc, images(2)
    assert sides(disc.trunk, nn.Conv2d, lambda: disc.trunk(x)) == [(128, 64), (64, 32)]
    maps = disc.trunk(x)
    for head, size in ((disc.dis, 1), (disc.met, 23), (disc.pos, 23)):
        assert sides(head, nn.Conv2d, lambda head=head: head(maps)) == [(32, 16), (16, 8), (8, 4)]
        assert head.features(maps).shape == (2, 32 * 4 * 4)
        assert head(maps).shape == (2, size)


def test_only_the_trunk_is_shared() -> None:
    disc = make_nets().disc
    parts = [disc.trunk, disc.dis, disc.met, disc.pos]
    owned = [{id(p) for p in part.parameters()} for part in parts]
    assert sum(map(len, owned)) == len(set().union(*owned)) == len(list(disc.parameters()))


def _normalised(x: Tensor, layer: nn.Module) -> Tensor:
    assert isinstance(layer, BatchNorm1d | BatchNorm2d)
    return F.batch_norm(x, layer.running_mean, layer.running_var, layer.weight, layer.bias, False, 0.0, 1e-4)


def _convolved(x: Tensor, layers: nn.Sequential) -> Tensor:
    """Spec 2.4, written with functions: 6x6, stride 2, pad 2, no bias, BN, leaky ReLU of slope 0.2."""
    weights = [layer.weight for layer in layers.modules() if isinstance(layer, nn.Conv2d)]
    norms = [layer for layer in layers.modules() if isinstance(layer, BatchNorm2d)]
    for weight, norm in zip(weights, norms, strict=True):
        assert weight.shape[2:] == (6, 6)
        x = F.leaky_relu(_normalised(F.conv2d(x, weight, None, 2, 2), norm), 0.2)
    return x


def with_averages(nets: CrossingNets) -> CrossingNets:
    """Move running averages far from their start, so that a missing normalisation shows, and set evaluation mode."""
    generator = rng(5)
    for layer in nets.modules():
        if isinstance(layer, BatchNorm1d | BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.5, generator=generator)
            layer.running_var.uniform_(0.5, 2, generator=generator)
            nn.init.normal_(layer.bias, 0, 0.3, generator)
    return nets.eval()


@torch.no_grad()
def test_discriminator_agrees_with_the_layers_of_the_paper() -> None:
    disc, x = with_averages(make_nets()).disc, images(2)
    maps = _convolved(x, disc.trunk)
    assert_close(disc.trunk(x), maps)
    features = _convolved(maps, disc.dis.convs).flatten(1)
    assert_close(disc.dis.features(maps), features)
    (judge,) = linears(disc.dis)
    assert_close(disc.dis(maps), features @ judge.weight.T + judge.bias)
    for head in (disc.met, disc.pos):
        hidden, last = linears(head)
        assert hidden.bias is None
        (norm,) = [layer for layer in head.modules() if isinstance(layer, BatchNorm1d)]
        features = _convolved(maps, head.convs).flatten(1)
        activated = F.leaky_relu(_normalised(features @ hidden.weight.T, norm), 0.2)
        assert_close(head(maps), activated @ last.weight.T + last.bias)


@torch.no_grad()
def test_generator_agrees_with_the_layers_of_the_paper() -> None:
    nets = with_averages(make_nets())
    z = torch.randn(3, 23, generator=rng(2))
    (linear,) = linears(nets.ali)
    assert linear.bias is None
    (norm,) = [layer for layer in nets.ali.modules() if isinstance(layer, BatchNorm1d)]
    aligned = _normalised(z @ linear.weight.T, norm)
    assert_close(nets.ali(z), aligned)
    (first,) = linears(nets.gen)
    assert first.bias is None
    norms = [layer for layer in nets.gen.modules() if isinstance(layer, BatchNorm1d | BatchNorm2d)]
    x = F.relu(_normalised(aligned.tanh() @ first.weight.T, norms[0])).unflatten(1, (32, 4, 4))
    layers = [layer for layer in nets.gen.modules() if isinstance(layer, nn.ConvTranspose2d)]
    for layer, batch_norm in zip([t for t in layers if t is not nets.gen.last], norms[1:], strict=True):
        assert layer.bias is None
        x = F.relu(_normalised(F.conv_transpose2d(x, layer.weight, None, 2, 2), batch_norm))
    x = F.conv_transpose2d(x, nets.gen.last.weight, nets.gen.last.bias, 2, 2).tanh()
    assert_close(nets.render(z), x, rtol=1e-4, atol=1e-5)


def test_generated_depth_stays_within_its_range() -> None:
    gen = make_nets().gen
    before: list[Tensor] = []
    gen.last.register_forward_hook(lambda _, given, out: before.append(out))
    x = gen(100 * torch.randn(4, 23, generator=rng()))
    assert before[0].max() > 1.5  # it would not stay there by itself
    assert -1 <= x.min() < x.max() <= 1


def _std(values: Tensor) -> float:
    return float(values.detach().std())


def test_initial_weights_agree_with_the_paper() -> None:
    nets = make_nets()
    for part, std in ((nets.vae, 0.01), (nets.ali, 0.02), (nets.gen, 0.05), (nets.disc, 0.05)):
        for name, p in part.named_parameters():
            if p.ndim > 1 and p.numel() > 500:
                assert _std(p) == pytest.approx(std, rel=4 / math.sqrt(2 * p.numel())), name
                assert abs(float(p.detach().mean())) < 4 * std / math.sqrt(p.numel()), name
    norms = [layer for layer in nets.modules() if isinstance(layer, BatchNorm1d | BatchNorm2d)]
    gains = torch.cat([layer.weight for layer in norms])
    assert float(gains.detach().mean()) == pytest.approx(1, abs=0.004)
    assert _std(gains) == pytest.approx(0.02, rel=0.1)
    assert {layer.eps for layer in norms} == {1e-4} == {BN_EPS}


def test_biases_start_at_zero_but_for_the_background() -> None:
    nets = make_nets()
    biases = {name: p for name, p in nets.named_parameters() if name.endswith("bias")}
    assert torch.equal(biases.pop("gen.last.bias").detach(), torch.tensor([0.8]))
    assert len(biases) > 20
    assert all(not p.any() for p in biases.values())


def test_the_start_depends_on_the_generator_alone() -> None:
    first, again, other = (make_nets(seed=seed).state_dict() for seed in (7, 7, 8))
    assert all(torch.equal(first[name], again[name]) for name in first)
    drawn = [name for name in first if name.endswith("weight")]
    assert not any(torch.equal(first[name], other[name]) for name in drawn)


@torch.no_grad()
def test_an_image_goes_through_trunk_posterior_and_decoder() -> None:
    nets, x = with_averages(make_nets()), images(2)
    z = nets.disc.pos(nets.disc.trunk(x))
    found = nets(x)
    assert torch.equal(found.t, z[:, 20:])
    assert torch.equal(found.y, nets.vae.decode(z[:, :20]))
    alone = nets(x[:1])  # running averages: no frame depends on its neighbours
    assert_close(alone.y, found.y[:1])


def test_autocast_leaves_the_pose_vae_in_float32() -> None:
    nets = make_nets()
    y, z = torch.randn(4, JOINTS, 3, generator=rng()), torch.randn(4, 23, generator=rng(1))
    q, decoded = nets.vae.encode(y), nets.vae.decode(z[:, :20])
    with torch.autocast("cpu", torch.bfloat16):
        assert nets.ali.layers[0](z).dtype == torch.bfloat16  # autocast is on
        again, again_decoded = nets.vae.encode(y), nets.vae.decode(z[:, :20])
        from_bfloat16 = nets.vae.decode(z[:, :20].bfloat16())
    assert torch.equal(again.mean, q.mean)
    assert torch.equal(again.logvar, q.logvar)
    assert torch.equal(again_decoded, decoded)
    assert from_bfloat16.dtype == torch.float32


def test_the_separate_metric_subtracts_places() -> None:
    disc, x = make_nets().disc, images(3)
    a, b = disc.metric(x), disc.metric(x.flip(0))
    assert a.shape == (3, 23)
    assert torch.equal(disc.difference(a, b), a - b)


def test_the_combined_metric_judges_two_images_at_once() -> None:
    disc, x = make_nets("combined").disc.eval(), images(3)
    a, b = disc.metric(x), disc.metric(x.flip(0))
    assert a.shape == (3, 512)
    assert_close(a, F.leaky_relu(disc.met.top[0](disc.met.features(disc.trunk(x))), 0.2))
    assert not any(isinstance(layer, BatchNorm1d) for layer in disc.met.modules())
    found = disc.difference(a, b)
    assert found.shape == (3, 23)
    assert_close(found, torch.cat([a, b], 1) @ disc.met_pair.weight.T + disc.met_pair.bias)


@pytest.mark.parametrize(("metric", "modules"), [("separate", ["met"]), ("combined", ["met", "met_pair"])])
def test_the_metric_owns_its_parameters_and_not_the_trunk(metric: MetricKind, modules: list[str]) -> None:
    disc = Discriminator(23, metric, rng())
    expected = {name for name, _ in disc.named_parameters() if name.split(".")[0] in modules}
    owned = {id(p) for p in disc.metric_parameters()}
    assert {name for name, p in disc.named_parameters() if id(p) in owned} == expected


def test_the_baseline_has_the_same_trunk_and_convolutions() -> None:
    config = CrossingNetsConfig(pose_vae=PoseVAEConfig(num_joints=JOINTS), shared_latent=False)
    regressor, disc = build(config, rng()), make_nets().disc
    assert isinstance(regressor, Regressor)
    assert str(regressor.trunk) == str(disc.trunk)
    assert str(regressor.head.convs) == str(disc.pos.convs)
    found = regressor(images(2))
    assert found.y.shape == (2, JOINTS, 3)
    assert found.t.shape == (2, 3)
    assert all(p.grad is None for p in regressor.parameters())
    (found.y.sum() + found.t.sum()).backward()
    assert all(p.grad is not None for p in regressor.parameters())  # nothing of the discriminator is left over


@pytest.mark.parametrize(
    "settings", [{"num_joints": 1}, {"num_joints": 5, "latent_dim": 16}, {"num_joints": 5, "latent_dim": 0}]
)
def test_impossible_sizes_raise(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"num_joints=1, but a pose needs|latent_dim=\d+, but 5 joints allow 1 to 15"):
        PoseVAEConfig(**settings)
