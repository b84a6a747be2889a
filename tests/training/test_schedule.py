from dataclasses import replace
from itertools import pairwise

import pytest

from crossnets.geometry.skeleton import NYU36
from crossnets.models.paper import CrossingNetsConfig
from crossnets.training import presets
from crossnets.training.config import StageConfig, Terms
from crossnets.training.schedule import (
    BUDGET_SHARES,
    full_steps,
    learning_rate,
    parse_budget,
    steps_per_epoch,
    steps_within,
    with_epochs,
)

NYU_FRAMES = 72_757
PAPER = presets.paper(NYU36)
COST = {"pose_vae": 0.001, "depth_gan": 0.1, "warm_up": 0.2, "joint": 0.5}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400), ("0.5s", 0.5), ("1h", 3600), ("05m", 300)]
)
def test_budgets_are_read(text: str, seconds: float) -> None:
    assert parse_budget(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "s", "0s", "0.0h", "-5m", "1.h", ".5h", "1h30m", "5 m", "5M", "5d", "1e3s", "nans", "5m\n"]
)
def test_other_budgets_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a time such as 90s, 20m or 1\.5h"):
        parse_budget(text)


def test_the_whole_schedule_at_the_size_of_nyu() -> None:
    # Spec 4: 201 rounds of 200, 1001 of 100, 21 of 200, 80 of 200 over 72,757 frames.
    assert steps_within(PAPER.stages, NYU_FRAMES, None, lambda stage: 1.0) == [73_121, 728_298, 7_639, 29_103]


def test_the_stages_are_those_of_the_paper() -> None:
    found = [(stage.name, stage.batch, stage.lr, stage.epochs) for stage in PAPER.stages]
    assert found == [
        ("pose_vae", 200, 3e-4, 201),
        ("depth_gan", 100, 3e-4, 1001),
        ("warm_up", 200, 1e-2, 21),
        ("joint", 200, 1e-3, 80),
    ]
    assert [stage.decay for stage in PAPER.stages] == [0.95, 1, 1, 1]
    assert PAPER.seed == 42


def test_the_defaults_are_those_of_the_paper() -> None:
    assert (PAPER.crop.cube_mm, PAPER.crop.normalisation, PAPER.crop.centers) == (250.0, "per-frame", "image")
    assert isinstance(PAPER.networks, CrossingNetsConfig)
    assert PAPER.networks == presets.paper_networks(36, "separate", shared_latent=True)
    assert PAPER.terms == Terms(smoothness=True, adversarial=True, unlabelled=True)


def test_the_baseline_sees_as_many_images() -> None:
    baseline = presets.paper(NYU36, shared_latent=False)
    steps = steps_within(baseline.stages, NYU_FRAMES, None, lambda stage: 1.0)
    _, *others = steps_within(PAPER.stages, NYU_FRAMES, None, lambda stage: 1.0)
    seen = sum(n * stage.batch for n, stage in zip(others, PAPER.stages[1:], strict=True))
    assert [n * 200 for n in steps] == pytest.approx([seen], rel=1e-5)


def test_few_poses_still_train_the_vae() -> None:
    vae, *others = PAPER.stages
    assert vae.min_steps == 20_000
    assert full_steps(vae, 1000) == 20_000
    assert [full_steps(stage, 1000) for stage in others] == [10_010, 105, 400]
    assert [full_steps(replace(stage, epochs=0), 1) for stage in others] == [1, 1, 1]


def test_a_budget_is_divided_by_the_shares_of_the_stages() -> None:
    budget_s = 7200.0
    found = steps_within(PAPER.stages, NYU_FRAMES, budget_s, lambda stage: COST[stage.name])
    full = steps_within(PAPER.stages, NYU_FRAMES, None, lambda stage: 1.0)
    assert found[0] == full[0], "the pose VAE needs less than its share"
    seconds = [n * cost for n, cost in zip(found, COST.values(), strict=True)]
    assert sum(seconds) == pytest.approx(budget_s, rel=0.001)
    shares = [BUDGET_SHARES[stage.name] for stage in PAPER.stages]
    levels = [s / share for s, share in zip(seconds[1:], shares[1:], strict=True)]
    assert levels == pytest.approx([levels[0]] * 3, rel=0.02)


