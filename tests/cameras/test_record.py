"""`crossnets record`: our format, limits, Ctrl-C and cameras that fail."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from crossnets.cameras import SourceError, open_source
from crossnets.cameras.frames import DepthFrame
from crossnets.cameras.pacing import paced
from crossnets.cameras.record import record
from crossnets.datasets.recording import Recording
from tests.viewer.stand_ins import Frames


def test_the_virtual_hand_is_recorded_with_its_joints(tmp_path: Path) -> None:
    counted: list[int] = []
    source = open_source("virtual:icvl-senz3d", seed=3)
    done = record(source, tmp_path / "out", frames=5, progress=counted.append)
    assert (done.frames, done.interrupted, counted) == (5, False, [1, 2, 3, 4, 5])
    assert done.seconds == pytest.approx(4 / 30)
    found = Recording(tmp_path / "out")
    with open_source("virtual:icvl-senz3d", seed=3) as again:
        for frame, expected in zip(islice(again, 5), (found[index] for index in range(5)), strict=True):
            assert np.abs(frame.depth_mm - expected.depth_mm).max() <= 0.5
            assert np.allclose(frame.joints_mm, expected.joints_mm, atol=0.01)
    assert found.skeleton is not None


def test_seconds_count_from_the_first_frame(tmp_path: Path) -> None:
    assert record(Frames(fps=10.0), tmp_path / "out", seconds=1.0).frames == 10


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    record(Frames(3), tmp_path / "out")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        record(Frames(3), tmp_path / "out")
    assert len(Recording(tmp_path / "out")) == 3


def test_nothing_is_made_without_a_frame(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="gave no frame, so nothing was written"):
        record(Frames(0), tmp_path / "out")
    with pytest.raises(ValueError, match="expected at least one frame"):
        record(Frames(3), tmp_path / "out", frames=0)
    assert not (tmp_path / "out").exists()


class Lost(Frames):
    """A camera that is lost after three frames, or interrupted."""

    error: BaseException = SourceError("it was unplugged")

    def __iter__(self) -> Iterator[DepthFrame]:
        yield from islice(super().__iter__(), 3)
        raise self.error


def test_what_was_recorded_before_a_failure_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="unplugged"):
        record(Lost(), tmp_path / "lost", frames=10)
    assert len(Recording(tmp_path / "lost")) == 3


def test_ctrl_c_is_an_end(tmp_path: Path) -> None:
    source = Lost()
    source.error = KeyboardInterrupt()
    assert record(source, tmp_path / "out", frames=10)[::3] == (3, True)
    assert len(Recording(tmp_path / "out")) == 3
    nothing = Frames()
    nothing.__class__ = type("Nothing", (Frames,), {"__iter__": lambda self: islice(_interrupted(), 1)})
    assert record(nothing, tmp_path / "none", frames=10).frames == 0
    assert not (tmp_path / "none").exists()


def _interrupted() -> Iterator[DepthFrame]:
    raise KeyboardInterrupt
    yield


def test_the_command_ends_on_ctrl_c(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crossnets", "record", "virtual:icvl-senz3d", "--out", "out"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env={**os.environ, "COLUMNS": "200"}
    )
    try:
        end = time.monotonic() + 40
        while not (tmp_path / "out" / "000002.png").exists():
            assert time.monotonic() < end
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "until Ctrl-C" in said
    found = Recording(tmp_path / "out")
    assert not found.problems
    assert len(found) >= 3


def test_pacing_keeps_the_speed_but_does_not_hurry() -> None:
    began = time.monotonic()
    assert len(list(paced(Frames(11, fps=50.0)))) == 11
    assert 0.19 < time.monotonic() - began < 2
    waits: list[float] = []
    for count, _ in enumerate(paced(Frames(30, fps=50.0), waits.append)):
        if count == 5:
            time.sleep(0.6)  # more than is caught up with
    assert len(waits) > 20, "those after the delay are waited for, not hurried"
    assert max(waits) < 0.6
