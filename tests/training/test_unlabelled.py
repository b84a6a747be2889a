"""What unlabelled frames reach, and the random walks that generated frames come from."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from crossnets.training.paper_stages import random_walk
from tests.training.stepping import BATCH, FRAMES, make_draw, make_frames, make_nets, rng, step
from tests.training.test_paper_stages import record

FROM_UNLABELLED = {"d_real", "g_features"}


def with_and_without_unlabelled(trunk_in_training: bool) -> tuple[dict[str, float], dict[str, float]]:
    found = []
    for use_unlabelled in (True, False):
        nets = make_nets()
        nets.disc.trunk.train(trunk_in_training)
        found.append(step(nets, make_draw("joint", use_unlabelled=use_unlabelled, lr=0.0)))
    return found[0], found[1]


def test_unlabelled_frames_enter_the_real_side_of_the_gan_alone() -> None:
    """With fixed normalisation in the trunk, so that a frame's maps do not depend on the frames beside it."""
    found, without = with_and_without_unlabelled(trunk_in_training=False)
    for name in FROM_UNLABELLED:
        assert found[name] != pytest.approx(without[name], rel=1e-3), name
    for name in found.keys() - FROM_UNLABELLED:
        assert found[name] == pytest.approx(without[name], rel=1e-4), name


def test_unlabelled_frames_leave_the_terms_of_labelled_ones() -> None:
    found, without = with_and_without_unlabelled(trunk_in_training=True)
    for name in found.keys() - FROM_UNLABELLED:
        assert found[name] == pytest.approx(without[name], rel=1e-4), name


def test_unlabelled_frames_count_as_real_in_the_judgement(monkeypatch: pytest.MonkeyPatch) -> None:
    nets, draw = make_nets(), make_draw("joint", lr=0.0)
    nets.disc.eval()  # the same in one pass or two
    seen = record(nets, "render", monkeypatch)
    found = step(nets, draw)
    batch = draw.paired()
    assert len(batch.unlabelled) == BATCH
    maps = nets.disc.trunk(torch.cat([batch.image, batch.unlabelled]))
    assert found["d_real"] == pytest.approx(float(F.softplus(-nets.disc.dis(maps)).mean().detach()), rel=1e-4)
    generated = nets.disc.dis.features(nets.disc.trunk(nets.render(seen[0])))
    apart = (nets.disc.dis.features(maps).mean(0) - generated.mean(0)).abs().mean()
    assert found["g_features"] == pytest.approx(float(apart.detach()), rel=1e-4)


def test_no_unlabelled_frames_are_as_if_they_took_no_part() -> None:
    none = make_frames(unlabelled=0)
    found = step(make_nets(), make_draw("joint", frames=none))
    assert found == step(make_nets(), make_draw("joint", use_unlabelled=False))


def test_unlabelled_frames_reach_the_gan_pre_training() -> None:
    for use_unlabelled, expected in ((True, 2 * BATCH), (False, BATCH)):
        draws = [replace(make_draw("depth_gan", use_unlabelled=use_unlabelled), step=k) for k in (0, 1)]
        seen = torch.cat([draw.images() for draw in draws]).flatten(1)
        assert len(seen.unique(dim=0)) == expected  # two batches of four are one round of eight
        assert set(map(tuple, seen[:, :3].tolist())) <= set(map(tuple, FRAMES.images[:, 0, :3].tolist()))


def test_random_walks_are_convex_combinations_of_at_most_five() -> None:
    weights = random_walk(torch.eye(200), rng())  # with z the identity, z^ is the matrix itself
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(200))
    used = (weights > 0).sum(1)
    assert used.max() == 5
    assert used.float().mean() > 4.8
    assert (weights > 0).any(0).float().mean() > 0.95  # from the whole batch
    assert weights.max() < 1
    assert all(len(set(row[row > 0].tolist())) == int((row > 0).sum()) for row in weights)  # drawn, not a fifth each


def test_random_walks_draw_with_replacement() -> None:
    used = (random_walk(torch.eye(5), rng()) > 0).sum(1)
    assert used.min() < 5
    torch.testing.assert_close(random_walk(torch.ones(1, 3), rng()), torch.ones(1, 3))


def test_random_walks_depend_on_the_generator_alone() -> None:
    z = torch.eye(8)
    assert torch.equal(random_walk(z, rng(1)), random_walk(z, rng(1)))
    assert not torch.equal(random_walk(z, rng(1)), random_walk(z, rng(2)))
