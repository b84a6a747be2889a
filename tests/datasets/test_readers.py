"""Round trips of the published formats, and messages of the readers about broken files."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from crossnets.datasets.cvar import CVAR
from crossnets.datasets.dataset import FrameError, HandDataset, Problem, readable_frames
from crossnets.datasets.icvl import ALL_PARTS, ICVL
from crossnets.datasets.msra import MSRA
from crossnets.geometry.camera import project
from tests.datasets.make import Made, edit_line, edit_word, make_cvar, make_icvl, make_msra, write_png16


def check_round_trip(dataset: HandDataset, made: Made, tolerance_mm: float = 0.01) -> None:
    assert dataset.problems == []
    assert len(dataset) == len(made.joints_mm)
    for i in range(len(dataset)):
        frame = dataset[i]
        assert frame.joints_mm is not None
        assert frame.sequence == dataset.sequence_of(i)
        assert_allclose(frame.joints_mm, made.joints_mm[i], atol=tolerance_mm)
        assert_array_equal(frame.depth_mm, made.depth_mm[i])
        # This checks the signs of the axes. Each joint must lie on its blob in the image.
        u, v = np.rint(project(frame.joints_mm, frame.camera)[:, :2]).astype(int).T
        assert (np.abs(frame.depth_mm[v, u] - frame.joints_mm[:, 2]) < 15).all()
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    assert dataset[-1].key == dataset[len(dataset) - 1].key


def test_icvl_test_round_trip(tmp_path: Path) -> None:
    dataset = ICVL(make_icvl(tmp_path).root, "test")
    check_round_trip(dataset, make_icvl(tmp_path))
    assert [dataset.sequence_of(i) for i in range(4)] == ["seq1", "seq1", "seq2", "seq2"]
    assert dataset[3].key == "icvl/test/test_seq_2/image_0001"
    assert len(ICVL(tmp_path, "test", ("seq2",))) == 2


def test_icvl_both_sequences_in_one_label_file(tmp_path: Path) -> None:
    made = make_icvl(tmp_path)
    parts = [tmp_path / "Testing" / f"test_seq_{i}.txt" for i in (1, 2)]
    (tmp_path / "Testing/labels.txt").write_text("".join(part.read_text() for part in parts))
    for part in parts:
        part.unlink()
    check_round_trip(ICVL(tmp_path, "test"), made)


def test_icvl_training_parts(tmp_path: Path) -> None:
    make_icvl(tmp_path, "train")
    dataset = ICVL(tmp_path, "train")
    assert [dataset.sequence_of(i) for i in range(len(dataset))] == ["201403121135"] * 2 + ["45"] * 2
    assert len(ICVL(tmp_path, "train", ALL_PARTS)) == 6
    with pytest.raises(ValueError, match=r"No line of .*labels\.txt starts with 112-5; its first is '2014"):
        ICVL(tmp_path, "train", ("112-5",))


def test_icvl_background(tmp_path: Path) -> None:
    """A test frame loses depth of 500 mm and more. A training frame loses only pixels without depth."""
    make_icvl(tmp_path, "test")
    make_icvl(tmp_path, "train")
    assert ICVL(tmp_path, "test")[0].depth_mm.max() < 500
    assert ICVL(tmp_path, "train")[0].depth_mm.max() == 700
    assert ICVL(tmp_path, "train")[1].depth_mm.min() == 0
    assert ICVL(tmp_path, "train")[1].depth_mm.max() < 500


@pytest.mark.parametrize("name", ["cvar", "icvl"])
def test_frame_with_two_labels_is_left_out(tmp_path: Path, name: str) -> None:
    if name == "cvar":
        make_cvar(tmp_path, frames=3)
    else:
        make_icvl(tmp_path, frames=3)
    path = tmp_path / ("P1/joint.txt" if name == "cvar" else "Testing/test_seq_1.txt")
    lines = path.read_text().splitlines()
    first = 1 if name == "cvar" else 0
    lines[first + 1] = lines[first].split()[0] + " " + lines[first + 1].split(" ", 1)[1]
    path.write_text("\n".join(lines) + "\n")
    dataset = CVAR(tmp_path) if name == "cvar" else ICVL(tmp_path, "test", ("seq1",))
    assert len(dataset) == 1
    (problem,) = dataset.problems
    assert "a second label of" in problem.what
    assert problem.line == first + 2


def test_icvl_missing_sequence_is_refused(tmp_path: Path) -> None:
    make_icvl(tmp_path)
    (tmp_path / "Testing/test_seq_2.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no ICVL labels at .*test_seq_2\.txt"):
        ICVL(tmp_path, "test")
    with pytest.raises(ValueError, match=r"test sequences seq3 of .* which has seq1, seq2"):
        ICVL(tmp_path, "test", ("seq3",))


def test_msra_round_trip(tmp_path: Path) -> None:
    made = make_msra(tmp_path, ("P0", "P3"), ("1", "TIP"))
    dataset = MSRA(tmp_path)
    check_round_trip(dataset, made)
    assert [dataset[i].key for i in (0, 3, 7)] == ["msra/P0/1/000000", "msra/P0/TIP/000001", "msra/P3/TIP/000001"]
    assert len(MSRA(tmp_path, ("P3",))) == 4
    with pytest.raises(ValueError, match=r"the subjects P8 of .* which has P0, P3"):
        MSRA(tmp_path, ("P8",))


def test_msra_axes_are_flipped(tmp_path: Path) -> None:
    """In joint.txt the fingertips of a raised hand have larger y than the wrist, and every z is negative."""
    make_msra(tmp_path)
    numbers = np.array((tmp_path / "P0/1/joint.txt").read_text().split()[1:64], float).reshape(21, 3)
    assert numbers[8, 1] > numbers[0, 1]
    assert (numbers[:, 2] < 0).all()
    joints_mm = MSRA(tmp_path)[0].joints_mm
    assert joints_mm is not None
    assert joints_mm[8, 1] < joints_mm[0, 1]


BINS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda b: b"", "the image file is empty"),
    "header": (lambda b: b[:20], "found 20 bytes, expected a header of 24"),
    "truncated": (lambda b: b[:-5], r"bytes, expected \d+ for the box"),
    "too long": (lambda b: b + b"1234", r"bytes, expected \d+ for the box"),
    "size": (lambda b: struct.pack("<2i", 640, 480) + b[8:], "says 640x480 pixels, expected 320x240"),
    "huge": (lambda b: struct.pack("<6i", 320, 240, 0, 0, 2**31 - 1, 2**31 - 1) + b[24:], "leaves the image"),
    "negative": (lambda b: struct.pack("<6i", 320, 240, -5, 0, 9, 9) + b[24:], "leaves the image"),
    "no box": (lambda b: struct.pack("<6i", 320, 240, 9, 9, 9, 9), "is empty or leaves"),
    "nan": (lambda b: b[:-4] + struct.pack("<f", np.nan), "negative or not finite"),
    "behind": (lambda b: b[:-4] + struct.pack("<f", -1.0), "negative or not finite"),
}


@pytest.mark.parametrize("name", BINS)
def test_msra_broken_bin(tmp_path: Path, name: str) -> None:
    change, message = BINS[name]
    make_msra(tmp_path)
    path = tmp_path / "P0/1/000000_depth.bin"
    path.write_bytes(change(path.read_bytes()))
    dataset = MSRA(tmp_path)
    with pytest.raises(FrameError, match=message) as caught:
        dataset[0]
    assert caught.value.problem.path == path
    problems: list[Problem] = []
    assert [index for index, _ in readable_frames(dataset, problems)] == [1]
    assert len(problems) == 1


def test_msra_missing_image_and_empty_label_file(tmp_path: Path) -> None:
    make_msra(tmp_path, gestures=("1", "2"))
    (tmp_path / "P0/1/000000_depth.bin").unlink()
    (tmp_path / "P0/2/joint.txt").write_text("")
    dataset = MSRA(tmp_path)
    assert len(dataset) == 2
    assert "found 2 rows, but 1 images" in dataset.problems[0].what
    assert "is empty" in dataset.problems[1].what
    with pytest.raises(FrameError, match=r"000000_depth\.bin: the image is missing"):
        dataset[0]


def test_cvar_round_trip(tmp_path: Path) -> None:
    made = make_cvar(tmp_path, {"P1": 1.0, "P4": 0.9}, wide=("P1",))
    dataset = CVAR(tmp_path)
    check_round_trip(dataset, made)
    assert [dataset[i].key for i in (0, 3)] == ["cvar/P1/000000", "cvar/P4/000001"]
    assert [dataset.sequence_of(i) for i in range(4)] == ["P1", "P1", "P4", "P4"]
    assert len(CVAR(tmp_path, ("P4",))) == 2


def test_cvar_missing_image(tmp_path: Path) -> None:
    make_cvar(tmp_path)
    (tmp_path / "P1/000000_depth.png").unlink()
    dataset = CVAR(tmp_path)
    assert [dataset[i].key for i in range(len(dataset))] == ["cvar/P1/000001"]
    assert str(dataset.problems[0]) == f"{tmp_path}/P1/joint.txt:2: the image 000000_depth.png of this row is missing"


def test_cvar_last_column_must_be_empty(tmp_path: Path) -> None:
    make_cvar(tmp_path, wide=("P1",))
    path = tmp_path / "P1/000000_depth.png"
    raw = np.array(Image.open(path))
    raw[100, 320] = 600
    write_png16(path, raw)
    with pytest.raises(FrameError, match="column 320 holds depth"):
        CVAR(tmp_path)[0]


COUNTS = {
    "3": "the first line counts 3 rows, but 2 follow",
    "two": "found 'two', expected",
    "1 2": "found '1 2', expected",
}


@pytest.mark.parametrize("line", COUNTS)
@pytest.mark.parametrize("reader", [CVAR, MSRA])
def test_wrong_count_line_is_reported(tmp_path: Path, reader: type[CVAR] | type[MSRA], line: str) -> None:
    made = (make_cvar if reader is CVAR else make_msra)(tmp_path)
    path = tmp_path / ("P1/joint.txt" if reader is CVAR else "P0/1/joint.txt")
    edit_line(path, 1, (None, line))
    dataset = reader(tmp_path)
    assert (dataset.problems[0].path, dataset.problems[0].line) == (path, 1)
    assert COUNTS[line] in dataset.problems[0].what
    dataset.problems.clear()
    check_round_trip(dataset, made)


def test_missing_count_line_is_reported(tmp_path: Path) -> None:
    made = make_msra(tmp_path)
    path = tmp_path / "P0/1/joint.txt"
    path.write_text(path.read_text().split("\n", 1)[1])
    dataset = MSRA(tmp_path)
    assert "found 63 words, expected the number of rows alone" in dataset.problems.pop().what
    check_round_trip(dataset, made)


def test_msra_blank_line_does_not_shift_later_rows(tmp_path: Path) -> None:
    make_msra(tmp_path, n=3)
    edit_line(tmp_path / "P0/1/joint.txt", 3, (None, ""))
    dataset = MSRA(tmp_path)
    assert [dataset[i].key for i in range(2)] == ["msra/P0/1/000000", "msra/P0/1/000002"]
    assert "found 0 numbers, expected 63" in str(dataset.problems[0])


def test_cvar_wrong_number_of_detections_is_reported(tmp_path: Path) -> None:
    make_cvar(tmp_path)
    edit_line(tmp_path / "P1/detections.txt", 3, (None, ""))
    problems = CVAR(tmp_path).problems
    assert "the first line counts 2 rows, but 1 follow" in problems[0].what
    assert "found 1 detections, but joint.txt has 2 rows" in problems[1].what


BROKEN_LINES = [
    (4, "", "numbers, expected"),
    (4, "12.5 13.5", "numbers, expected"),
    (4, "nan", "joint 1 is not finite"),
    (4, "-inf", "joint 1 is not finite"),
    (4, "1e40", "a coordinate of 1e+40, expected at most"),
    (4, "l2.5", "found 'l2.5' where a number was expected"),
    (6, "0", "joint 1 has a depth of 0 mm, expected more than 0"),
]


@pytest.mark.parametrize("name", ["icvl", "cvar"])
def test_a_pixel_far_beside_the_image_is_refused(tmp_path: Path, name: str) -> None:
    """Column and depth are both below the limit, but the joint lies 36 km beside the camera."""
    make, labels, line = {
        "icvl": (make_icvl, "Testing/test_seq_1.txt", 1),
        "cvar": (make_cvar, "P1/joint.txt", 2),
    }[name]
    make(tmp_path)
    edit_word(tmp_path / labels, line, 4, "90000")
    edit_word(tmp_path / labels, line, 6, "90000")
    dataset = ICVL(tmp_path, "test", ("seq1",)) if name == "icvl" else CVAR(tmp_path)
    (problem,) = dataset.problems
    assert (problem.path, problem.line) == (tmp_path / labels, line)
    assert "expected at most" in problem.what


@pytest.mark.parametrize(("word", "new", "message"), BROKEN_LINES)
@pytest.mark.parametrize("name", ["icvl", "msra", "cvar"])
def test_broken_label_line(tmp_path: Path, name: str, word: int, new: str, message: str) -> None:
    opened: dict[str, tuple[Callable[[Path], object], Callable[[Path], HandDataset], str, int]] = {
        "icvl": (make_icvl, lambda root: ICVL(root, "test", ("seq1",)), "Testing/test_seq_1.txt", 1),
        "msra": (make_msra, MSRA, "P0/1/joint.txt", 2),
        "cvar": (make_cvar, CVAR, "P1/joint.txt", 2),
    }
    make, reader, labels, line = opened[name]
    make(tmp_path)
    edit_word(tmp_path / labels, line, word - (name == "msra"), new)
    dataset = reader(tmp_path)
    (problem,) = dataset.problems
    assert (problem.path, problem.line) == (tmp_path / labels, line)
    assert message in problem.what
    assert len(dataset) == 1
    # The valid row still belongs to its own image.
    assert dataset[0].key.endswith(("image_0001", "000001"))


@pytest.mark.parametrize("image", ["../../etc/passwd", "/etc/passwd"])
def test_image_path_outside_of_the_data_set_is_refused(tmp_path: Path, image: str) -> None:
    make_icvl(tmp_path)
    edit_word(tmp_path / "Testing/test_seq_1.txt", 1, 0, image)
    assert "expected a path inside the data set" in ICVL(tmp_path, "test").problems[0].what


def test_binary_label_file_is_reported(tmp_path: Path) -> None:
    make_cvar(tmp_path)
    (tmp_path / "P1/joint.txt").write_bytes(bytes(range(256)) * 20)
    dataset = CVAR(tmp_path)
    assert len(dataset) == 0
    assert dataset.problems
