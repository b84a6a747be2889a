import copy
import json
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from crossnets.inference import bundle
from crossnets.models.paper import CrossingNets
from crossnets.training import checkpoints, loop, run, schedule
from crossnets.training.config import Terms
from tests import commands
from tests.datasets.make import make_cvar
from tests.training import small

STAGES = ("pose_vae", "depth_gan", "warm_up", "joint")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cvar(tmp_path_factory.mktemp("cvar"), {"P1": 1.0, "P4": 0.8}, frames=4).root


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert run_training(data, out).returncode == 0
    return out


def start_training(data: Path, out: Path) -> commands.Started:
    """A process of its own: in this one, other tests have loaded libraries that change how many threads torch uses."""
    return commands.start(str(data), str(out), program="tests.training.small")


def run_training(data: Path, out: Path) -> commands.Ended:
    return start_training(data, out).wait()


def losses_of(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in ("stage", "step", "losses")} for line in lines]


def test_every_stage_is_trained_and_logged(whole: Path) -> None:
    lines = losses_of(whole)
    assert [sum(line["stage"] == stage for line in lines) for stage in STAGES] == [2, 4, 4, 4]
    assert set(lines[-1]["losses"]) == {
        "posterior", "d_real", "d_generated", "smoothness", "g_reconstruction", "g_features", "g_smoothness"
    }  # fmt: skip
    assert json.loads((whole / "config.json").read_text())["plan"] == [40, 4, 4, 4]
    assert json.loads((whole / "environment.json").read_text())["packages"]["torch"]
    assert any((whole / "tensorboard").iterdir())
    assert bundle.load(whole).skeleton.name == "cvar21"


def test_a_training_killed_in_every_stage_goes_on_as_if_it_had_not_been(
    data: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    for stage in STAGES:
        process = start_training(data, out)
        deadline = time.monotonic() + 200
        while not (out / "log.jsonl").is_file() or f'"stage": "{stage}"' not in (out / "log.jsonl").read_text():
            assert process.poll() is None, f"the training ended before it could be killed in {stage}"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait().returncode == -signal.SIGKILL
        assert checkpoints.load_place(out) != checkpoints.load_place(whole)
    assert run_training(data, out).returncode == 0
    assert losses_of(out) == losses_of(whole)
    killed, straight = (load_file(run / "model" / "weights.safetensors") for run in (out, whole))
    assert all(torch.equal(killed[name], straight[name]) for name in straight)


def test_a_finished_run_is_left_as_it_is(data: Path, whole: Path) -> None:
    before = losses_of(whole)
    small.train(data, whole)
    assert losses_of(whole) == before


def test_other_settings_are_refused_by_name(data: Path, whole: Path) -> None:
    with pytest.raises(ValueError, match=r"other settings \(train.seed: 42 there, 7 asked\)"):
        small.train(data, whole, replace(small.config(), seed=7))


def test_a_folder_of_something_else_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("dear diary")
    with pytest.raises(FileExistsError, match="no run of crossnets"):
        small.train(data, tmp_path)
    assert (tmp_path / "holiday.txt").read_text() == "dear diary"


def test_a_checkpoint_of_another_preset_is_refused(data: Path, whole: Path, tmp_path: Path) -> None:
    baseline = small.config(shared_latent=False)
    small.train(data, tmp_path, baseline)
    (tmp_path / checkpoints.FILE).write_bytes((whole / checkpoints.FILE).read_bytes())
    with pytest.raises(ValueError, match="networks of another configuration"):
        checkpoints.restore(tmp_path, bundle.load(tmp_path).networks, None)


def test_a_damaged_checkpoint_is_refused(data: Path, whole: Path, tmp_path: Path) -> None:
    (tmp_path / checkpoints.FILE).write_bytes((whole / checkpoints.FILE).read_bytes()[:50])
    with pytest.raises(ValueError, match="not a checkpoint that can be resumed"):
        checkpoints.load_place(tmp_path)


@pytest.mark.parametrize(
    ("terms", "absent"),
    [
        (Terms(smoothness=False), {"smoothness", "g_smoothness"}),
        (Terms(adversarial=False), {"d_real", "d_generated", "g_features"}),
        (Terms(unlabelled=False), set()),
    ],
)
def test_each_ablation_leaves_out_its_terms(terms: Terms, absent: set[str], data: Path, tmp_path: Path) -> None:
    small.train(data, tmp_path, small.config(terms=terms))
    whole = {"posterior", "d_real", "d_generated", "smoothness", "g_reconstruction", "g_features", "g_smoothness"}
    assert set(losses_of(tmp_path)[-1]["losses"]) == whole - absent
    assert any(line["stage"] == "depth_gan" for line in losses_of(tmp_path)) == terms.adversarial


def test_the_pose_vae_begins_with_the_principal_directions_of_the_labels(data: Path, tmp_path: Path) -> None:
    settings = small.config()
    still = replace(settings.stages[0], lr=0.0, min_steps=1)
    networks = small.train(data, tmp_path / "run", replace(settings, stages=(still,))).networks
    assert isinstance(networks, CrossingNets)
    again = copy.deepcopy(networks.vae)
    again.init_from_pca(torch.from_numpy(small.frames(data, tmp_path).y))
    for found, expected in zip(networks.vae.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_each_step_goes_at_the_rate_of_the_schedule(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates: list[float] = []
    make = loop.make_stage

    def watched(*args: Any) -> Any:
        stage = make(*args)
        step = stage.step

        def noted(*words: Any) -> Any:
            rates.extend(group["lr"] for one in stage.optimisers.values() for group in one.param_groups)
            return step(*words)

        stage.step = noted
        return stage

    monkeypatch.setattr(loop, "make_stage", watched)
    settings = small.config()
    stage = replace(settings.stages[0], decay=0.5, min_steps=6)
    small.train(data, tmp_path / "run", replace(settings, stages=(stage,)))
    count = len(small.frames(data, tmp_path))
    assert rates == [schedule.learning_rate(stage, step, count, 6) for step in range(6)]
    assert len(set(rates)) > 1


def test_a_loss_that_is_no_number_ends_the_training(data: Path, tmp_path: Path) -> None:
    settings = small.config(shared_latent=False)
    stages = (replace(settings.stages[0], lr=1e30, min_steps=30),)
    with pytest.raises(loop.DivergedError, match="Stage regression diverged at step"):
        small.train(data, tmp_path, replace(settings, stages=stages))


def test_weights_that_are_no_numbers_are_not_kept(data: Path, tmp_path: Path) -> None:
    """The loss of the only step is computed before it, and is sound."""
    settings = small.config(shared_latent=False)
    stages = (replace(settings.stages[0], lr=1e39, epochs=0, min_steps=1),)
    with pytest.raises(
        loop.DivergedError, match=r"diverged at step 1: \d+ tensors of weights, trunk\..* first, are not"
    ):
        small.train(data, tmp_path, replace(settings, stages=stages))
    assert not (tmp_path / checkpoints.FILE).exists()
    assert not (tmp_path / "model").exists()


def test_a_resume_elsewhere_says_what_is_not_as_it_was(tmp_path: Path) -> None:
    run.begin(tmp_path, {}, [1], "cpu")
    assert run.changes(tmp_path, "cpu") == []
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"git": "abc", "threads": 64}))
    git, threads = run.changes(tmp_path, "cpu")
    assert git.startswith("git was 'abc', is ")
    assert threads.startswith("threads was '64', is ")
    path.unlink()
    assert run.changes(tmp_path, "cpu") == []


