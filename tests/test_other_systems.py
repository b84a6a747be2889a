"""Windows and macOS lack some calls of Linux. Each has a fallback, which these tests force."""

import multiprocessing
import os
import sys
from pathlib import Path

import pytest

from crossnets import atomic
from crossnets.benchmark import fresh
from crossnets.benchmark.processes import Start, _medians
from crossnets.datasets.opening import open_dataset, parse_spec
from crossnets.geometry.skeleton import MSRA21
from crossnets.processor import processor_instructions, processor_name
from crossnets.synth.stream import SyntheticConfig
from crossnets.training.config import RenderedConfig
from crossnets.training.devices import _free_cores
from crossnets.training.rendering import _processes, kept


def test_memory_is_not_reported_without_proc_and_resource(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    assert fresh._resident_mb()[0] is not None  # macOS
    monkeypatch.setitem(sys.modules, "resource", None)
    assert fresh._resident_mb() == (None, None)
    starts = [Start(s, s, s, s, None, None, with_torch=False) for s in (1.0, 2.0, 4.0)]
    assert _medians(starts) == Start(2.0, 2.0, 2.0, 2.0, None, None, with_torch=False)


def test_processor_has_a_name_without_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    assert processor_name()
    assert processor_instructions() == ()


def test_cores_are_counted_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 9)
    assert _free_cores() == 8


def test_rendering_processes_are_spawned_without_forkserver(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _processes().get_start_method() == "forkserver"
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    assert _processes().get_start_method() == "spawn"


def test_folders_are_not_locked_without_fcntl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with atomic.held(tmp_path, "writes"), pytest.raises(BlockingIOError), atomic.held(tmp_path, "writes"):
        pass
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with atomic.held(tmp_path, "writes"), atomic.held(tmp_path, "writes"):
        pass


def test_files_are_written_without_fallocate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    (tmp_path / "a").write_bytes(b"abc")
    atomic.allocate(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"abc"


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs Linux's list of mapped files")
def test_no_file_is_mapped_while_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Windows refuses to rename such a file.
    rename = Path.replace
    renamed = []

    def replace(self: Path, target: Path) -> Path:
        assert str(self) not in Path("/proc/self/maps").read_text()
        renamed.append(self.name)
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    sources = (SyntheticConfig(camera="realsense-sr300", seed=5, cube_mm=(190.0, 290.0)),)
    kept(RenderedConfig(sources=sources, kept_frames=3), MSRA21, tmp_path)
    assert "rendered.npy.part" in renamed


def test_a_drive_is_not_a_format() -> None:
    assert parse_spec("C:\\frames#P1") == (None, Path("C:\\frames"), ("P1",))
    assert parse_spec("cvar:C:\\frames#P1") == ("cvar", Path("C:\\frames"), ("P1",))
    with pytest.raises(FileNotFoundError, match="frames"):
        open_dataset("C:\\frames")
