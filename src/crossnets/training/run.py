"""The run folder: config.json, environment.json, log.jsonl, TensorBoard events, checkpoint and model."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from crossnets.atomic import make_folder, staying, write_text
from crossnets.datasets.dataset import PROBLEMS_FILE
from crossnets.json_text import parse_json
from crossnets.processor import processor_name
from crossnets.training.config import TrainConfig
from crossnets.training.schedule import EXTENDABLE

CROPS = "crops"
"""Folder of what a training keeps of its frames, until it is finished."""
_CROPS = (
    "crops.json",
    "crops.npy",
    "others.bin",
    "others.json",
    "patches.bin",
    "patches.json",
    "rendered.json",
    "rendered.npy",
)
_LOCK = ".lock"
LEFT_OUT = "left_out.txt"
"""Names of the frames that are not trained on because of their labels."""
_BEFORE = (CROPS, PROBLEMS_FILE, LEFT_OUT, _LOCK)
"""Names that may be in the folder before a run begins. Files that a kill cut short end in .part, see
`crossnets.atomic`."""
_BITS = ("packages", "processor", "device", "threads", "git", "git_changes")
"""Parts of the environment that the last bits of a training depend on."""
_IGNORED = ("train.rendered.workers", "train.scenes.workers")
"""Settings of runs before version 0.2, when the number of rendering processes was part of a training."""
_MAY_CHANGE = ("train.checkpoint_s",)
"""Settings that a resumed run may have another value of, because the result does not depend on them."""
_NO_LONGER = ("train.crop.", "train.terms.", "train.passes")
"""Settings that older runs wrote down although their preset did not use them."""
_SINCE = {"train.rendered.uses": 2, "train.scenes.uses": 2} | {
    f"train.{place}.anny": 0.0
    for camera in range(4)
    for place in (f"rendered.sources.{camera}", f"scenes.sources.{camera}.hands")
}
"""Settings that older runs did not write down, with the value they had."""
_RENAMED = {"train.looks": "train.passes"}
"""Settings that older runs wrote down under another name."""
_SHOWN = 60
_PACKAGES = ("crossnets", "torch", "numpy", "opencv-python-headless", "safetensors")


def request_of(config: TrainConfig, data: dict[str, Any]) -> dict[str, Any]:
    """Identity of a run. A resume must ask for the same."""
    return json.loads(json.dumps({"train": asdict(config), "data": data}))


def begin(run: Path, request: dict[str, Any], plan: list[int], device: str) -> None:
    """Write a new run's config and environment."""
    write_text(run / "config.json", json.dumps({**request, "plan": plan}, indent=2) + "\n")
    write_text(run / "environment.json", json.dumps(environment(device), indent=2) + "\n")


def read(run: Path) -> dict[str, Any] | None:
    """The config of a run that was begun; None for a folder that is empty or not there.

    Raises:
        FileExistsError: the folder holds something else.
        ValueError: its config cannot be read.
    """
    path = run / "config.json"
    if not path.is_file():
        if run.is_dir() and (_others(run, _BEFORE) or _others(run / CROPS, _CROPS)):
            raise FileExistsError(f"{run} holds files, but no run of crossnets. Give --out a new folder.")
        return None
    try:
        found = parse_json(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}. Give --out a new folder.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not the config of a run. Give --out a new folder.")
    return found


def _others(folder: Path, names: tuple[str, ...]) -> list[Path]:
    """Names in a folder other than these, whole or in part."""
    return [p for p in folder.glob("*") if p.name not in names and p.suffix != ".part"]


@contextmanager
def held(run: Path) -> Iterator[dict[str, Any] | None]:
    """Result of `read`, while no other training may use the folder.

    Raises:
        FileExistsError, ValueError: as `read`; or another training is there.
        FolderGoneError: it was moved or deleted meanwhile.
    """
    read(run)  # before anything is written into what may be somebody's folder
    make_folder(run)
    try:
        with FileLock(run / _LOCK, timeout=0), staying(run):
            yield read(run)
    except Timeout as error:
        raise ValueError(
            f"Another training is running in {run}. Wait for it, or give --out a folder of its own."
        ) from error


def remove_crops(run: Path) -> None:
    """Remove what a training kept of its frames, and nothing else."""
    folder = run / CROPS
    for path in [*folder.glob("*.part"), *(folder / name for name in _CROPS)]:
        path.unlink(missing_ok=True)
    with suppress(OSError):  # it is not there, or not empty
        folder.rmdir()


