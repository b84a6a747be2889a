"""Readers that users register."""

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from crossnets.cli.data import Convert, data
from crossnets.cli.evaluate import evaluate
from crossnets.datasets import own_readers
from crossnets.datasets.info import describe
from crossnets.datasets.opening import open_dataset, parse_spec
from crossnets.datasets.own_readers import VARIABLE, reader
from crossnets.datasets.recording import Recording
from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import MSRA21
from tests.datasets.make import Made, hands, make_recording

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_dataset.py"


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_readers, "_registered", {})
    monkeypatch.setattr(own_readers, "_imported", set())
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example's data set: two people, of whom one has a frame without a label and an empty frame."""
    monkeypatch.setenv(VARIABLE, str(EXAMPLE))
    made = frames()
    joints_mm = made.joints_mm.copy()
    joints_mm[1] = np.nan
    depth_mm = made.depth_mm.astype(np.uint16)
    depth_mm[2] = 0
    camera = CAMERAS["msra-senz3d"].pinhole
    for split in ("train", "test"):
        (tmp_path / "people" / split).mkdir(parents=True)
        for name, arrays in (
            ("anna", (made.depth_mm.astype(np.uint16), made.joints_mm)),
            ("bo", (depth_mm, joints_mm)),
        ):
            path = tmp_path / "people" / split / f"{name}.npz"
            np.savez(path, depth_mm=arrays[0], joints_mm=arrays[1], camera=camera)
    return tmp_path / "people"


def frames() -> Made:
    return hands(MSRA21, CAMERAS["msra-senz3d"], 3, 400.0)


def test_the_example_works_wherever_a_data_set_is_named(
    people: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    info = describe(f"people:{people}")
    assert (info.format, info.frames, info.labelled, info.skeleton) == ("people", 5, 4, "msra21")
    assert [sequence.name for sequence in info.sequences] == ["anna", "bo"]
    assert len(info.problems) == 1
    data(Convert(f"people:{people}", "recording", tmp_path / "out"))
    found = Recording(tmp_path / "out", ("anna",))
    assert_array_equal(found[1].depth_mm, frames().depth_mm[1])
    assert found[1].key == "people/train/anna/000001"
    capsys.readouterr()
    evaluate(data=f"people:{people}#anna", out=tmp_path / "scores", json=True)
    assert json.loads(capsys.readouterr().out)["frames"] == 3


def test_the_example_is_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 80


def test_parts_and_paths_are_passed_on(people: Path) -> None:
    assert parse_spec(f"people:{people}#bo") == ("people", people, ("bo",))
    assert len(open_dataset(f"people:{people}#bo", "test")) == 3
    with pytest.raises(FileNotFoundError, match="no file such as anna"):
        open_dataset(f"people:{people}#carl")
    with pytest.raises(FileNotFoundError, match=r"There is no nowhere\. The reader of people expects train and test"):
        open_dataset("people:nowhere")
    with pytest.raises(ValueError, match="The reader of people says its camera itself"):
        open_dataset(f"people:{people}", camera=CAMERAS["msra-senz3d"])


def test_unknown_formats_list_own_ones(people: Path) -> None:
    with pytest.raises(ValueError, match=r"Unknown format 'peeple' .*recording, shards, people, as in"):
        open_dataset(f"peeple:{people}")


def test_a_decorated_function_in_the_same_process(tmp_path: Path) -> None:
    make_recording(tmp_path / "take")

    @reader("mine")
    def opened(path: Path, split: str, parts: tuple[str, ...] | None) -> Recording:
        return Recording(path, parts)

    assert callable(opened)
    assert len(open_dataset(f"mine:{tmp_path / 'take'}")) == 3


def test_an_entry_point_needs_no_decorator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_recording(tmp_path / "take")
    point = EntryPoint("plain", "tests.datasets.test_own_readers:open_plain", own_readers.GROUP)
    monkeypatch.setattr(own_readers, "entry_points", lambda group: [point])
    assert len(open_dataset(f"plain:{tmp_path / 'take'}")) == 3


def open_plain(path: Path, split: str, parts: tuple[str, ...] | None) -> Recording:
    return Recording(path)


@pytest.mark.parametrize(("name", "message"), [("nyu", "'nyu' is built in"), ("a/b", "Invalid name 'a/b'")])
def test_names_that_are_refused(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        reader(name)


def test_readers_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken_reader.py"
    broken.write_text("1 / 0")
    for named, error, message in (
        (str(broken), ValueError, r"broken_reader\.py cannot be imported: ZeroDivisionError"),
        ("no_such_module", ValueError, "no_such_module cannot be imported: ModuleNotFoundError"),
        (str(tmp_path / "none.py"), FileNotFoundError, r"There is no file .*none\.py, which CROSSNETS_READERS names"),
    ):
        monkeypatch.setenv(VARIABLE, named)
        with pytest.raises(error, match=message):
            open_dataset(f"mine:{tmp_path}")


def test_readers_that_return_something_else(tmp_path: Path) -> None:
    @reader("wrong")
    def opened(path: Path, split: str, parts: tuple[str, ...] | None) -> Recording:
        return [path]  # pyright: ignore[reportReturnType]

    assert callable(opened)
    with pytest.raises(ValueError, match="The reader of wrong returned list, expected a HandDataset"):
        open_dataset(f"wrong:{tmp_path}")
