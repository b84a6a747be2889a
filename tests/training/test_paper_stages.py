"""One step of each stage: whose parameters it changes, and its losses against the formulas of spec 3."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from crossnets.models.blocks import BatchNorm1d, BatchNorm2d
from crossnets.models.depth_gan import MetricKind
from crossnets.models.networks import build
from crossnets.models.paper import CrossingNets
from crossnets.training import paper_stages, presets
from crossnets.training.config import Terms
from crossnets.training.loop import mixed_precision
from crossnets.training.make_stage import make_stage
from crossnets.training.paper_stages import JointStage, noisy_latent
from crossnets.training.stage import Losses, only_trains
from tests.training.stepping import BATCH, JOINTS, PARTS, STAGES, make_draw, make_nets, part_of, rng, step, values


@pytest.mark.parametrize(
    ("stage", "terms", "expected"),
    [
        ("pose_vae", Terms(), {"vae"}),
        ("depth_gan", Terms(), {"gen", "disc.trunk", "disc.dis"}),
        ("warm_up", Terms(), {"ali", "disc.met", "disc.pos"}),
        ("warm_up", Terms(smoothness=False), {"ali", "disc.pos"}),
        ("joint", Terms(), set(PARTS) - {"vae"}),
        ("joint", Terms(smoothness=False), set(PARTS) - {"vae", "disc.met"}),
        ("joint", Terms(adversarial=False), set(PARTS) - {"vae", "disc.dis"}),
    ],
)
@pytest.mark.parametrize("metric", ["separate", "combined"])
def test_a_stage_changes_its_own_parameters_and_no_others(
    stage: str, terms: Terms, expected: set[str], metric: MetricKind
) -> None:
    nets = make_nets(metric)
    before = values(nets)
    step(nets, make_draw(stage), terms)
    changed = {name for name, p in values(nets).items() if not torch.equal(p, before[name])}
    assert changed == {name for name in before if part_of(name) in expected}


def test_the_baseline_changes_all_of_it() -> None:
    nets = build(presets.paper_networks(JOINTS, shared_latent=False), rng())
    before = values(nets)
    draw = make_draw("regression")
    make_stage(nets, draw.stage, Terms()).step(draw, rng())
    assert not any(torch.equal(p, before[name]) for name, p in values(nets).items())


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("pose_vae", set()),
        ("depth_gan", {"gen", "disc.trunk", "disc.dis"}),
        ("warm_up", {"ali", "gen", "disc.trunk", "disc.met", "disc.pos"}),
        ("joint", {"ali", "gen", "disc.trunk", "disc.dis", "disc.met", "disc.pos"}),
    ],
)
def test_running_averages_see_each_batch_once(stage: str, expected: set[str]) -> None:
    """Of the discriminator's passes only the one of real images counts, of the generator's only the last."""
    nets = make_nets()
    step(nets, make_draw(stage, use_unlabelled=False))
    counts = {name: int(value) for name, value in nets.named_buffers() if name.endswith("num_batches_tracked")}
    assert counts == {name: int(part_of(name) in expected) for name in counts}


@pytest.mark.parametrize("stage", ["depth_gan", "warm_up", "joint"])
def test_running_averages_of_the_discriminator_are_of_real_images(stage: str) -> None:
    nets, draw = make_nets(), make_draw(stage, use_unlabelled=False, lr=0.0)
    step(nets, draw)
    real = draw.images() if stage == "depth_gan" else draw.paired().image
    convolution, norm = nets.disc.trunk[0], nets.disc.trunk[1]
    assert isinstance(norm, BatchNorm2d)
    torch.testing.assert_close(norm.running_mean, convolution(real).mean((0, 2, 3)).detach())


def record(nets: CrossingNets, method: str, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The latents that `nets.render` or `nets.gen` is called with."""
    seen: list[Tensor] = []
    call: Callable[[Tensor], Tensor] = getattr(nets, method).forward if method == "gen" else nets.render

    def spy(z: Tensor) -> Tensor:
        seen.append(z.detach().clone())
        return call(z)

    monkeypatch.setattr(nets.gen if method == "gen" else nets, "forward" if method == "gen" else method, spy)
    return seen


def test_both_joint_steps_see_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = make_nets()
    seen = record(nets, "render", monkeypatch)
    step(nets, make_draw("joint"))
    assert len(seen) == 1, "the images of one pass serve both updates"


def test_the_discriminator_s_update_leaves_no_gradient_in_the_generator() -> None:
    """Its images come from the same pass as those of the generator's own update."""
    nets = make_nets()
    stage = JointStage(nets, presets.PAPER_STAGES[3], Terms())
    with pytest.MonkeyPatch.context() as patch:
        seen = []

        def descend(optimiser: torch.optim.Optimizer, terms: Losses) -> None:
            if optimiser is stage.optimisers["discriminator"]:
                torch.stack([term.float() for term in terms.values()]).sum().backward()
                seen.extend(parameter.grad for parameter in stage.generating)

        patch.setattr(paper_stages, "descend", descend)
        stage.step(make_draw("joint"), torch.Generator().manual_seed(0))
    assert seen
    assert all(gradient is None for gradient in seen)


