"""`crossnets live` from its start to Ctrl-C, and what it says when it cannot start."""

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from crossnets.cli.live import LiveOptions, _tracker, live_command
from crossnets.inference import loading
from tests.viewer.stand_ins import small_recording, unpack


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    folder = small_recording(tmp_path / "small")
    command = [sys.executable, "-m", "crossnets", "live", str(folder), "--no-model", "--port", "0"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}, cwd=tmp_path
    )
    try:
        assert process.stderr is not None
        url = process.stderr.readline().split()[0]
        with urllib.request.urlopen(f"{url}next?after=-1", timeout=10) as answer:
            head, _ = unpack(answer.read())
        assert (head["source"], head["model"]) == (str(folder), None)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in rest


def test_without_a_model_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "SHIPPED", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no model.*--model RUN, or --no-model"):
        live_command("virtual", LiveOptions(port=0))


def test_options_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--keep-s 0"):
        LiveOptions(keep_s=0.0).check()
    with pytest.raises(ValueError, match="give one of them"):
        LiveOptions(model=tmp_path, no_model=True).check()
    with pytest.raises(ValueError, match="--threads 0"):
        LiveOptions(threads=0).check()
    with pytest.raises(FileNotFoundError, match="Found no folder 'nowhere'"):
        live_command("nowhere", LiveOptions(no_model=True, port=0))


def test_the_side_of_all_hands_can_be_given() -> None:
    sides = [_tracker(LiveOptions(side=side)).side for side in ("right", "left", "both")]
    assert sides == ["right", "left", None]
