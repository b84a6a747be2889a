"""Fixtures that the tests of several readers share."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy of the data set that the module has written, which a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "set"))
