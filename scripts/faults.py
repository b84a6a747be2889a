"""Signals at random moments: is every file whole, and does the same command continue or start again?

    python scripts/faults.py --minutes 15 --out faults.json
    sudo python scripts/faults.py --full-disk --out full.json

Each round runs one command on tiny inputs, sends it SIGKILL, SIGTERM or SIGINT at a random moment, opens every file
that it left, and gives the same command again, which must end well. All but export run in forks of a process that
has imported the package, so that the moments fall into the work and not into the imports. With --full-disk each command
runs on two disks in memory that are too small for it, and again after they grew. Exits with 1 if a file was lost or a
command did not continue.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime  # noqa: F401 - imported here so that the forks need not
import torch
from PIL import Image
from safetensors import safe_open

from crossnets import cli
from crossnets.atomic import write_text
from crossnets.datasets.recording import Recording
from crossnets.inference import bundle, torch_models  # noqa: F401
from crossnets.synth.writing import write_dataset
from crossnets.training import session  # noqa: F401

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
FRAMES = 12
_PAGE = 4096
_SHARES = (0.35, 0.8)
"""Room on a disk that is too small, over the room that the files of a command take."""
_LONGEST_S = 900.0
_SWEEP = """
[train]
preset = "paper"
centers = "label"
threads = 1
epochs = ["pose_vae=1", "depth_gan=1", "warm_up=1", "joint=1"]
batch_size = ["depth_gan=8", "warm_up=8", "joint=8"]

[evaluate]
centers = "label"

[[fold]]
name = "one"
train = {{ data = "{data}" }}
test = "{data}"
"""


@dataclass(frozen=True)
class Job:
    """A command and what it may leave behind."""

    words: Callable[[Path], list[str]]
    """Arguments, with the folder for its files."""
    refuses: bool = False
    """Whether the command, once finished, refuses to overwrite its files."""


def jobs(made: Path) -> dict[str, Job]:
    """Every command that is tried, on the inputs in `made`."""
    data, train = str(made / "cvar"), ["--centers", "label", "--threads", "1", "--no-shared-latent"]
    often = ["--epochs", "regression=3", "--batch-size", "regression=8", "--checkpoint-s", "0.3"]
    return {
        "train": Job(
            lambda out: ["train", "--data", data, *train, *often, "--out", str(out)],
        ),
        "synthesize nyu": Job(
            lambda out: ["synthesize", "--as", "nyu", "--frames", str(FRAMES), "--out", str(out)], refuses=True
        ),
        "synthesize recording": Job(
            lambda out: ["synthesize", "--as", "recording", "--frames", "40", "--out", str(out)], refuses=True
        ),
        "data pack": Job(lambda out: ["data", "pack", data, "--frames-per-shard", "4", "--out", str(out)]),
        "record": Job(lambda out: ["record", "virtual", "--frames", "40", "--out", str(out)], refuses=True),
        "evaluate": Job(lambda out: ["evaluate", "--data", data, "--out", str(out)], refuses=True),
        "predict": Job(lambda out: ["predict", data, "--draw", "--out", str(out)], refuses=True),
        "export": Job(lambda out: ["export", str(made / "run"), "--out", str(out / "model.onnx")]),
        "sweep": Job(lambda out: ["sweep", str(made / "sweep.toml"), "--out", str(out)]),
    }


def make_inputs(made: Path) -> None:
    """Rendered data sets, a trained model and a sweep."""
    write_dataset("cvar", FRAMES, made / "cvar", progress=False)
    write_text(made / "sweep.toml", _SWEEP.format(data=made / "cvar"))
    words = ["train", "--data", str(made / "cvar"), "--centers", "label", "--epochs", "regression=1", "--threads", "1"]
    code, _ = run([*words, "--no-shared-latent", "--out", str(made / "run")], made / "log.txt")
    if code:
        raise SystemExit(f"The training of the model failed:\n{(made / 'log.txt').read_text()}")


def run(words: list[str], log: Path, after_s: float | None = None, number: int = 0) -> tuple[int, float]:
    """Run a command in a fork, and send it a signal after some seconds. Returns its exit code and its seconds."""
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_command(words, log)
    sent = after_s is None
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        seconds = time.monotonic() - began
        if found:
            return os.waitstatus_to_exitcode(status), seconds
        if not sent and after_s is not None and seconds >= after_s:
            os.kill(child, number)
            sent = True
        if seconds > _LONGEST_S:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return 124, seconds
        time.sleep(0.002)


def _be_command(words: list[str], log: Path) -> None:
    """Become the command line. Never returns."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(file, stream)
        if words[0] == "export":
            # torch's exporter waits for ever in a fork of a process that has used torch.
            os.execv(sys.executable, [sys.executable, "-m", "crossnets", *words])
        # Marked as set, so that a training does not start itself again to set it.
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=0"
        sys.argv = ["crossnets", *words]
        cli.main()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def damaged(folder: Path) -> list[str]:
    """Files under their final names that cannot be read whole."""
    found = []
    for path in folder.rglob("*") if folder.is_dir() else ():
        temporary = any(part.endswith((".part", ".partial")) for part in path.relative_to(folder).parts)
        if not path.is_file() or temporary or path.name.startswith("events.out"):
            continue
        try:
            _open(path)
        except FileNotFoundError:
            continue
        except Exception as error:
            found.append(f"{path.relative_to(folder)}: {type(error).__name__}: {str(error)[:200]}")
    return found


