"""Commands that are killed or stopped at any moment continue, and nothing that they wrote is lost."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crossnets
from crossnets.atomic import FolderGoneError, UnfinishedMark, held, write_text
from crossnets.cameras import SourceError
from crossnets.cameras.frames import DepthFrame
from crossnets.cameras.record import record
from crossnets.cameras.virtual import VirtualCamera
from crossnets.cli import predict as command
from crossnets.cli.predict import predict
from crossnets.cli.sweep import sweep
from crossnets.datasets.converting import convert
from crossnets.datasets.opening import open_dataset
from crossnets.datasets.packing import PackConfig, pack
from crossnets.datasets.recording import Recording, RecordingWriter
from crossnets.geometry.skeleton import MSRA21
from crossnets.synth.stream import SyntheticHands
from crossnets.synth.writing import write_dataset
from crossnets.types import HandFrame
from tests.datasets.make import make_cvar, make_recording
from tests.viewer.stand_ins import CAMERA, Frames

ROOT = Path(__file__).parents[1]


class Killed(BaseException):
    """Ends a call where a signal would. Nothing catches it, but `finally` runs."""


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["nyu", "recording"])
def test_a_killed_synthesis_continues_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    from crossnets.synth.stream import SyntheticHands

    write_dataset(name, 4, tmp_path / "whole", progress=False)
    drawn, frame = [], SyntheticHands.frame

    def dies(self: SyntheticHands, index: int) -> object:
        drawn.append(index)
        if len(drawn) == 3:
            raise Killed
        return frame(self, index)

    monkeypatch.setattr(SyntheticHands, "frame", dies)
    with pytest.raises(Killed):
        write_dataset(name, 4, tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match=r"holds an unfinished synthesis of another command: settings was"):
        write_dataset(name, 4, tmp_path / "out", seed=1, progress=False)
    write_dataset(name, 4, tmp_path / "out", progress=False)
    whole, out = files_of(tmp_path / "whole"), files_of(tmp_path / "out")
    mat = "dataset/train/joint_data.mat"  # its header holds the time of writing
    assert out.keys() == whole.keys()
    assert all(out[file] == whole[file] for file in whole if not file.endswith(".mat")), mat
    if name == "recording":
        assert drawn[3:] == [2, 3], "whole frames are not rendered again"
    with pytest.raises(FileExistsError, match="not an empty folder"):
        write_dataset(name, 4, tmp_path / "out", progress=False)


def leave_unclosed(out: Path, frames: int, request: dict[str, str]) -> None:
    """What a killed `record` leaves."""
    write_text(out / "recording.unfinished", json.dumps(request))
    writer = RecordingWriter(out, CAMERA, resume=True)
    for number in range(frames):
        writer.add(np.full((24, 32), 300 + number, np.float32))
    (out / f"{frames:06d}.png.part").write_bytes(b"half")


def test_a_killed_recording_of_a_camera_is_continued(tmp_path: Path) -> None:
    source = Frames(5)
    source.live = True
    leave_unclosed(tmp_path / "out", 3, {"source": source.name})
    done = record(source, tmp_path / "out")
    assert (done.frames, done.continued) == (8, 3)
    found = Recording(tmp_path / "out")
    assert len(found) == 8
    assert [found[k].depth_mm.max() for k in range(3)] == [300, 301, 302]
    assert not [path for path in (tmp_path / "out").iterdir() if path.suffix not in (".png", ".json")]
    with pytest.raises(FileExistsError, match="not an empty folder"):
        record(source, tmp_path / "out")


def test_a_source_that_repeats_is_read_from_the_first_missing_frame(tmp_path: Path) -> None:
    record(Frames(6), tmp_path / "whole", frames=5)
    source = Frames(6)
    leave_unclosed(tmp_path / "out", 2, {"source": source.name})
    assert record(source, tmp_path / "out", frames=5).frames == 5
    whole, out = files_of(tmp_path / "whole"), files_of(tmp_path / "out")
    assert out.keys() == whole.keys()
    assert all(out[f"00000{k}.png"] == whole[f"00000{k}.png"] for k in (2, 3, 4))


def test_labels_of_an_unclosed_recording_are_kept(tmp_path: Path) -> None:
    joints = np.full((21, 3), 400, np.float32)
    depth = np.full((24, 32), 400, np.float32)
    writer = RecordingWriter(tmp_path / "out", CAMERA, MSRA21)
    for _ in range(3):
        writer.add(depth, joints)
    writer._labels.close()  # as the end of the process does
    partial = tmp_path / "out" / "labels.jsonl.partial"
    partial.write_text(partial.read_text()[:-40])
    again = RecordingWriter(tmp_path / "out", CAMERA, MSRA21, resume=True)
    assert again.count == 2, "the third frame has no whole label, so it is written again"
    again.add(depth, joints)
    again.close()
    found = Recording(tmp_path / "out")
    assert not found.problems
    assert [found[k].joints_mm is not None for k in range(len(found))] == [True] * 3
    with pytest.raises(ValueError, match="was recorded with the camera"):
        RecordingWriter(tmp_path / "out", CAMERA._replace(depth_unit_mm=0.3), MSRA21, resume=True)


def test_sigterm_closes_a_recording(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "crossnets", "record", "virtual:icvl-senz3d", "--out", "out"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "out" / "000002.png").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        process.terminate()
        process.communicate(timeout=30)
    assert process.returncode == 0
    found = Recording(tmp_path / "out")
    assert not found.problems
    assert found.skeleton is not None
    assert not list((tmp_path / "out").glob("*.unfinished"))


@pytest.mark.parametrize("name", ["nyu", "msra"])
def test_a_folder_that_vanishes_during_a_synthesis_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    out = tmp_path / "out"
    frame = SyntheticHands.frame

    def moving(hands: SyntheticHands, index: int) -> HandFrame:
        if index == 2:
            out.rename(tmp_path / "elsewhere")
        return frame(hands, index)

    monkeypatch.setattr(SyntheticHands, "frame", moving)
    with pytest.raises(FileNotFoundError, match=r"The folder .*out is gone\."):
        write_dataset(name, 4, out, progress=False)


@pytest.mark.parametrize("change", ["moved", "deleted", "made again"])
@pytest.mark.parametrize("fails", [False, True])
def test_a_folder_that_vanishes_while_it_is_held_is_said(tmp_path: Path, change: str, fails: bool) -> None:
    out = tmp_path / "out"
    out.mkdir()

    def work() -> None:
        if change == "deleted":
            out.rmdir()
        else:
            out.rename(tmp_path / "elsewhere")
        if change == "made again":
            out.mkdir()
        if fails:
            (out / "folder" / "file").write_text("")

    with pytest.raises(FolderGoneError, match=r"out is gone\. It was moved or deleted"), held(out, "writes into"):
        work()


def test_errors_of_a_folder_that_stays_are_not_changed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="No such file"), held(tmp_path, "writes into"):
        (tmp_path / "folder" / "file").write_text("")


def test_a_folder_that_vanishes_during_a_training_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from crossnets.training import progress, run
    from tests.training import small

    data = make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 0.8}, frames=4).root
    out = tmp_path / "out"
    step = progress.Reporter.step

    def moving(reporter: progress.Reporter, *of: Any, **more: Any) -> None:
        if out.is_dir() and (out / "checkpoint.safetensors").is_file():
            out.rename(tmp_path / "elsewhere")
        step(reporter, *of, **more)

    monkeypatch.setattr(progress.Reporter, "step", moving)
    hook = threading.excepthook
    with pytest.raises(FolderGoneError, match=r"out is gone\. It was moved or deleted"), run.held(out):
        small.train(data, out)
    assert threading.excepthook is hook
    assert "Traceback" not in capfd.readouterr().err
    assert not out.exists()


def test_a_folder_that_vanishes_during_a_pack_or_a_conversion_is_said(tmp_path: Path) -> None:
    dataset = open_dataset(f"recording:{make_recording(tmp_path / 'hands', frames=4).root}")

    def moving(folder: Path) -> Callable[[int, int], None]:
        def move(done: int, total: int) -> None:
            if done == 2:
                folder.rename(tmp_path / f"{folder.name} elsewhere")

        return move

    with pytest.raises(FolderGoneError, match="packed is gone"):
        pack({"hands": dataset}, tmp_path / "packed", PackConfig(), moving(tmp_path / "packed"))
    with pytest.raises(FolderGoneError, match=r"out\.part is gone"):
        convert(dataset, "recording", tmp_path / "out", on_progress=moving(tmp_path / "out.part"))


def test_a_folder_that_vanishes_during_a_prediction_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_recording(tmp_path / "hands", frames=2)
    out = tmp_path / "out"
    written = command.write_predictions

    def moving(*of: Any, **more: Any) -> int:
        out.rename(tmp_path / "elsewhere")
        return written(*of, **more)

    monkeypatch.setattr(command, "write_predictions", moving)
    with pytest.raises(FolderGoneError, match=r"out is gone\. It was moved or deleted"):
        predict((str(tmp_path / "hands"),), out=out)


def test_a_recording_that_ends_before_its_first_frame_can_begin_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RecordingWriter, "add", interrupted)
        ended = record(VirtualCamera("icvl-senz3d"), tmp_path / "out", frames=2)
    assert (ended.frames, ended.interrupted) == (0, True)
    record(VirtualCamera("icvl-senz3d"), tmp_path / "out", frames=2)
    assert len(Recording(tmp_path / "out")) == 2


def test_predictions_and_sweeps_of_another_process_are_not_mixed(tmp_path: Path) -> None:
    make_recording(tmp_path / "hands", frames=1)
    out = tmp_path / "out"
    out.mkdir()
    with held(out, "predicts into"), pytest.raises(BlockingIOError, match="Another process predicts into"):
        predict((str(tmp_path / "hands"),), out=out)
    assert not list(out.iterdir())
    experiment = tmp_path / "experiment.toml"
    experiment.write_text('[train]\npreset = "paper"\n[[fold]]\nname = "a"\ntrain = { data = "x" }\ntest = "x"\n')
    with held(out, "sweeps into"), pytest.raises(BlockingIOError, match="Another process sweeps into"):
        sweep(experiment, out=out)


def test_a_folder_that_another_process_writes_into_is_refused(tmp_path: Path) -> None:
    other = held(tmp_path, "writes into")
    with held(tmp_path, "writes into"), pytest.raises(BlockingIOError, match="Another process writes into"), other:
        pass
    with held(tmp_path, "writes into"):
        pass


def test_a_mark_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    mark = UnfinishedMark(tmp_path, "evaluation", {"frames": 3})
    assert not mark.is_there()
    mark.set()
    assert mark.is_there()
    (tmp_path / "evaluation.unfinished").write_bytes(b"[" * 100_000)
    with pytest.raises(ValueError, match=r"evaluation\.unfinished cannot be read.*give another folder as --out"):
        mark.is_there()


def test_a_full_disk_ends_a_recording_with_its_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crossnets.datasets import recording

    saved, save = [], recording.save_png

    def full(path: Path, image: np.ndarray) -> None:
        saved.append(path)
        if len(saved) == 4:
            path.with_name(path.name + ".part").write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(path, image)

    monkeypatch.setattr(recording, "save_png", full)
    with pytest.raises(OSError, match="No space left on device"):
        record(Frames(9), tmp_path / "out")
    assert len(Recording(tmp_path / "out")) == 3


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="Cannot make the folder"):
        record(Frames(3), tmp_path / "out")
    tmp_path.chmod(0o700)


def test_a_folder_that_vanishes_ends_a_recording(tmp_path: Path) -> None:
    class Vanishing(Frames):
        def __iter__(self) -> Iterator[DepthFrame]:
            frames = super().__iter__()
            yield from islice(frames, 2)
            (tmp_path / "out").rename(tmp_path / "elsewhere")
            yield from frames

    # The writer makes no second folder under the old name, in which the first frames would be missing.
    with pytest.raises(OSError, match=r"The folder .*out is gone\. 2 frames were written into it"):
        record(Vanishing(6), tmp_path / "out")
    assert len(list((tmp_path / "elsewhere").glob("*.png"))) == 2
    assert not (tmp_path / "out").exists()


BITS = np.frombuffer(np.random.default_rng(0).bytes(4 * 24 * 32), np.float32).reshape(24, 32).copy()
"""Random bits, some of which are signalling NaNs."""
GARBAGE = {
    "nan": np.full((24, 32), np.nan, np.float32),
    "infinite": np.full((24, 32), np.inf, np.float32),
    "negative": np.full((24, 32), -5, np.float32),
    "huge": np.full((24, 32), 1e9, np.float32),
    "bits": BITS,
    "shape": np.full((12, 32), 400, np.float32),
}


@pytest.mark.parametrize("kind", list(GARBAGE))
def test_garbage_of_a_camera_ends_a_recording_with_its_frames(tmp_path: Path, kind: str) -> None:
    class Broken(Frames):
        def __iter__(self) -> Iterator[DepthFrame]:
            frames = super().__iter__()
            yield from islice(frames, 2)
            yield replace(next(frames), depth_mm=GARBAGE[kind])

    with pytest.raises(ValueError, match=r"Expected finite depth from 0 to|Found depth of shape \(12, 32\)"):
        record(Broken(), tmp_path / "out")
    assert len(Recording(tmp_path / "out")) == 2
    assert record(Frames(5), tmp_path / "out").continued == 2


@pytest.mark.filterwarnings("ignore:The principal point", "ignore:No hand was found. The median depth")
def test_garbage_of_a_camera_shows_no_hand() -> None:
    tracker = crossnets.load()
    for depth_mm in (*GARBAGE.values(), np.random.default_rng(1).uniform(0, 65535, (24, 32)).astype(np.float32)):
        for find in (tracker.predict, tracker.track):
            with suppress(ValueError):  # metres, which random bits look like
                assert find(depth_mm, CAMERA.pinhole) == []


def test_a_recording_is_continued_after_its_camera_was_lost(tmp_path: Path) -> None:
    class Lost(Frames):
        def __iter__(self) -> Iterator[DepthFrame]:
            yield from islice(super().__iter__(), 2)
            raise SourceError("it was unplugged")

    with pytest.raises(SourceError, match="unplugged"):
        record(Lost(), tmp_path / "out")
    assert len(Recording(tmp_path / "out")) == 2
    assert record(Frames(5), tmp_path / "out").continued == 2
    assert sorted(path.stem for path in (tmp_path / "out").iterdir()) == [*(f"00000{k}" for k in range(5)), "camera"]


@pytest.mark.slow
def test_signals_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    jobs = ("synthesize nyu", "synthesize recording", "data pack", "record")
    command = [sys.executable, str(ROOT / "scripts" / "faults.py"), "--rounds", "12", "--minutes", "2"]
    done = subprocess.run(
        [*command, "--only", *jobs, "--out", str(tmp_path / "faults.json")],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "faults.json").read_text())
    assert found["faults"] == []
    assert found["signals"] >= 4
    assert set(found["by signal"]) <= {number.name for number in signal.Signals}
