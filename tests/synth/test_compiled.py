"""Compiled kernels do not outlive their sources."""

from pathlib import Path

import pytest

from crossnets.synth.compiled import cache_folder


def folder_of(sources: Path) -> Path | None:
    cache_folder.cache_clear()
    return cache_folder(sources)


def test_a_change_of_any_source_begins_a_new_folder(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "caller.py").write_text("a")
    (tmp_path / "below" / "called.py").write_text("b")
    first = folder_of(tmp_path)
    assert first is not None
    assert first.parent == tmp_path / "__pycache__"
    assert folder_of(tmp_path) == first
    (tmp_path / "below" / "called.py").write_text("c")
    assert folder_of(tmp_path) != first


def test_an_installation_that_cannot_be_written_to_uses_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "__pycache__").write_text("a file, so no folder can be made in it")
    found = folder_of(sources)
    assert found is not None
    assert found.parent == tmp_path / "home" / ".cache" / "crossnets"


def test_without_any_folder_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert folder_of(tmp_path) is None
    assert "compiled anew" in capsys.readouterr().err