def extend(
    run: Path, found: dict[str, Any], request: dict[str, Any], plan: list[int], starts: list[int]
) -> dict[str, Any]:
    """Replace a finished run's config by that of a longer training, and return it.

    Args:
        run: Folder of the run.
        found: Its config.
        request: Identity of the longer training.
        plan: Steps of each stage.
        starts: Steps of each stage that are done. A stage that is not trained longer starts at its end.
    """
    config = {**request, "plan": plan, "extensions": [*extensions(found), {"plan": found["plan"], "starts": starts}]}
    write_text(run / "config.json", json.dumps(config, indent=2) + "\n")
    return config


def extensions(found: dict[str, Any]) -> list[dict[str, list[int]]]:
    """The times that a run was trained longer, each with the plan before and the steps that it started from."""
    return found.get("extensions", [])


def check_same(run: Path, found: dict[str, Any], request: dict[str, Any], hint: str = "") -> None:
    """Refuse to resume a run with other settings than it was begun with.

    Raises:
        ValueError: names each setting that differs, and gives the hint.
    """
    differing = differences(found, request)
    if differing:
        listed = "; ".join(f"{key}: {old!r} there, {new!r} asked" for key, (old, new) in list(differing.items())[:6])
        raise ValueError(
            f"{run} was begun with other settings ({listed}). Repeat those, or give --out a new folder.{hint}"
        )


def differences(found: dict[str, Any], request: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, each with the value of the run and the value that is asked for."""
    old, new = _flat({k: found.get(k) for k in request}), _flat(request)
    old = {_RENAMED.get(key, key): value for key, value in old.items()}
    old = {**{key: value for key, value in _SINCE.items() if key in new}, **old}
    gone = {key for key in old.keys() - new.keys() if key.startswith(_NO_LONGER)}
    keys = sorted(old.keys() | new.keys())
    return {
        key: (old.get(key), new.get(key))
        for key in keys
        if old.get(key) != new.get(key) and key not in {*_IGNORED, *_MAY_CHANGE, *gone}
    }


def applied(found: dict[str, Any], config: TrainConfig) -> list[str]:
    """Settings that a resumed run has another value of than when it began."""
    old, new = _flat({"train": found.get("train")}), _flat({"train": asdict(config)})
    return [
        f"{key.removeprefix('train.')} was {old[key]!r}, is {new[key]!r}"
        for key in _MAY_CHANGE
        if key in old and old[key] != new[key]
    ]


def is_longer(found: dict[str, Any], request: dict[str, Any]) -> bool:
    """Whether nothing differs but the length of stages that may be extended."""
    names = [stage["name"] for stage in request["train"]["stages"]]
    rows = [row for row, name in enumerate(names) if name in EXTENDABLE]
    allowed = {f"train.stages.{row}.{field}" for row in rows for field in ("epochs", "min_steps")} | {"data.budget"}
    differing = differences(found, request).keys()
    return bool(differing) and differing <= allowed


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = ((str(number), entry) for number, entry in enumerate(value))
    else:
        return {prefix: value}
    return {k: v for name, entry in items for k, v in _flat(entry, f"{prefix}.{name}".lstrip(".")).items()}


def changes(run: Path, device: str) -> list[str]:
    """Differences of the environment since the run began, because of which it does not go on bit for bit. Empty if
    nothing changed or nothing is known."""
    try:
        old = parse_json((run / "environment.json").read_text("utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(old, dict):
        return []
    old, new = _flat({key: old.get(key) for key in _BITS}), _flat({key: environment(device)[key] for key in _BITS})
    differing = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    return [f"{key} was {str(old.get(key))[:_SHOWN]!r}, is {str(new.get(key))[:_SHOWN]!r}" for key in differing]


def environment(device: str) -> dict[str, Any]:
    """Versions, machine and git state of this process."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "processor": processor_name(),
        "device": device,
        "threads": torch.get_num_threads(),
        "git": _git("rev-parse", "HEAD"),
        "git_changes": _git("status", "--porcelain"),
        "environment": {
            k: v for k, v in os.environ.items() if k in ("GLIBC_TUNABLES", "LD_PRELOAD", "OMP_NUM_THREADS")
        },
    }


def _git(*words: str) -> str | None:
    """Output of git in the checkout that the package runs from. None outside a checkout."""
    try:
        here = Path(__file__).parent
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
