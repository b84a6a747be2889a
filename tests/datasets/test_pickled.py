"""Pickles of arrays, old and new, and pickles that try to run code or to fill the memory."""

import os
import pickle
import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossnets.datasets.dataset import FrameError
from crossnets.datasets.pickled import MAX_BYTES, numbers_of, read_pickle

LABEL = {
    "camMat": np.diag([614.5, 614.25, 1.0]),
    "handJoints3D": np.arange(63, dtype=np.float32).reshape(21, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big_endian": np.arange(3, dtype=">i4"),
    "flags": np.ones(778, bool),
    "number": np.float64(2.5),
    "objName": "003_cracker_box",
    "objTrans": None,
    "handBoundingBox": [1, 2, 3.5],
}


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def read(path: Path, data: bytes) -> dict[str, Any]:
    path.write_bytes(data)
    return read_pickle(path)


@pytest.mark.parametrize("old_names", [False, True])
@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_every_protocol(tmp_path: Path, protocol: int, old_names: bool) -> None:
    data = pickle.dumps(LABEL, protocol)
    if old_names and protocol < 4:  # later protocols write the length of the name before it
        data = data.replace(b"numpy._core", b"numpy.core")
    found = read(tmp_path / "a.pkl", data)
    for name, value in LABEL.items():
        if isinstance(value, np.ndarray | np.float64):
            numbers = numbers_of(found, name, [np.shape(value)], tmp_path)
            np.testing.assert_array_equal(numbers, np.asarray(value, np.float64))
        else:
            assert found[name] == value
    assert numbers_of(found, "objTrans", [(3,)], tmp_path) is None


def python2(array: np.ndarray, protocol: int) -> bytes:
    """A dictionary with an array as Python 2 pickles it: bytes are its text, and numpy has the old names."""
    raw = array.astype("<f8").tobytes()
    shape = b"(" + b"".join(b"I%d\n" % size for size in array.shape) + b"t"
    if protocol == 0:
        quoted = "'" + "".join(f"\\x{byte:02x}" for byte in raw) + "'"
        text, key = b"S" + quoted.encode() + b"\n", b"S'camMat'\n"
    else:
        text, key = b"T" + struct.pack("<i", len(raw)) + raw, b"U\x06camMat"
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    dtype = b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntb"
    header = b"" if protocol == 0 else b"\x80\x02"
    return header + b"(d" + key + made + b"(I1\n" + shape + dtype + b"I00\n" + text + b"tbs."


@pytest.mark.parametrize("protocol", [0, 2])
def test_arrays_of_python_2(tmp_path: Path, protocol: int) -> None:
    array = np.array([[-0.5, 614.627, 1e-9], [np.pi, 0.0, 255.0]])
    data = python2(array, protocol)
    found = read(tmp_path / "a.pkl", data)
    np.testing.assert_array_equal(numbers_of(found, "camMat", [(2, 3)], tmp_path), array)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("call", "named"),
    [
        (Calls(os.system, "touch {mark}"), "system"),
        (Calls(eval, "__import__('pathlib').Path('{mark}').touch()"), "eval"),
        (Calls(exec, "open('{mark}', 'w')"), "exec"),
        (Calls(open, "{mark}", "w"), "open"),
        (Calls(getattr, "", "join"), "getattr"),
        (Calls(np.load, "{mark}"), "load"),
        (Calls(np.ones, 1 << 40), "ones"),
        (Calls(bytearray, 1 << 40), "bytearray"),
        (Calls(OrderedDict), "OrderedDict"),
    ],
)
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, protocol: int, call: Calls, named: str) -> None:
    mark = tmp_path / "ran"
    function, arguments = call.call
    arguments = tuple(word.format(mark=mark) if isinstance(word, str) else word for word in arguments)
    with pytest.raises(FrameError, match=rf"label\.pkl: .*{named}.*only numpy's arrays.*Nothing was run"):
        read(tmp_path / "label.pkl", pickle.dumps({"camMat": Calls(function, *arguments)}, protocol))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"cposix\nsystem\n(S'touch ran'\ntR.", "posix.system"),
        (b"(S'touch ran'\niposix\nsystem\n.", "make other objects"),
        (b"(cposix\nsystem\nS'touch ran'\no.", "posix.system"),
        (b"cnumpy\nndarray\n(I1000000000\nI1000000000\ntR.", "ARRAY.*Nothing was run"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "make other objects"),
        (b"\x80\x02\x82\x01.", "make other objects"),
        (b"Pname\n.", "make other objects"),
        (b"\x80\x04\x8f.", "make other objects"),
        (b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.", "array of 'O8'"),
        (b"cnumpy\ndtype\n}S'x'\nI1\nsb.", "fills"),
        (b"}}S'__class__'\nNsb.", "fills"),
        (b"I1\n.", "found a pickled int, expected a dictionary"),
        (b"}", "cannot be read"),
        (b"\x80\x09}.", "unsupported pickle protocol"),
        (b"hello", "cannot be read"),
        (b"", "the label file is empty"),
    ],
)
def test_hostile_and_damaged_pickles_are_refused(tmp_path: Path, data: bytes, says: str) -> None:
    with pytest.raises(FrameError, match=says):
        read(tmp_path / "label.pkl", data)
    assert list(tmp_path.iterdir()) == [tmp_path / "label.pkl"]


