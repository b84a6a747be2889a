"""Which loss reaches whose parameters: the gradients of one step against those of the formulas of spec 3."""

import copy
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossnets.models.depth_gan import Discriminator
from crossnets.models.paper import CrossingNets
from tests.training.stepping import BATCH, make_draw, make_nets, step
from tests.training.test_paper_stages import record, spec_terms


def left_by_the_step(nets: CrossingNets) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in nets.named_parameters() if p.grad is not None}


def gradients(
    nets: CrossingNets, objective: Tensor, modules: Iterable[tuple[str, nn.Module]], parameters: Iterable[nn.Parameter]
) -> dict[str, Tensor]:
    names = {id(p): f"{prefix}.{name}" for prefix, module in modules for name, p in module.named_parameters()}
    chosen = list(parameters)
    found = torch.autograd.grad(objective, chosen, retain_graph=True)
    return {names[id(p)]: gradient for p, gradient in zip(chosen, found, strict=True)}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        largest = float(gradient.abs().max())
        assert largest > 0, name
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-3 * largest, msg=name)


def total(terms: dict[str, Tensor], *names: str) -> Tensor:
    return torch.stack([terms[name] for name in names]).sum()


def test_the_joint_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, draw = make_nets(), make_draw("joint", use_unlabelled=False, lr=0.0)
    seen = record(nets, "render", monkeypatch)
    step(nets, draw)
    found = left_by_the_step(nets)
    z_hat, z = seen[0].split(BATCH)
    terms = spec_terms(nets, draw.paired().image, z_hat, z)
    judges = total(terms, "posterior", "d_real", "d_generated", "smoothness")
    makes = total(terms, "g_reconstruction", "g_features", "g_smoothness")
    generating = [*nets.ali.parameters(), *nets.gen.parameters()]
    expected = gradients(nets, judges, [("disc", nets.disc)], nets.disc.parameters())
    expected |= gradients(nets, makes, [("ali", nets.ali), ("gen", nets.gen)], generating)
    assert_same(found, expected)


def test_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, draw = make_nets(), make_draw("warm_up", lr=0.0)
    seen = record(nets, "render", monkeypatch)
    step(nets, draw)
    found = left_by_the_step(nets)
    z_hat, z = seen[1].split(BATCH)
    terms = spec_terms(nets, draw.paired().image, z_hat, z)
    heads = [*nets.disc.metric_parameters(), *nets.disc.pos.parameters()]
    expected = gradients(nets, terms["g_reconstruction"], [("ali", nets.ali)], nets.ali.parameters())
    expected |= gradients(nets, total(terms, "posterior", "smoothness"), [("disc", nets.disc)], heads)
    assert_same(found, expected)


def test_the_pre_training_of_the_gan(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, draw = make_nets(), make_draw("depth_gan", lr=0.0)
    seen = record(nets, "gen", monkeypatch)
    step(nets, draw)
    found, disc = left_by_the_step(nets), nets.disc
    real, fake = disc.trunk(draw.images()), disc.trunk(nets.gen(seen[0]))
    judged, invented = disc.dis(real), disc.dis(fake)
    judges = F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged))
    judges = judges + F.binary_cross_entropy_with_logits(invented, torch.zeros_like(invented))
    matched = disc.dis.features(real).detach().mean(0) - disc.dis.features(fake).mean(0)
    judging = [*disc.trunk.parameters(), *disc.dis.parameters()]
    expected = gradients(nets, judges, [("disc", disc)], judging)
    expected |= gradients(nets, matched.abs().mean(), [("gen", nets.gen)], nets.gen.parameters())
    assert_same(found, expected)


@pytest.mark.parametrize(("stage", "method"), [("depth_gan", "gen"), ("joint", "render")])
def test_the_generator_learns_from_the_discriminator_as_it_is_after_its_own_step(
    stage: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets, draw = make_nets(), make_draw(stage, use_unlabelled=False, lr=0.01)
    before = copy.deepcopy(nets)
    seen = record(nets, method, monkeypatch)
    found = step(nets, draw)["g_features"]
    images = draw.images() if stage == "depth_gan" else draw.paired().image
    made = before.gen(seen[0]) if stage == "depth_gan" else before.render(seen[0])

    @torch.no_grad()
    def distance(disc: Discriminator) -> float:
        real, fake = (disc.dis.features(disc.trunk(x)).mean(0) for x in (images, made.detach()))
        return float((real - fake).abs().mean())

    assert found == pytest.approx(distance(nets.disc), rel=1e-4)
    assert found != pytest.approx(distance(before.disc), rel=1e-2)
