"""A short run of `scripts/fuzz.py`, and what it finds in readers that are wrong on purpose."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.opening import open_dataset
from tests.test_scripts import script

FUZZ: ModuleType = script("fuzz")


@pytest.mark.parametrize("name", list(FUZZ.TARGETS))
def test_damaged_files_load_or_are_refused(tmp_path: Path, name: str) -> None:
    session = FUZZ.Session(FUZZ.TARGETS[name](), tmp_path)
    for data in session.target.seeds:
        session.attempt(data)
    assert (session.findings, session.refused) == ({}, {})
    FUZZ.mutations(session, 60.0, seed=0, most=session.executions + 15)
    assert session.findings == {}


def no_error(root: Path) -> None:
    assert (root / "a").is_file()


def refused(root: Path) -> None:
    open_dataset(f"cvar:{root / 'a'}")


def foreign(root: Path) -> None:
    json.loads((root / "a").read_bytes())  # its ValueError does not name the file


def wrong(root: Path) -> None:
    raise KeyError("a")


def out_of_memory(root: Path) -> None:
    try:
        raise MemoryError
    except MemoryError as error:
        raise FrameError(Problem(root, "is damaged")) from error


def hanging(root: Path) -> None:
    time.sleep(5)


def impossible(root: Path) -> None:
    np.array([1.0]) / np.array([0.0])


@pytest.mark.parametrize(
    ("read", "finding"),
    [
        (no_error, None),
        (refused, None),
        (foreign, "JSONDecodeError"),
        (wrong, "KeyError"),
        (out_of_memory, "FrameError"),
        (hanging, "Hang"),
        (impossible, "RuntimeWarning"),
    ],
)
def test_faults_of_readers_are_found(tmp_path: Path, read: Callable[[Path], None], finding: str | None) -> None:
    session = FUZZ.Session(FUZZ.Target({"a": b"{"}, read), tmp_path)
    with FUZZ.limited(0.3):
        found = session.attempt(session.target.seeds[0])
    if finding is None:
        assert found is None
    else:
        assert found is not None
        assert found.startswith(f"{finding} at ")
        assert (tmp_path / "findings" / "1.bin").read_bytes() == b"\0{"


def test_an_input_that_ends_the_process_or_takes_memory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(root: Path) -> None:
        if (root / "a").read_bytes() != b"well":
            os.kill(os.getpid(), signal.SIGKILL)

    def takes(root: Path) -> None:
        if (root / "a").read_bytes() != b"well":
            np.zeros(1 << 31, np.uint8)

    monkeypatch.setitem(FUZZ.TARGETS, "dies", lambda: FUZZ.Target({"a": b"well"}, dies))
    monkeypatch.setitem(FUZZ.TARGETS, "takes", lambda: FUZZ.Target({"a": b"well"}, takes))
    counts = FUZZ.fuzz("dies", 1.5, 0, tmp_path, "mutations")
    assert counts["findings"][0] == "the process ended with -9"
    assert (tmp_path / "dies" / "died-1.bin").is_file()
    if sys.platform == "linux":
        counts = FUZZ.fuzz("takes", 1.5, 0, tmp_path, "mutations")
        assert "MemoryError at test_fuzz.py" in counts["findings"][0]


def test_a_process_that_has_grown_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def grows_twice(name: str, seconds: float, seed: int, out: Path, engine: str) -> None:
        counts = {
            "executions": 5,
            "refused": {"ValueError": 2},
            "slowest_s": 0.1,
            "peak_mib": 300 + seed,
            "findings": [],
        }
        (out / "counts.json").write_text(json.dumps(counts))
        if seed < 9:
            os._exit(FUZZ.GROWN)

    monkeypatch.setattr(FUZZ, "fuzz_here", grows_twice)
    counts = FUZZ.fuzz("pickled", 60, 7, tmp_path, "atheris")
    assert (counts["executions"], counts["refused"], counts["peak_mib"]) == (15, {"ValueError": 6}, 309)
    assert counts["findings"] == []


def test_checksums_are_put_right() -> None:
    png = FUZZ.images().files["0.png"]
    assert FUZZ.with_checksums(png) == png
    damaged = bytearray(png)
    damaged[29] ^= 1
    assert FUZZ.with_checksums(bytes(damaged)) == png
