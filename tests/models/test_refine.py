import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from crossnets.models.depth_gan import MetricKind
from crossnets.models.networks import build
from crossnets.models.paper import CrossingNets
from crossnets.models.refine import Refinement, energy, learned_update, minimise_energy, refine
from crossnets.training import presets

METRICS: list[MetricKind] = ["separate", "combined"]


def make(metric: MetricKind) -> tuple[CrossingNets, Tensor, Tensor]:
    """Networks, images that they rendered, and latents that are wrong."""
    generator = torch.Generator().manual_seed(0)
    nets = build(presets.paper_networks(16, metric), generator)
    assert isinstance(nets, CrossingNets)
    with torch.no_grad():
        nets.disc.metric(nets.render(torch.randn(16, 23, generator=generator)))  # averages that fit the images
        image = nets.eval().render(torch.randn(3, 23, generator=generator))
    return nets, image, torch.randn(3, 23, generator=generator)


def met(nets: CrossingNets, image: Tensor) -> Tensor:
    return nets.disc.met(nets.disc.trunk(image))


@torch.no_grad()
def difference(nets: CrossingNets, image: Tensor, z: Tensor) -> Tensor:
    """Met(x) - Met(Gen(Ali(z))), or the difference of the variant."""
    a, b = met(nets, image), met(nets, nets.gen(nets.ali(z)))
    if nets.disc.metric_kind == "separate":
        return a - b
    return torch.cat([a, b], 1) @ nets.disc.met_pair.weight.T + nets.disc.met_pair.bias


@pytest.mark.parametrize("metric", METRICS)
def test_one_learned_update_follows_the_formula(metric: MetricKind) -> None:
    nets, image, z = make(metric)
    expected = z + 0.1 * difference(nets, image, z)
    assert (expected - z).abs().max() > 1e-3
    assert_close(learned_update(nets, image, z, steps=1), expected)


def test_learned_updates_repeat() -> None:
    nets, image, z = make("separate")
    once_more = learned_update(nets, image, learned_update(nets, image, z, steps=1), steps=1)
    assert_close(learned_update(nets, image, z, steps=2), once_more)
    assert torch.equal(learned_update(nets, image, z, steps=0), z)


@pytest.mark.parametrize("metric", METRICS)
def test_the_energy_is_the_mismatch_and_a_little_of_the_latent(metric: MetricKind) -> None:
    nets, image, z = make(metric)
    expected = (difference(nets, image, z) ** 2).mean(1) + 0.001 * (z**2).mean(1)
    assert_close(energy(nets, met(nets, image), z).detach(), expected)


@pytest.mark.parametrize("metric", METRICS)
def test_minimising_lowers_the_energy_of_every_image(metric: MetricKind) -> None:
    nets, image, z = make(metric)
    found = minimise_energy(nets, image, z, most_steps=5)
    assert found.shape == z.shape
    assert found.dtype == z.dtype
    with torch.no_grad():
        before, after = (energy(nets, met(nets, image), latent) for latent in (z, found))
    assert (after < before).all()
    assert (found != z).any(1).all()


def test_each_image_is_minimised_by_itself() -> None:
    nets, image, z = make("separate")
    together = minimise_energy(nets, image[:2], z[:2], most_steps=2)
    assert_close(minimise_energy(nets, image[1:2], z[1:2], most_steps=2), together[1:])


def test_minimising_leaves_the_networks_alone() -> None:
    nets, image, z = make("separate")
    before = {name: value.clone() for name, value in nets.state_dict().items()}
    minimise_energy(nets, image[:1], z[:1], most_steps=1)
    assert all(torch.equal(value, before[name]) for name, value in nets.state_dict().items())
    assert all(p.grad is None for p in nets.parameters())


def test_refinements_go_by_name() -> None:
    nets, image, z = (part if isinstance(part, CrossingNets) else part[:1] for part in make("separate"))
    names: tuple[Refinement, ...] = ("none", "update", "energy")
    none, update, minimised = (refine(nets, image, z, name) for name in names)
    assert torch.equal(none, z)
    assert_close(update, learned_update(nets, image, z, steps=10))
    assert_close(minimised, minimise_energy(nets, image, z, most_steps=20))
