"""Reader of pickled dictionaries of numbers, text and numpy arrays. It imports and calls nothing that a pickle names.

HO-3D and H2O-3D keep their labels in pickles. Python's unpickler imports and calls what a pickle names, so a pickle of
a stranger can run any code. This reader knows the names that numpy's arrays need, old and new. They become marks of our
own, and the arrays are made from their bytes. Every other name is refused, and so are the instructions that make other
objects.
"""

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float64

from crossnets.datasets.file_checks import broken, read_file

MAX_BYTES = 1 << 20
"""A larger pickle is refused, because a byte of a pickle can become 70 bytes of memory."""


class _Mark(Enum):
    """Stands for something that a pickle names. It can't be called."""

    RECONSTRUCT = "makes an array without contents"
    FROM_BUFFER = "makes an array of bytes"
    ARRAY = "the class of arrays"
    DTYPE = "makes a data type"
    SCALAR = "makes a number"
    ENCODE = "makes bytes of a text"


_NAMES: dict[tuple[str, str], _Mark] = {
    ("numpy", "ndarray"): _Mark.ARRAY,
    ("numpy", "dtype"): _Mark.DTYPE,
    ("_codecs", "encode"): _Mark.ENCODE,
    **{
        (f"numpy.{core}.{module}", name): mark
        for core in ("core", "_core")
        for module, name, mark in (
            ("multiarray", "_reconstruct", _Mark.RECONSTRUCT),
            ("multiarray", "scalar", _Mark.SCALAR),
            ("numeric", "_frombuffer", _Mark.FROM_BUFFER),
        )
    },
}
"""Names that pickled arrays contain. numpy 2 calls its inner modules `numpy._core`, and older versions `numpy.core`."""
_READ = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP MEMOIZE PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET NONE NEWTRUE "
    "NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE "
    "BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 "
    "TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS GLOBAL STACK_GLOBAL"
)
"""Instructions of pickles that Python's own methods read: numbers, text, lists, dictionaries and names."""
_TYPE = re.compile(r"f[248]|[iu][1248]|b1")


@dataclass
class _DataType:
    """A data type of numbers: kind and size such as `f8`, and the order of its bytes."""

    name: str
    order: str = "<"

    def make(self) -> np.dtype:
        return np.dtype(f"{'>' if self.order == '>' else '<'}{self.name}")


@dataclass
class _Array:
    """An array as the pickle describes it. Its bytes belong to the pickle, and nothing is allocated for it."""

    shape: Any = ()
    dtype: Any = None
    fortran: Any = False
    data: Any = b""

    def numbers(self) -> Float64[np.ndarray, "*N"]:
        """Check the description and copy the numbers.

        Raises:
            ValueError: the description is damaged, or its size is not that of its bytes.
        """
        # Python 2 pickled bytes as text, which is decoded as Latin-1.
        data = self.data.encode("latin-1") if isinstance(self.data, str) else self.data
        sizes = self.shape if isinstance(self.shape, tuple) else (self.shape,)
        if not all(type(size) is int and size >= 0 for size in sizes) or not isinstance(self.dtype, _DataType):
            raise ValueError(f"an array has the shape {str(self.shape)[:60]} and the type {str(self.dtype)[:60]}")
        dtype = self.dtype.make()
        if not isinstance(data, bytes | bytearray) or math.prod(sizes) * dtype.itemsize != len(data):
            size = len(data) if isinstance(data, bytes | bytearray) else 0
            raise ValueError(f"an array of shape {str(sizes)[:60]} and type {dtype} has {size} bytes")
        found = np.frombuffer(data, dtype).reshape(sizes, order="F" if self.fortran else "C")
        return found.astype(np.float64)


