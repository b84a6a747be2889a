"""Checks that the readers share. Each fault is reported with its file and line."""

from pathlib import Path

import pytest

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.file_checks import read_image_bytes, read_lines, require_folder


def test_denied_access_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "a.png").write_bytes(b"depth")
    (tmp_path / "joint.txt").write_bytes(b"1")
    monkeypatch.setattr(Path, "read_bytes", denied)
    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(FrameError, match="cannot be read: Permission denied"):
        read_image_bytes(tmp_path / "a.png")
    with pytest.raises(PermissionError, match=r"cannot be read: permission denied.*chmod"):
        read_lines(tmp_path / "joint.txt", "CVAR")
    with pytest.raises(PermissionError, match=r"cannot be read: permission.*Expected a folder that holds P1"):
        require_folder(tmp_path, "P1")


def test_problem_names_file_and_line() -> None:
    assert str(Problem(Path("a.txt"), "bad", 3)) == "a.txt:3: bad"
    assert str(FrameError(Problem(Path("a.png"), "bad"))) == "a.png: bad"
