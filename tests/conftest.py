"""Fixtures that several tests share."""

import signal
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings

from tests.type_checks import checked

# The import hook decorates with what stands here while the package is imported.
jaxtyping.jaxtyped = checked

from tests.datasets.make import Made, make_recording  # noqa: E402
from tests.evaluation.tiny import TinyDataset  # noqa: E402

# The examples of `make test` are few and always the same. `make properties` draws many new ones.
settings.register_profile("few", max_examples=20, derandomize=True, deadline=None, database=None)
settings.register_profile("many", max_examples=1000, deadline=None, print_blob=True)
settings.load_profile("few")

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start would too.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real frames, beside the repository; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder


@pytest.fixture
def images(tmp_path: Path) -> Made:
    """Four PNGs in a folder, without camera.json."""
    made = make_recording(tmp_path / "images", frames=4, skeleton=None)
    (made.root / "camera.json").unlink()
    return made


@pytest.fixture
def tiny() -> TinyDataset:
    """Eight frames in two sequences, without files."""
    return TinyDataset()
