import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from crossnets.models.blocks import BN_EPS, BatchNorm1d, BatchNorm2d, frozen_averages
from crossnets.models.crossing import CrossingNets, CrossingNetsConfig, Regressor, build
from crossnets.models.depth_gan import Discriminator, MetricKind
from crossnets.models.pose_vae import PoseVAE, PoseVAEConfig
from crossnets.tensors import Gaussian, PoseBatch

JOINTS = 16


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_nets(metric: MetricKind = "separate", seed: int = 0) -> CrossingNets:
    networks = build(CrossingNetsConfig(pose_vae=PoseVAEConfig(num_joints=JOINTS), metric=metric), rng(seed))
    assert isinstance(networks, CrossingNets)
    return networks


def images(count: int, seed: int = 1) -> Tensor:
    return torch.rand(count, 1, 128, 128, generator=rng(seed)) * 2 - 1


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


def _linears(module: nn.Module) -> list[nn.Linear]:
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)]


def with_averages(nets: CrossingNets) -> CrossingNets:
    """Running averages far from their start, so that a missing normalisation shows; in evaluation mode."""
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
def test_the_discriminator_computes_what_the_layers_of_the_paper_do() -> None:
    disc, x = with_averages(make_nets()).disc, images(2)
    maps = _convolved(x, disc.trunk)
    assert_close(disc.trunk(x), maps)
    features = _convolved(maps, disc.dis.convs).flatten(1)
    assert_close(disc.dis.features(maps), features)
    (judge,) = _linears(disc.dis)
    assert_close(disc.dis(maps), features @ judge.weight.T + judge.bias)
    for head in (disc.met, disc.pos):
        hidden, last = _linears(head)
        assert hidden.bias is None
        (norm,) = [layer for layer in head.modules() if isinstance(layer, BatchNorm1d)]
        features = _convolved(maps, head.convs).flatten(1)
        activated = F.leaky_relu(_normalised(features @ hidden.weight.T, norm), 0.2)
        assert_close(head(maps), activated @ last.weight.T + last.bias)


