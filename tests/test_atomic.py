"""Files that appear whole or not at all."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from crossnets.atomic import allocate, write_text


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(OSError, match=r"Cannot make the folder .*taken \(File exists\)\. Name another place"):
        write_text(tmp_path / "taken" / "a.txt", "a")


def test_a_file_gets_its_room(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    images = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(100, 128, 128))
    allocate(path)
    assert path.stat().st_blocks * 512 >= images.nbytes
    assert not images.any()


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    path = tmp_path / "crops.npy.part"
    path.write_bytes(bytes(20_000_000))
    with pytest.raises(OSError, match=r"on a disk that is too full: crops\.npy takes 0\.02 GB, .* GB are free"):
        allocate(path)