def test_both_gan_steps_see_the_same_latents_within_the_cube(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = make_nets()
    seen = record(nets, "gen", monkeypatch)
    step(nets, make_draw("depth_gan"))
    assert len(seen) == 2
    assert torch.equal(seen[0], seen[1])
    assert seen[0].shape == (BATCH, 23)
    assert -1 <= seen[0].min() < -0.8
    assert 0.8 < seen[0].max() <= 1


def test_warm_up_renders_the_same_latents_for_the_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    nets = make_nets()
    seen = record(nets, "render", monkeypatch)
    step(nets, make_draw("warm_up"))
    for_alignment, for_heads = seen
    assert torch.equal(for_alignment, for_heads)
    assert not torch.equal(for_heads[:BATCH], for_heads[BATCH:])


@torch.no_grad()
def test_latents_carry_the_noise_of_the_vae_and_the_exact_offset() -> None:
    nets, pose = make_nets(), make_draw("joint").paired().pose
    clean = nets.encode_pose(pose)
    noise = torch.stack([noisy_latent(nets, pose, rng(i)) for i in range(200)]) - clean
    assert not noise[..., 20:].any()
    sigma = (nets.vae.encode(pose.y).logvar / 2).exp()
    assert float((noise[..., :20] / sigma).std()) == pytest.approx(0.05, rel=0.03)


def test_latents_of_poses_give_the_vae_no_gradient() -> None:
    assert not noisy_latent(make_nets(), make_draw("joint").paired().pose, rng()).requires_grad


def spec_terms(nets: CrossingNets, x: Tensor, z_hat: Tensor, z: Tensor) -> dict[str, Tensor]:
    """Spec 3.2 to 3.6 without unlabelled frames, written out; batch statistics, each pass by itself."""
    disc, count = nets.disc, len(x)
    x_hat, x_self = nets.render(torch.cat([z_hat, z])).split(count)
    fake = disc.trunk(torch.cat([x_hat, x_self]))
    real = disc.trunk(x)
    judged, invented = disc.dis(real), disc.dis(fake)
    met_x, met_hat, met_self = (disc.met(disc.trunk(image)) for image in (x, x_hat, x_self))
    smooth = ((z - z_hat) - (met_x - met_hat)) ** 2 + (met_x - met_self) ** 2
    matched = disc.dis.convs(real).flatten(1).mean(0) - disc.dis.convs(fake).flatten(1).mean(0)
    return {
        "posterior": F.mse_loss(disc.pos(real), z),
        "d_real": F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged)),
        "d_generated": F.binary_cross_entropy_with_logits(invented, torch.zeros_like(invented)),
        "smoothness": smooth.mean(),
        "g_reconstruction": torch.minimum((x - x_self) ** 2, torch.ones(())).mean(),
        "g_features": matched.abs().mean(),
        "g_smoothness": smooth.mean(),
    }


def numbers(terms: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in terms.items()}


def test_joint_losses_are_those_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, draw = make_nets(), make_draw("joint", use_unlabelled=False, lr=0.0)
    seen = record(nets, "render", monkeypatch)
    found = step(nets, draw)
    z_hat, z = seen[0].split(BATCH)
    assert (z - nets.encode_pose(draw.paired().pose)).abs().max() < 0.3  # the batch's own latents, but for noise
    assert found == pytest.approx(numbers(spec_terms(nets, draw.paired().image, z_hat, z)), rel=1e-4, abs=1e-6)


def test_warm_up_losses_are_those_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, draw = make_nets(), make_draw("warm_up", lr=0.0)
    seen = record(nets, "render", monkeypatch)
    found = step(nets, draw)
    x, (z_hat, z) = draw.paired().image, seen[1].split(BATCH)
    expected = numbers(spec_terms(nets, x, z_hat, z))
    assert found["posterior"] == pytest.approx(expected["posterior"], rel=1e-4)
    assert found["smoothness"] == pytest.approx(expected["smoothness"], rel=1e-4)
    assert found["reconstruction"] == pytest.approx(expected["g_reconstruction"], rel=1e-4)
    assert found.keys() == {"posterior", "smoothness", "reconstruction"}


def test_gan_losses_are_those_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, draw = make_nets(), make_draw("depth_gan", lr=0.0)
    seen = record(nets, "gen", monkeypatch)
    found = step(nets, draw)
    disc = nets.disc
    real, fake = disc.trunk(draw.images()), disc.trunk(nets.gen(seen[0]))
    judged, invented = disc.dis(real), disc.dis(fake)
    matched = disc.dis.features(real).mean(0) - disc.dis.features(fake).mean(0)
    expected = {
        "d_real": F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged)),
        "d_generated": F.binary_cross_entropy_with_logits(invented, torch.zeros_like(invented)),
        "g_features": matched.abs().mean(),
    }
    assert found == pytest.approx(numbers(expected), rel=1e-4)