def test_a_setting_that_changes_no_result_may_change_on_resume(tmp_path: Path) -> None:
    config = small.config()
    run.begin(tmp_path, run.request_of(config, {}), [1], "cpu")
    found = run.read(tmp_path)
    assert found is not None
    assert run.applied(found, config) == []
    changed = replace(config, checkpoint_s=7.0)
    run.check_same(tmp_path, found, run.request_of(changed, {}))
    assert run.applied(found, changed) == [f"checkpoint_s was {config.checkpoint_s!r}, is 7.0"]
    with pytest.raises(ValueError, match="seed: "):
        run.check_same(tmp_path, found, run.request_of(replace(changed, seed=8), {}))


def test_what_a_kill_left_before_a_run_began_is_no_run(data: Path, tmp_path: Path) -> None:
    for name in ("config.json.part", "problems.jsonl.part", "problems.jsonl"):
        (tmp_path / name).write_text("{")
    assert run.read(tmp_path) is None
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="no run of crossnets"):
        run.read(tmp_path)


def test_somebody_s_folder_called_crops_is_not_touched(tmp_path: Path) -> None:
    for name in ("crops.npy", "crops.json", "rendered.npy.part"):
        (tmp_path / "crops").mkdir(exist_ok=True)
        (tmp_path / "crops" / name).touch()
    assert run.read(tmp_path) is None
    (tmp_path / "crops" / "mine.png").touch()
    with pytest.raises(FileExistsError, match="no run of crossnets"):
        run.read(tmp_path)
    run.remove_crops(tmp_path)
    assert [path.name for path in (tmp_path / "crops").iterdir()] == ["mine.png"]


def test_one_training_in_a_folder(tmp_path: Path) -> None:
    with run.held(tmp_path) as found:
        assert found is None
        with pytest.raises(ValueError, match="Another training is running in"), run.held(tmp_path):
            pass
    with run.held(tmp_path):
        pass


def test_a_config_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match="is not the config of a run"):
        run.read(tmp_path)


def test_there_is_no_model_until_a_stage_trained_what_predicts(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the model is written before the place, so that a run that says it is finished has its last one."""
    seen: list[tuple[int, bool]] = []
    save = checkpoints.save

    def saved(out: Path, place: checkpoints.Place, *parts: Any) -> None:
        seen.append((place.stage, (out / "model" / "weights.safetensors").is_file()))
        save(out, place, *parts)

    monkeypatch.setattr(checkpoints, "save", saved)
    small.train(data, tmp_path)
    assert dict(seen) == {0: False, 1: False, 2: True, 3: True, 4: True}


def test_a_deadline_ends_a_stage_before_its_plan(data: Path, tmp_path: Path) -> None:
    settings = small.config()
    still = replace(
        settings, stages=(replace(settings.stages[0], min_steps=100_000, log_every=1),), checkpoint_s=1000.0
    )
    request = run.request_of(still, {})
    loop.train(still, small.frames(data, tmp_path), tmp_path, request=request, deadline_s=0.5)
    place = checkpoints.load_place(tmp_path)
    assert place is not None
    assert place.stage == 1
    assert 1 <= len(losses_of(tmp_path)) < 50_000
