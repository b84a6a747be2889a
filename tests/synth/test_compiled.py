"""The cache of compiled kernels follows their sources."""

from pathlib import Path

import pytest

from crossnets.synth.compiled import cache_folder


def folder_of(sources: Path) -> Path | None:
    cache_folder.cache_clear()
    return cache_folder(sources)


def test_a_change_of_any_source_starts_a_new_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "caller.py").write_text("a")
    (tmp_path / "below" / "called.py").write_text("b")
    first = folder_of(tmp_path)
    assert first is not None
    assert first.parent == tmp_path / "__pycache__"
    assert "compiling the renderer for this machine, once" in capsys.readouterr().err
    assert folder_of(tmp_path) == first
    assert not capsys.readouterr().err
    (tmp_path / "below" / "called.py").write_text("c")
    assert folder_of(tmp_path) != first


def test_read_only_installation_uses_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    sources = tmp_path / "sources"
    sources.mkdir()
    (sources / "__pycache__").write_text("a file, so no folder can be made in it")
    folder = folder_of(sources)
    assert folder is not None
    assert folder.parent == tmp_path / "home" / ".cache" / "crossnets"


def test_missing_cache_folder_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "__pycache__").write_text("")
    (tmp_path / "home").write_text("")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert folder_of(tmp_path) is None
    assert "compiles the renderer again" in capsys.readouterr().err