class _ArrayUnpickler(pickle._Unpickler):
    """Python's unpickler in Python, with our own instructions where an object is named, made or filled.

    The one in C is not used, because it allocates what a number in the file says before it reads on.
    """

    stack: list[Any]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="latin-1")
        self._left = len(data)

    def find_class(self, module: str, name: str) -> _Mark:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the mark of a name that numpy's arrays need.

        Raises:
            ValueError: the name is another one.
        """
        if (module, name) not in _NAMES:
            raise ValueError(f"it names {f'{module}.{name}'[:80]!r}, but only numpy's arrays are read. Nothing was run")
        return _NAMES[module, name]

    def make(self) -> None:
        """Replace a mark and its arguments on the stack by an array, a data type or bytes."""
        arguments = self.stack.pop()
        mark = self.stack.pop()
        if not isinstance(mark, _Mark) or mark is _Mark.ARRAY or not isinstance(arguments, tuple):
            raise ValueError(f"it calls {str(mark)[:60]!r}, but only numpy's arrays are read. Nothing was run")
        self.stack.append(self._made(mark, arguments))

    def _made(self, mark: _Mark, arguments: tuple[Any, ...]) -> object:
        if mark is _Mark.RECONSTRUCT:
            return _Array()
        if mark is _Mark.FROM_BUFFER:
            data, dtype, shape, order = arguments
            return _Array(shape, dtype, order == "F", data)
        if mark is _Mark.SCALAR:
            dtype, data = arguments
            return _Array((), dtype, False, data)
        if mark is _Mark.DTYPE:
            if not isinstance(arguments[0], str) or not _TYPE.fullmatch(arguments[0]):
                raise ValueError(f"it has an array of {str(arguments[0])[:40]!r}, expected numbers such as 'f8'")
            return _DataType(arguments[0])
        text, _ = arguments
        # One text can be encoded many times, so that a small file would fill the memory.
        self._left -= len(text)
        if self._left < 0:
            raise ValueError("it has more bytes than the file")
        return text.encode("latin-1")

    def fill(self) -> None:
        """Give the contents on the stack to the array or the data type below them."""
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, _Array):
            _, target.shape, target.dtype, target.fortran, target.data = state
        elif isinstance(target, _DataType):
            target.order = state[1]
        else:
            raise ValueError(f"it fills {str(target)[:60]!r}, but only numpy's arrays are read. Nothing was run")

    def read_bytearray(self) -> None:
        """Read bytes that numpy may change. Python's own method allocates them before it reads them."""
        size = int.from_bytes(self.read(8), "little")
        if size > MAX_BYTES:
            raise ValueError(f"it has {size} bytes in one piece")
        self.append(self.read(size))

    def refuse(self) -> NoReturn:
        """Refuse an instruction that makes other objects.

        Raises:
            ValueError: always.
        """
        raise ValueError("it has an instruction to make other objects than numpy's arrays. Nothing was run")


def _instructions() -> dict[int, Callable[[Any], None]]:
    """The method of each instruction by its code."""
    codes = {op.name: ord(op.code) for op in pickletools.opcodes}
    own = pickle._Unpickler.dispatch
    return {
        **dict.fromkeys(range(256), _ArrayUnpickler.refuse),
        **{codes[name]: own[codes[name]] for name in _READ.split()},
        codes["REDUCE"]: _ArrayUnpickler.make,
        codes["BUILD"]: _ArrayUnpickler.fill,
        codes["BYTEARRAY8"]: _ArrayUnpickler.read_bytearray,
    }


_ArrayUnpickler.dispatch = _instructions()


def read_pickle(path: Path) -> dict[str, Any]:
    """Read a pickled dictionary. Its arrays are read by `numbers_of`.

    Raises:
        FrameError: the file is missing, too large or damaged, has another object, or names more than numpy's arrays.
    """
    data = read_file(path, "the label", MAX_BYTES)
    try:
        found = _ArrayUnpickler(data).load()
    # A damaged pickle raises exceptions of many types.
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise broken(path, f"the pickle cannot be read: {reason}") from None
    if not isinstance(found, dict):
        raise broken(path, f"found a pickled {type(found).__name__}, expected a dictionary of labels")
    return found


def numbers_of(
    fields: dict[str, Any], name: str, shapes: Sequence[tuple[int, ...]], path: Path
) -> Float64[np.ndarray, "*N"] | None:
    """Return the array of that name, which must have one of the shapes. None if its value is None.

    Raises:
        FrameError: it is missing, or is not an array of numbers of such a shape.
    """
    if name not in fields:
        listed = ", ".join(str(key)[:20] for key in list(fields)[:8])
        raise broken(path, f"the label has no {name!r}; it has {listed or 'nothing'}")
    if fields[name] is None:
        return None
    expected = " or ".join(" x ".join(map(str, shape)) for shape in shapes)
    if not isinstance(fields[name], _Array):
        raise broken(path, f"{name!r} is {type(fields[name]).__name__}, expected an array of {expected}")
    try:
        array = fields[name].numbers()
    except (ValueError, TypeError) as error:
        raise broken(path, f"{name!r} is damaged: {error}") from None
    if array.shape not in shapes:
        raise broken(path, f"{name!r} has the shape {array.shape}, expected {expected}")
    return array