@torch.no_grad()
def test_the_generator_computes_what_the_layers_of_the_paper_do() -> None:
    nets = with_averages(make_nets())
    z = torch.randn(3, 23, generator=rng(2))
    (linear,) = _linears(nets.ali)
    assert linear.bias is None
    (norm,) = [layer for layer in nets.ali.modules() if isinstance(layer, BatchNorm1d)]
    aligned = _normalised(z @ linear.weight.T, norm)
    assert_close(nets.ali(z), aligned)
    (first,) = _linears(nets.gen)
    assert first.bias is None
    norms = [layer for layer in nets.gen.modules() if isinstance(layer, BatchNorm1d | BatchNorm2d)]
    x = F.relu(_normalised(aligned.tanh() @ first.weight.T, norms[0])).unflatten(1, (32, 4, 4))
    layers = [layer for layer in nets.gen.modules() if isinstance(layer, nn.ConvTranspose2d)]
    for layer, batch_norm in zip([t for t in layers if t is not nets.gen.last], norms[1:], strict=True):
        assert layer.bias is None
        x = F.relu(_normalised(F.conv_transpose2d(x, layer.weight, None, 2, 2), batch_norm))
    x = F.conv_transpose2d(x, nets.gen.last.weight, nets.gen.last.bias, 2, 2).tanh()
    assert_close(nets.render(z), x, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_pose_vae_computes_what_the_layers_of_the_paper_do() -> None:
    vae = make_nets().vae
    for p in vae.parameters():
        nn.init.normal_(p, 0, 0.3, rng(p.numel()))
    y, z = torch.randn(5, JOINTS, 3, generator=rng(3)), torch.randn(5, 20, generator=rng(4))
    first, mean, logvar, up, last = _linears(vae)
    hidden = F.relu(y.flatten(1) @ first.weight.T + first.bias)
    q = vae.encode(y)
    assert_close(q.mean, hidden @ mean.weight.T + mean.bias)
    assert_close(q.logvar, hidden @ logvar.weight.T + logvar.bias)
    assert vae.mean is mean
    flat = F.leaky_relu(z @ up.weight.T + up.bias, 0.01) @ last.weight.T + last.bias
    assert_close(vae.decode(z), flat.reshape(5, JOINTS, 3))


def test_generated_depth_stays_within_its_range() -> None:
    gen = make_nets().gen
    before: list[Tensor] = []
    gen.last.register_forward_hook(lambda _, given, out: before.append(out))
    x = gen(100 * torch.randn(4, 23, generator=rng()))
    assert before[0].max() > 1.5  # it would not stay there by itself
    assert -1 <= x.min() < x.max() <= 1


def _std(values: Tensor) -> float:
    return float(values.detach().std())


def test_weights_start_as_the_paper_says() -> None:
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


def _poses(count: int) -> Tensor:
    """Poses whose principal directions differ in length, far from zero on the mean."""
    generator = rng(9)
    lengths = torch.linspace(2, 0.05, 3 * JOINTS)
    turned, _ = torch.linalg.qr(torch.randn(3 * JOINTS, 3 * JOINTS, generator=generator))
    flat = (torch.randn(count, 3 * JOINTS, generator=generator) * lengths) @ turned.T
    return (flat + 5 * torch.randn(3 * JOINTS, generator=generator)).reshape(count, JOINTS, 3)


def _leading_directions(y: Tensor, count: int) -> np.ndarray:
    _, vectors = np.linalg.eigh(np.cov(y.flatten(1).double().numpy().T))
    return vectors.T[::-1][:count]


@pytest.mark.parametrize(("poses", "expected"), [(400, 40), (41, 40), (40, 39), (5, 4), (1, 0)])
def test_outer_matrices_begin_as_principal_directions(poses: int, expected: int) -> None:
    config = PoseVAEConfig(num_joints=JOINTS)
    drawn, vae = PoseVAE(config, rng()), PoseVAE(config, rng())
    y = _poses(poses)
    vae.init_from_pca(y)
    before, after = drawn.state_dict(), vae.state_dict()
    first, last = after["encoder.0.weight"], after["decoder.2.weight"]
    assert torch.equal(first[:expected], last[:, :expected].T)
    if expected:
        along = (first[:expected].double().numpy() * _leading_directions(y, expected)).sum(1)
        np.testing.assert_allclose(np.abs(along), 1, atol=1e-3)
    assert torch.equal(first[expected:], before["encoder.0.weight"][expected:])
    assert torch.equal(last[:, expected:], before["decoder.2.weight"][:, expected:])
    others = before.keys() - {"encoder.0.weight", "decoder.2.weight"}
    assert all(torch.equal(before[name], after[name]) for name in others)


def test_the_noise_of_the_pose_vae_is_a_twentieth_of_its_deviation() -> None:
    vae = make_nets().vae
    logvar = torch.tensor([0.0, math.log(4.0), -2.0]).repeat(20_000, 1)
    mean = torch.tensor([1.0, -2.0, 0.0]).expand_as(logvar)
    noise = vae.sample(Gaussian(mean, logvar), rng()) - mean
    assert_close(noise.std(0), torch.tensor([0.05, 0.1, 0.05 * math.exp(-1)]), rtol=0.03, atol=0)
    assert_close(noise.mean(0), torch.zeros(3), rtol=0, atol=0.003)


def test_noise_depends_on_the_generator_alone() -> None:
    vae, q = make_nets().vae, Gaussian(torch.zeros(2, 20), torch.zeros(2, 20))
    assert torch.equal(vae.sample(q, rng(1)), vae.sample(q, rng(1)))
    assert not torch.equal(vae.sample(q, rng(1)), vae.sample(q, rng(2)))


def test_there_is_no_noise_at_test() -> None:
    nets = make_nets()
    pose = PoseBatch(torch.randn(3, JOINTS, 3, generator=rng()), torch.randn(3, 3, generator=rng(1)))
    z = nets.encode_pose(pose)
    assert torch.equal(z[:, :20], nets.vae.encode(pose.y).mean)
    assert torch.equal(z[:, 20:], pose.t)
    back = nets.decode_pose(z)
    assert torch.equal(back.t, pose.t)
    assert torch.equal(back.y, nets.vae.decode(z[:, :20]))


@torch.no_grad()
def test_an_image_goes_through_trunk_posterior_and_decoder() -> None:
    nets, x = with_averages(make_nets()), images(2)
    z = nets.disc.pos(nets.disc.trunk(x))
    found = nets(x)
    assert torch.equal(found.t, z[:, 20:])
    assert torch.equal(found.y, nets.vae.decode(z[:, :20]))
    alone = nets(x[:1])  # running averages: no frame depends on its neighbours
    assert_close(alone.y, found.y[:1])


def _buffers(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.named_buffers()}


def test_frozen_averages_use_the_batch_and_leave_the_averages() -> None:
    disc, x = make_nets().disc, images(4)
    before = _buffers(disc)
    with frozen_averages(disc):
        frozen = disc.pos(disc.trunk(x))
    assert all(torch.equal(value, before[name]) for name, value in _buffers(disc).items())
    assert torch.equal(disc.pos(disc.trunk(x)), frozen)
    moved = {name for name, value in _buffers(disc).items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if name.startswith(("trunk.", "pos."))}


def test_frozen_averages_are_what_evaluation_uses() -> None:
    disc, x = make_nets().disc, images(4)
    disc.trunk(x)
    disc.eval()
    expected = disc.trunk(x)
    with frozen_averages(disc):
        assert torch.equal(disc.trunk(x), expected)


def test_frozen_averages_put_back_what_they_found() -> None:
    layers = [BatchNorm1d(2), BatchNorm1d(2)]
    layers[1].track_running_stats = False

    def fail() -> None:
        with frozen_averages(*layers):
            assert not any(layer.track_running_stats for layer in layers)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert [layer.track_running_stats for layer in layers] == [True, False]


def test_early_averages_are_plain_means_and_later_ones_forget() -> None:
    layer = BatchNorm1d(1, 1e-4, 0.1)
    batches = 3 + torch.randn(30, 8, 1, generator=rng()) * torch.arange(1, 31)[:, None, None]
    means, variances = batches.mean(1), batches.var(1)
    for count, batch in enumerate(batches[:10], 1):
        layer(batch)
        assert layer.running_mean is not None
        assert layer.running_var is not None
        assert_close(layer.running_mean, means[:count].mean(0))
        assert_close(layer.running_var, variances[:count].mean(0))
    mean, variance = means[:10].mean(0), variances[:10].mean(0)
    for k in range(10, 30):
        layer(batches[k])
        mean, variance = 0.9 * mean + 0.1 * means[k], 0.9 * variance + 0.1 * variances[k]
    assert_close(layer.running_mean, mean)
    assert_close(layer.running_var, variance)


def test_averages_stay_in_evaluation() -> None:
    layer = BatchNorm2d(1).eval()
    layer(images(2))
    assert layer.running_mean is not None
    assert not layer.running_mean.any()
    assert layer.num_batches_tracked == 0


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
def test_sizes_that_cannot_be_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"num_joints=1, but a pose needs|latent_dim=\d+, but 5 joints allow 1 to 15"):
        PoseVAEConfig(**settings)
