"""A disk that is full: every file is whole or absent, and the same call finishes once there is room."""

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from torch import nn

from crossnets import cli
from crossnets.atomic import is_full, replacing
from crossnets.cameras.record import record
from crossnets.datasets.packing import PackConfig, pack
from crossnets.datasets.recording import Recording, RecordingWriter
from crossnets.synth.writing import write_dataset
from crossnets.training import checkpoints
from tests.datasets.make import make_recording
from tests.test_scripts import script
from tests.viewer.stand_ins import Frames

PAGE = 4096


class SmallDisk:
    """A disk in memory, whose free pages a file of no use takes away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def leave(self, pages: int) -> None:
        """Fill the disk except for some pages of 4 KiB."""
        self.free()
        size = shutil.disk_usage(self.folder).free - pages * PAGE
        self._filler.write_bytes(bytes(size))

    def free(self) -> None:
        """Make room."""
        self._filler.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 2 MiB. Only root may mount one."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def record_frames(out: Path) -> None:
    record(Frames(12), out)


def render_nyu(out: Path) -> None:
    write_dataset("nyu", 3, out, progress=False)


def render_recording(out: Path) -> None:
    write_dataset("recording", 4, out, progress=False)


def pack_frames(out: Path) -> None:
    taken = out.parent.parent / "taken"
    if not taken.is_dir():
        make_recording(taken, frames=12)
    pack({"taken": Recording(taken)}, out, PackConfig(frames_per_shard=4))


@pytest.mark.parametrize("call", [record_frames, render_nyu, render_recording, pack_frames])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_a_call_that_fills_the_disk_finishes_once_there_is_room(
    disk: SmallDisk, tmp_path: Path, call: Callable[[Path], None], share: float
) -> None:
    call(tmp_path / "elsewhere" / "out")
    whole = {path.relative_to(tmp_path / "elsewhere") for path in (tmp_path / "elsewhere").rglob("*")}
    sizes = [path.stat().st_size for path in (tmp_path / "elsewhere").rglob("*") if path.is_file()]
    disk.leave(round(share * sum(-(-size // PAGE) for size in sizes)))
    out = disk.folder / "out"
    with pytest.raises(OSError, match="No space left on device"):
        call(out)
    assert script("faults").damaged(out) == []
    disk.free()
    call(out)
    assert {path.relative_to(disk.folder) for path in disk.folder.rglob("*")} == whole
    assert script("faults").damaged(out) == []


def test_the_last_checkpoint_stays_when_the_disk_is_full(disk: SmallDisk) -> None:
    network = nn.Linear(100, 100)
    optimiser = {"joint": torch.optim.Adam(network.parameters())}
    checkpoints.save(disk.folder, checkpoints.Place(0, 1, 1.0), network, optimiser)
    disk.leave(4)
    with pytest.raises(OSError, match=r"No space left on device: .*checkpoint\.safetensors was not written\. Make"):
        checkpoints.save(disk.folder, checkpoints.Place(0, 2, 2.0), network, optimiser)
    assert checkpoints.load_place(disk.folder) == checkpoints.Place(0, 1, 1.0)
    assert not list(disk.folder.glob("*.part"))
    disk.free()
    checkpoints.save(disk.folder, checkpoints.Place(0, 2, 2.0), network, optimiser)
    assert checkpoints.load_place(disk.folder) == checkpoints.Place(0, 2, 2.0)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_errors_of_a_full_disk_name_the_file_and_leave_the_old_one(tmp_path: Path, error: Exception) -> None:
    def write(path: Path) -> None:
        with replacing(path) as part:
            part.write_text("half")
            raise error

    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(OSError, match=r"No space left on device: .*a was not written\. Make room"):
        write(path)
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"]
    assert not is_full(OSError(errno.EACCES, "Permission denied"))


def test_a_stream_that_fills_the_disk_ends_the_command_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: RecordingWriter, depth_mm: np.ndarray, joints_mm: np.ndarray | None = None) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RecordingWriter, "add", full)
    monkeypatch.setattr("sys.argv", ["crossnets", "record", "virtual", "--frames", "2", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "No space left on device. Make room and give the same command again." in capsys.readouterr().err