def _open(path: Path) -> None:
    """Read a file to its end as what its name says."""
    if path.suffix in (".json", ".unfinished"):
        json.loads(path.read_text())
    elif path.name == "log.jsonl":
        # A training appends to it, and cuts an unfinished last line when it continues.
        for line in path.read_text().split("\n")[:-1]:
            json.loads(line)
    elif path.suffix == ".jsonl":
        text = path.read_text()
        if not text.endswith("\n"):
            raise ValueError("the last line is cut")
        for line in text.splitlines():
            json.loads(line)
    elif path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
    elif path.suffix == ".tar":
        with tarfile.open(path) as tar:
            tar.getmembers()
    elif path.suffix == ".safetensors":
        with safe_open(path, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no dictionary
                tensors.get_tensor(name)
    elif path.suffix == ".npy":
        np.load(path)
    elif path.suffix == ".onnx":
        onnx.checker.check_model(onnx.load(path))


def left_over(folder: Path) -> list[str]:
    """Names of files that a finished command should not leave."""
    ends = (".part", ".partial", ".unfinished")
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.endswith(ends))


@dataclass
class Result:
    """One round."""

    job: str
    signal: str
    finished_before: bool
    """The command ended before the signal, so that nothing was tried."""
    faults: list[str]


def one_round(name: str, job: Job, number: signal.Signals, after_s: float, folder: Path) -> Result:
    """Send one signal, look at the files, and give the command again."""
    out, log = folder / "out", folder / "log.txt"
    words = job.words(out)
    code, seconds = run(words, log, after_s, number)
    faults = damaged(out)
    if code == 124:
        faults.append(f"hung {seconds:.0f} s after {number.name}")
    ended = code == 0 and seconds < after_s
    stopped_well = code == 0 and not ended
    finished = stopped_well and job.refuses and out.is_dir() and not left_over(out)
    if not ended and not finished:
        code, _ = run(words, log)
        faults += damaged(out)
        if code:
            faults.append(f"the same command ended with {code}: {log.read_text()[-600:]}")
    if out.is_dir() and (left := left_over(out)):
        faults.append(f"left behind: {', '.join(left[:5])}")
    if name in ("record", "synthesize recording") and not ended and (out / "camera.json").is_file():
        recording = Recording(out)
        images = len(list(out.glob("*.png")))
        if recording.problems or len(recording) != images:
            faults.append(f"{images} images, {len(recording)} frames, problems {recording.problems[:2]}")
    return Result(name, number.name, ended, faults)


