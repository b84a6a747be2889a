"""Compiled kernels do not outlive their sources."""

from pathlib import Path

from crossnets.render.kernel_cache import forget_if_changed


def test_kernels_are_forgotten_when_any_source_changes(tmp_path: Path) -> None:
    (tmp_path / "caller.py").write_text("a")
    (tmp_path / "called.py").write_text("b")
    compiled = tmp_path / "__pycache__" / "caller.nbi"
    assert forget_if_changed(tmp_path)
    compiled.touch()
    assert not forget_if_changed(tmp_path)
    assert compiled.exists()
    (tmp_path / "called.py").write_text("c")
    assert forget_if_changed(tmp_path)
    assert not compiled.exists()