def test_the_vae_descends_sums_over_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, draw = make_nets(), make_draw("pose_vae", lr=0.0)
    stage = make_stage(nets, draw.stage, Terms())
    stage.step(draw, rng(11))
    found = {name: p.grad.clone() for name, p in nets.vae.named_parameters() if p.grad is not None}
    nets.zero_grad()
    y, q = draw.poses().y, nets.vae.encode(draw.poses().y)
    y_hat = nets.vae.decode(nets.vae.sample(q, rng(11)))
    loss = 0.5 * (q.mean**2 + q.logvar.exp() - q.logvar - 1).sum() + 0.5 * ((y_hat - y) ** 2).sum()
    loss.backward()
    assert found.keys() == dict(nets.vae.named_parameters()).keys()
    for name, p in nets.vae.named_parameters():
        torch.testing.assert_close(found[name], p.grad)


@pytest.mark.parametrize("terms", [Terms(smoothness=False), Terms(adversarial=False)])
def test_an_ablation_leaves_the_other_terms(terms: Terms) -> None:
    draw = make_draw("joint", lr=0.0)
    whole, fewer = step(make_nets(), draw), step(make_nets(), draw, terms)
    assert fewer == pytest.approx({name: whole[name] for name in fewer}, rel=1e-5)


def test_the_baseline_regresses_offset_and_joints() -> None:
    nets = build(presets.paper_networks(JOINTS, shared_latent=False), rng())
    draw = make_draw("regression", lr=0.0)
    found = make_stage(nets, draw.stage, Terms()).step(draw, rng())["regression"]
    batch = draw.paired()
    estimate, truth = nets(batch.image), batch.pose
    squares = [(estimate.y - truth.y).flatten() ** 2, (estimate.t - truth.t).flatten() ** 2]
    torch.testing.assert_close(found.detach(), torch.cat(squares).mean().detach())


def test_only_the_chosen_parameters_train_for_a_while() -> None:
    nets = make_nets()
    chosen = {name for name, _ in nets.named_parameters() if name.startswith("ali.")}
    with only_trains(nets, nets.ali.parameters()):
        assert {name for name, p in nets.named_parameters() if p.requires_grad} == chosen
    assert all(p.requires_grad for p in nets.parameters())


def test_all_parameters_train_again_after_an_error() -> None:
    nets = make_nets()

    def fail() -> None:
        with only_trains(nets, []):
            assert not any(p.requires_grad for p in nets.parameters())
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert all(p.requires_grad for p in nets.parameters())


def test_a_stage_descends_with_the_adam_of_the_paper() -> None:
    for name in ("pose_vae", "depth_gan", "warm_up", "joint"):
        for optimiser in make_stage(make_nets(), STAGES[name], Terms()).optimisers.values():
            (group,) = optimiser.param_groups
            assert group["betas"] == (0.5, 0.999)
            assert group["lr"] == STAGES[name].lr
            assert group["weight_decay"] == 0


def test_networks_stay_in_training_mode_throughout() -> None:
    nets = make_nets()
    step(nets, make_draw("joint"))
    norms = [layer for layer in nets.modules() if isinstance(layer, BatchNorm1d | BatchNorm2d)]
    assert all(layer.training and layer.track_running_stats for layer in norms)


@pytest.mark.parametrize("stage", ["depth_gan", "warm_up", "joint"])
def test_bfloat16_agrees_with_float32(stage: str) -> None:
    exact = step(make_nets(), make_draw(stage, lr=0.0))
    with mixed_precision(torch.device("cpu"), "bf16-mixed"):
        rounded = step(make_nets(), make_draw(stage, lr=0.0))
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.02)


def test_bfloat16_has_slope_where_pixels_are_far_on_the_wrong_side() -> None:
    gen, z = make_nets().gen, torch.randn(BATCH, 23, generator=rng())
    assert gen.last.bias is not None
    slopes = []
    for precision in ("32-true", "bf16-mixed"):
        gen.zero_grad()
        with torch.no_grad():
            gen.last.bias.fill_(5.0)
        with mixed_precision(torch.device("cpu"), precision):
            gen(z).sum().backward()
        assert gen.last.bias.grad is not None
        slopes.append(float(gen.last.bias.grad))
    assert slopes[0] > 0
    assert slopes[1] == pytest.approx(slopes[0], rel=0.05)


def test_bfloat16_gives_the_generator_gradients() -> None:
    nets, draw = make_nets(), make_draw("joint")
    before = values(nets.gen)
    with mixed_precision(torch.device("cpu"), "bf16-mixed"):
        step(nets, draw)
    assert all(not torch.equal(before[name], value) for name, value in nets.gen.named_parameters())