def on_full_disk(name: str, job: Job, room: int, share: float, folder: Path) -> list[str]:
    """Run a command on a disk with a share of the room that it needs, and again after the disk grew. Faults found."""
    disk, log = folder / "disk", folder / "log.txt"
    disk.mkdir()
    size = max(2, int(room * share) // _PAGE) * _PAGE
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], check=True)
    try:
        words = job.words(disk / "out")
        code, _ = run(words, log)
        faults = damaged(disk)
        # A sweep reports the runs that failed. Their logs, which may be on the full disk, have the reason.
        said = "runs failed" if name == "sweep" else "No space left on device"
        if code != (1 if name == "sweep" else 2) or said not in log.read_text():
            faults.append(f"ended with {code}: {log.read_text()[-600:]}")
        subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
        code, _ = run(words, log)
        faults += damaged(disk)
        if code:
            faults.append(f"the same command ended with {code}: {log.read_text()[-600:]}")
        if left := left_over(disk):
            faults.append(f"left behind: {', '.join(left[:5])}")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    for fault in faults:
        print(f"{name}, room for {share:.0%}: {fault}", flush=True)
    return faults


def full_disks(tried: dict[str, Job], folder: Path) -> dict[str, object]:
    """Run every command on disks that are too small. Counts for JSON."""
    faults: list[str] = []
    for name, job in tried.items():
        whole = Path(tempfile.mkdtemp(dir=folder))
        code, _ = run(job.words(whole / "out"), whole / "log.txt")
        if code:
            raise SystemExit(f"{name} fails on a large disk:\n{(whole / 'log.txt').read_text()[-2000:]}")
        files = [path for path in (whole / "out").rglob("*") if path.is_file()]
        room = sum(-(-path.stat().st_size // _PAGE) * _PAGE for path in files)
        for share in _SHARES:
            faults += on_full_disk(name, job, room, share, Path(tempfile.mkdtemp(dir=folder)))
    return {"full disks": len(_SHARES) * len(tried), "commands": list(tried), "faults": faults}


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--rounds", type=int, default=1_000_000, help="most rounds")
    parser.add_argument("--only", nargs="*", default=[], help="commands, such as record")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--full-disk", action="store_true", help="fill disks instead of sending signals; needs root")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    generator = random.Random(given.seed)
    ends = time.monotonic() + 60 * given.minutes
    results: list[Result] = []
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "made"
        make_inputs(made)
        all_jobs = {name: job for name, job in jobs(made).items() if not given.only or name in given.only}
        if given.full_disk:
            counts = full_disks(all_jobs, Path(temporary))
            write_text(given.out, json.dumps(counts, indent=2) + "\n")
            print(json.dumps(counts, indent=2))
            raise SystemExit(bool(counts["faults"]))
        lasts = {}
        for name, job in all_jobs.items():
            folder = Path(temporary) / "whole"
            folder.mkdir()
            code, lasts[name] = run(job.words(folder / "out"), folder / "log.txt")
            if code:
                raise SystemExit(f"{name} fails without a signal:\n{(folder / 'log.txt').read_text()[-2000:]}")
            print(f"{name}: {lasts[name]:.1f} s", flush=True)
            shutil.rmtree(folder)
        while time.monotonic() < ends and len(results) < given.rounds:
            name = list(all_jobs)[len(results) % len(all_jobs)]
            number = SIGNALS[len(results) // len(all_jobs) % len(SIGNALS)]
            folder = Path(tempfile.mkdtemp(dir=temporary))
            after_s = generator.uniform(0.02, lasts[name])
            results.append(one_round(name, all_jobs[name], number, after_s, folder))
            for fault in results[-1].faults:
                print(f"{name}, {number.name} after {after_s:.2f} s: {fault}", flush=True)
            shutil.rmtree(folder)
            write_text(given.out, json.dumps(summary(results), indent=2) + "\n")
    print(json.dumps(summary(results), indent=2))
    raise SystemExit(any(result.faults for result in results))


def summary(results: list[Result]) -> dict[str, object]:
    """Counts over all rounds."""
    sent = [result for result in results if not result.finished_before]
    return {
        "rounds": len(results),
        "signals": len(sent),
        "by command": dict(Counter(result.job for result in sent)),
        "by signal": dict(Counter(result.signal for result in sent)),
        "with a fault": sum(bool(result.faults) for result in sent),
        "faults": [f"{result.job}, {result.signal}: {fault}" for result in results for fault in result.faults],
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    main()