def test_a_stage_that_is_finished_leaves_its_share_to_the_others() -> None:
    full = steps_within(PAPER.stages, 2000, None, lambda stage: 1.0)
    few = steps_within(PAPER.stages, 2000, 40_000.0, lambda stage: 1.0)
    assert few[2:] == full[2:], "warm-up and joint stage are whole"
    assert sum(few) == pytest.approx(40_000, abs=4)


def test_a_budget_below_the_least_leaves_every_stage_a_step() -> None:
    vae, *others = steps_within(PAPER.stages, NYU_FRAMES, 1.0, lambda stage: COST[stage.name])
    assert others == [1, 1, 1]
    assert vae == int(0.3 / COST["pose_vae"])


def test_the_least_steps_take_at_most_a_third_of_a_budget() -> None:
    found = steps_within(PAPER.stages, 700, 60.0, lambda stage: COST[stage.name])
    seconds = [n * cost for n, cost in zip(found, COST.values(), strict=True)]
    assert found[0] < PAPER.stages[0].min_steps
    assert seconds[0] == pytest.approx(18.0, rel=0.01)
    assert sum(seconds) == pytest.approx(60.0, rel=0.1)


def test_a_generous_budget_prolongs_nothing() -> None:
    full = steps_within(PAPER.stages, NYU_FRAMES, None, lambda stage: 1.0)
    assert steps_within(PAPER.stages, NYU_FRAMES, 1e9, lambda stage: COST[stage.name])[1:] == full[1:]


def test_a_generous_budget_shortens_nothing() -> None:
    full = steps_within(PAPER.stages, NYU_FRAMES, None, lambda stage: 1.0)
    assert steps_within(PAPER.stages, NYU_FRAMES, 1e9, lambda stage: COST[stage.name]) == full


def test_without_a_budget_nothing_is_measured() -> None:
    def refuse(stage: StageConfig) -> float:
        raise AssertionError(stage)

    assert len(steps_within(PAPER.stages, 1000, None, refuse)) == 4


def test_the_rate_of_the_vae_falls_after_each_round() -> None:
    vae = PAPER.stages[0]
    updates = 364  # 72,757 / 200 = 363.8
    assert steps_per_epoch(vae, NYU_FRAMES) == updates
    for epoch in (0, 1, 2, 100, 200):
        expected = 3e-4 * 0.95 ** (epoch * (updates + 1) / 10_000)
        assert learning_rate(vae, epoch * updates, NYU_FRAMES, 10**6) == pytest.approx(expected, rel=1e-12)
        assert learning_rate(vae, (epoch + 1) * updates - 1, NYU_FRAMES, 10**6) == pytest.approx(expected, rel=1e-12)


def test_other_rates_stay() -> None:
    for stage in PAPER.stages[1:]:
        assert {learning_rate(stage, step, NYU_FRAMES, 10**6) for step in (0, 1000, 700_000)} == {stage.lr}


def test_rounds_of_single_stages_can_be_chosen() -> None:
    stages = with_epochs(PAPER.stages, ["joint=400", "pose_vae=3"])
    assert [stage.epochs for stage in stages] == [3, 1001, 21, 400]
    assert full_steps(stages[0], 1000) == 15
    assert with_epochs(PAPER.stages, []) == PAPER.stages


@pytest.mark.parametrize("text", ["joint", "joint=", "joint=0", "joint=-1", "joint=1.5", "other=3", "=3", "joint=4 "])
def test_other_texts_of_rounds_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected some of pose_vae=201, depth_gan=1001, warm_up=21, joint=80"):
        with_epochs(PAPER.stages, [text])


def test_rounds_of_a_stage_are_chosen_once() -> None:
    with pytest.raises(ValueError, match="each once"):
        with_epochs(PAPER.stages, ["joint=3", "joint=4"])


def test_a_cosine_rises_and_ends_at_nothing() -> None:
    stage = replace(PAPER.stages[3], schedule="cosine")
    rates = [learning_rate(stage, step, NYU_FRAMES, 1000) for step in range(1000)]
    assert rates[49] == pytest.approx(stage.lr)
    assert rates[0] == pytest.approx(stage.lr / 50)
    assert rates[525] == pytest.approx(stage.lr / 2, rel=0.01)
    assert rates[999] < stage.lr / 1e4
    assert all(a >= b for a, b in pairwise(rates[49:]))
    assert learning_rate(stage, 0, NYU_FRAMES, 1) > 0