ENCODED = b"c_codecs\nencode\nq\x00(h\x01S'latin1'\ntR0"


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x04}r\xff\xff\xff\x7f.",  # a place in the memo
        b"}p9999999999\n.",
        b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"a.",  # bytes
        b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"a.",  # text
        b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"a.",  # bytes that can be changed
        b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"}.",  # a frame
        b"\x8b" + struct.pack("<i", (1 << 31) - 1) + b"\x01.",  # a whole number
        b"X" + struct.pack("<I", 100_000) + b"a" * 100_000 + b"q\x01" + ENCODED * 5_000 + b"}.",  # one text many times
    ],
)
def test_a_pickle_asks_in_vain_for_memory(tmp_path: Path, data: bytes) -> None:
    tracemalloc.start()
    try:
        # What it asks for is refused, or is not there although the rest is a valid dictionary.
        with pytest.raises(FrameError, match=r"label\.pkl"):
            numbers_of(read(tmp_path / "label.pkl", data), "camMat", [(3, 3)], tmp_path / "label.pkl")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_large_pickles_are_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=f"expected a plain file of at most {MAX_BYTES} bytes"):
        read(tmp_path / "label.pkl", bytes(MAX_BYTES + 1))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "has no 'joints'; it has other"),
        ([1.0, 2.0], "'joints' is list, expected an array of 21 x 3 or 3"),
        (np.zeros((20, 3)), r"has the shape \(20, 3\), expected 21 x 3 or 3"),
        (np.array(["a"]), "cannot be read: it has an array of 'U1'"),
        (np.array([None]), "cannot be read: it has an array of 'O8'"),
        (np.array([1j]), "cannot be read: it has an array of 'c16'"),
    ],
)
def test_wrong_values_are_reported(tmp_path: Path, value: Any, says: str) -> None:
    label = {"other": 1} if value is None else {"joints": value}
    with pytest.raises(FrameError, match=says):
        numbers_of(read(tmp_path / "a.pkl", pickle.dumps(label, 2)), "joints", [(21, 3), (3,)], tmp_path / "a.pkl")


@pytest.mark.parametrize("shape", ["(I3\nI4\nt", "(I-1\nI-9\nt", "(F3.0\nI3\nt", "I9\n"])
def test_a_shape_that_its_bytes_do_not_have_is_refused(tmp_path: Path, shape: str) -> None:
    data = python2(np.zeros((3, 3)), 2).replace(b"(I3\nI3\nt", shape.encode())
    with pytest.raises(FrameError, match=r"'camMat' (is damaged|has the shape)"):
        numbers_of(read(tmp_path / "a.pkl", data), "camMat", [(3, 3)], tmp_path / "a.pkl")
