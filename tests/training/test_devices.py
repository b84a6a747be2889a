from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crossnets.training import devices, loop
from crossnets.training.devices import choose_machine, crops_on, threads_for
from crossnets.training.run import check_same, request_of
from crossnets.training.schedule import only_stages, with_numbers
from tests.datasets.make import make_cvar
from tests.training import small


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_cvar(tmp_path_factory.mktemp("cvar"), {"P1": 1.0, "P4": 0.8}, frames=4).root


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"--device cuda: torch .* sees no GPU"):
        choose_machine("cuda")
    assert choose_machine("auto").device.type == "cpu"
    assert choose_machine("cpu").workers >= 1


def test_workers_are_counted_from_none() -> None:
    assert choose_machine("cpu", 0).workers == 0
    with pytest.raises(ValueError, match="--workers -1: expected 0 or more"):
        choose_machine("cpu", -1)


def test_a_processor_keeps_no_second_copy_of_the_crops(data: Path, tmp_path: Path) -> None:
    assert crops_on(torch.device("cpu"), small.frames(data, tmp_path)) is None


@pytest.mark.parametrize(("bytes_of_value", "kind"), [(4, torch.float32), (2, torch.float16), (1, None)])
def test_crops_that_do_not_fit_a_gpu_are_halved_or_left_on_the_disk(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bytes_of_value: int, kind: torch.dtype | None
) -> None:
    frames = small.frames(data, tmp_path)
    free = int(bytes_of_value * frames.images.size / devices._MEMORY_SHARE) + 1
    empty = torch.empty

    def on_processor(shape: tuple[int, ...], *, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
        assert device.type == "cuda"
        return empty(shape, dtype=dtype)

    # A GPU is not needed to choose by the memory that it states.
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, free))
    monkeypatch.setattr(torch, "empty", on_processor)
    monkeypatch.setattr(torch.Tensor, "to", lambda values, _: values)
    crops = crops_on(torch.device("cuda"), frames)
    monkeypatch.undo()
    assert (None if crops is None else crops.dtype) == kind
    if crops is not None:
        expected = frames.crops(np.arange(len(frames.keys)))
        np.testing.assert_allclose(crops[:, 0].float().numpy(), expected, atol=0 if bytes_of_value == 4 else 1e-3)


def test_batch_sizes_and_rates_of_single_stages() -> None:
    stages = small.config().stages
    changed = with_numbers(stages, ("joint=7",), "--batch-size", "batch")
    assert [stage.batch for stage in changed if stage.name == "joint"] == [7]
    changed = with_numbers(stages, ("joint=3e-4",), "--learning-rate", "lr")
    assert [stage.lr for stage in changed if stage.name == "joint"] == [3e-4]
    assert [s for s in changed if s.name != "joint"] == [s for s in stages if s.name != "joint"]


@pytest.mark.parametrize("text", ["joint", "joint=0", "joint=1.5", "nothing=3", "joint=-1"])
def test_a_wrong_batch_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"--batch-size .*: expected some of pose_vae="):
        with_numbers(small.config().stages, (text,), "--batch-size", "batch")


@pytest.mark.parametrize("text", ["joint=0", "joint=nan", "joint=1e400"])
def test_a_wrong_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--learning-rate"):
        with_numbers(small.config().stages, (text,), "--learning-rate", "lr")


def test_single_stages_are_chosen_by_name() -> None:
    stages = small.config().stages
    assert [stage.name for stage in only_stages(stages, ("joint", "pose_vae"))] == ["pose_vae", "joint"]
    assert only_stages(stages, ()) == stages
    with pytest.raises(ValueError, match="--stages joints: expected some of pose_vae"):
        only_stages(stages, ("joints",))


def test_runs_that_knew_less_settings_are_gone_on_with(tmp_path: Path) -> None:
    sources = [{"seed": 1, "anny": 0.0}]
    request = {"train": {"rendered": {"uses": 2, "damage": None, "sources": sources}}, "data": {}}
    older = {"train": {"rendered": {"workers": 1, "sources": [{"seed": 1}]}}, "data": {}}
    check_same(tmp_path, older, request)
    with pytest.raises(ValueError, match=r"train\.rendered\.uses: 2 there, 4 asked"):
        check_same(
            tmp_path, older, {"train": {"rendered": {"uses": 4, "damage": None, "sources": sources}}, "data": {}}
        )


def test_runs_that_named_settings_differently_or_for_nothing_are_gone_on_with(tmp_path: Path) -> None:
    request = {"train": {"passes": 2, "seed": 1}, "data": {}}
    check_same(tmp_path, {"train": {"looks": 2, "seed": 1, "scenes": None}, "data": {}}, request)
    with pytest.raises(ValueError, match=r"train\.passes: 1 there, 2 asked"):
        check_same(tmp_path, {"train": {"looks": 1, "seed": 1}, "data": {}}, request)
    detector = {"train": {"seed": 1}, "data": {}}
    unused = {"crop": {"cube_mm": 250.0}, "terms": {"smoothness": True}, "looks": 1, "rendered": None, "seed": 1}
    check_same(tmp_path, {"train": unused, "data": {}}, detector)
    with pytest.raises(ValueError, match=r"train\.seed: 1 there, 2 asked"):
        check_same(tmp_path, {"train": unused, "data": {}}, {"train": {"seed": 2}, "data": {}})


def test_a_training_starts_from_another_models_weights(data: Path, tmp_path: Path) -> None:
    first = small.train(data, tmp_path / "first")
    settings = small.config()
    still = replace(settings, stages=tuple(replace(s, lr=0.0) for s in settings.stages if s.name == "pose_vae"))
    again = loop.train(
        still, small.frames(data, tmp_path / "again"), tmp_path / "again", request=request_of(still, {}),
        init=tmp_path / "first",
    )  # fmt: skip
    before, after = first.networks.state_dict(), again.networks.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    wider = replace(still, networks=replace(still.networks, pose_vae=replace(still.networks.pose_vae, hidden_dim=41)))
    with pytest.raises(
        ValueError, match=r"--init .*: its networks are .*\(networks\.pose_vae\.hidden_dim: 40 there, 41 here\)"
    ):
        loop.train(
            wider, small.frames(data, tmp_path / "other"), tmp_path / "other", request=request_of(wider, {}),
            init=tmp_path / "first",
        )  # fmt: skip


def test_tiny_matrices_take_one_thread() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with threads_for("pose_vae"):
            assert torch.get_num_threads() == 1
        with threads_for("joint"):
            assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), threads_for("pose_vae"):
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
