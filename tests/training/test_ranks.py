"""Several processes train as one does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from crossnets import ranks
from crossnets.training.checkpoints import load_place
from tests import commands
from tests.datasets.make import make_cvar

RUN = Path(__file__).parent / "ranks_run.py"


def run_ranks(count: int, *words: str, program: Path | str) -> None:
    """Run a command in `count` processes, with the environment that torchrun would give them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        commands.start(*words, program=program, environment=shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in range(count)
    ]
    for process in started:
        done = process.wait()
        assert done.returncode == 0, done.stderr[-3000:]


def start_torchrun(out: Path, steps: int, count: int, stage: str) -> subprocess.Popen[str]:
    """`count` ranks on this machine, started by torchrun, which train one stage."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(RUN.parents[2] / "src")}
    return subprocess.Popen(
        [*words, str(RUN), str(out), str(steps), stage],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def losses(out: Path) -> list[dict[str, float]]:
    return [json.loads(line)["losses"] for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(tmp_path: Path) -> None:
    """In double precision, where rounding hides no difference. The detector's targets are sums in float32."""
    tolerances = {"crossnets:pose_vae": 1e-9, "crossnets:draw": 1e-9, "detector:detect": 1e-6, "paper:joint": 1e-9}
    for count in (1, 2):
        run_ranks(count, str(tmp_path / str(count)), "3", *tolerances, "float64", program=RUN)
    for stage, tolerance in tolerances.items():
        one, two = (losses(tmp_path / str(count) / stage.split(":")[1]) for count in (1, 2))
        assert len(one) == len(two) == 3
        for before, after in zip(one, two, strict=True):
            assert after == pytest.approx(before, rel=tolerance), stage


@pytest.mark.slow
def test_a_rank_that_dies_ends_all_and_one_process_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "pose_vae"
    steps = 150
    process = start_torchrun(tmp_path, steps, 2, "crossnets:pose_vae")
    try:
        deadline = time.monotonic() + 100
        while not (out / "checkpoint.safetensors").is_file():
            assert process.poll() is None, process.communicate()[0][-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[-1]), signal.SIGKILL)
        began = time.monotonic()
        said, _ = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert time.monotonic() - began < 30
    assert process.returncode != 0
    assert "exitcode  : -9" in said
    assert "rank      : " in said
    place = load_place(out)
    assert place is not None
    assert place.step < steps
    run_ranks(1, str(tmp_path), str(steps), "crossnets:pose_vae", program=RUN)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, steps + 1))


@pytest.mark.slow
def test_two_processes_validate_and_extend_as_one_run(tmp_path: Path) -> None:
    data = make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 0.8}, frames=4).root
    words = ["train", "--data", f"cvar:{data}#P1", "--validation", f"cvar:{data}#P4", "--no-shared-latent"]
    words += ["--batch-size", "regression=4", "--precision", "32-true", "--device", "cpu", "--threads", "1"]
    for epochs, extend in (("2", []), ("4", ["--extend"])):
        more = [f"regression={epochs}", "--out", str(tmp_path / "run"), *extend]
        run_ranks(2, *words, "--epochs", *more, program="crossnets")
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "validation_mm" in line] == [1, 2, 3, 4]


def test_a_batch_that_cannot_be_divided_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranks, "size", lambda: 8)
    ranks.check_batch(200, "The stage joint")
    with pytest.raises(ValueError, match=r"The stage joint has batches of 100, which 8 processes cannot divide.*of 8"):
        ranks.check_batch(100, "The stage joint")


def test_one_process_needs_no_others() -> None:
    values = torch.rand(6, 3)
    assert ranks.first()
    assert ranks.mine(values) is not None
    assert torch.equal(ranks.mine(values), values)
    assert ranks.gathered(values) is values
    assert ranks.total(values) is values
    assert torch.equal(ranks.batch_mean(values), values.mean(0))
    assert ranks.shared("same") == "same"
