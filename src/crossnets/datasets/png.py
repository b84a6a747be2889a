"""Depth images in PNG files. Each file is checked completely before its pixels are used."""

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8, UInt16

from crossnets.atomic import replacing
from crossnets.datasets.dataset import FrameError
from crossnets.datasets.file_checks import broken, read_image_bytes, size_fault
from crossnets.geometry.camera import CameraPreset

try:
    from zlib_ng import zlib_ng as zlib
# Python's own module makes the same bytes in twice the time.
except ImportError:
    import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_METHODS = bytes(3)
"""Compression, filters and interlacing in the header of a plain PNG."""
_SUB = 1
"""Filter of a row whose bytes are differences from the pixel to the left. OpenCV writes all rows with it."""
_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}


def read_png16(path: Path, sizes: Sequence[tuple[int, int]]) -> UInt16[np.ndarray, "H W"]:
    """Read depth counts from a 16-bit grey PNG, whose (width, height) must be one of `sizes`.

    Raises:
        FrameError: the image is missing, truncated or damaged, or has another type or size.
    """
    return decode_png16(read_image_bytes(path), path, sizes)


def decode_png16(data: bytes, path: Path, sizes: Sequence[tuple[int, int]]) -> UInt16[np.ndarray, "H W"]:
    """Decode the bytes of a PNG as `read_png16` does. `path` names the image in messages.

    Raises:
        FrameError: the image is truncated or damaged, or has another type or size.
    """
    return _decode(data, path, sizes, bits=16, colour=0).astype(np.uint16, copy=False)


def read_png_rgb(path: Path, sizes: Sequence[tuple[int, int]]) -> UInt8[np.ndarray, "H W 3"]:
    """Read an 8-bit RGB PNG, whose (width, height) must be one of `sizes`.

    Raises:
        FrameError: the image is missing, truncated or damaged, or has another type or size.
    """
    return _decode(read_image_bytes(path), path, sizes, bits=8, colour=2)


def is_png(path: Path) -> bool:
    """Whether a file begins like a PNG. Raises OSError if it cannot be read."""
    with path.open("rb") as file:
        return file.read(len(_SIGNATURE)) == _SIGNATURE


def png_size(path: Path) -> tuple[int, int]:
    """Read width and height in pixels from the header of a PNG file.

    Raises:
        FrameError: the file is missing, empty or not a PNG.
    """
    return _header(read_image_bytes(path), path)[:2]


def sized(camera: CameraPreset, images: Sequence[Path]) -> CameraPreset | None:
    """Set the image size of a camera to that of the first readable image. None if no image is readable.

    Intrinsics are valid for one image size only.
    """
    for path in images:
        try:
            width, height = png_size(path)
        except FrameError:
            continue
        return camera._replace(width_px=width, height_px=height)
    return None


def save_png(path: Path, image: UInt16[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"]) -> None:
    """Write a 16-bit grey or 8-bit RGB PNG. The file appears whole or not at all."""
    with replacing(path) as part:
        part.write_bytes(encode_png(image))


def encode_png(image: UInt16[np.ndarray, "H W"] | UInt8[np.ndarray, "H W 3"]) -> bytes:
    """Encode a 16-bit grey or 8-bit RGB image as the bytes of a PNG."""
    done, encoded = cv2.imencode(".png", image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done, f"OpenCV could not encode {image.shape} {image.dtype}"
    return encoded.tobytes()


def _header(data: bytes, path: Path) -> tuple[int, int, int, int]:
    """Read width, height, bits per channel and colour type."""
    if data[:8] != _SIGNATURE[: len(data)]:
        raise broken(path, "the file is not a PNG")
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise broken(path, f"the PNG is truncated or damaged: no header in its {len(data)} bytes")
    return struct.unpack(">IIBB", data[16:26])


def _decode(data: bytes, path: Path, sizes: Sequence[tuple[int, int]], bits: int, colour: int) -> np.ndarray:
    width, height, found_bits, found_colour = _header(data, path)
    if (found_bits, found_colour) != (bits, colour):
        found = f"{found_bits}-bit {_COLOURS.get(found_colour, 'unknown')}"
        nyu = " (NYU's own images are read as nyu:PATH)" if (found_bits, found_colour) == (8, 2) else ""
        raise broken(path, f"found an image in {found}, expected {bits}-bit {_COLOURS[colour]}{nyu}")
    if (width, height) not in sizes:
        expected = " or ".join(f"{w}x{h}" for w, h in sizes)
        raise broken(path, f"found an image of {width}x{height} pixels, expected {expected}")
    if fault := size_fault(width, height):
        raise broken(path, fault)
    plain = _plain_pixels(data, (height, width, 2 if colour == 0 else 3))
    if plain is not None:
        return plain.view(">u2")[..., 0] if colour == 0 else plain
    _require_whole_chunks(data, path)
    # OpenCV returns the frames of an animation as black images.
    if b"acTL" in data[: data.find(b"IDAT")]:
        raise broken(path, "found an animated PNG, expected one image")
    # OpenCV gives None for a wrong checksum, a truncated file and too few rows. It raises for some damaged headers.
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise broken(path, f"the PNG is truncated or damaged: {error.err}") from error
    if image is None:
        raise broken(path, "the PNG is truncated or damaged")
    if image.shape != ((height, width) if colour == 0 else (height, width, 3)):
        raise broken(path, f"found an image with a transparent colour, expected {_COLOURS[colour]} alone")
    return image if colour == 0 else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _require_whole_chunks(data: bytes, path: Path) -> None:
    """Refuse a file whose chunks claim more bytes than it has. OpenCV takes memory for what they claim, up to 2 GB.

    Raises:
        FrameError: a chunk is cut or has a wrong length.
    """
    start = len(_SIGNATURE)
    while start + 8 <= len(data):
        size = int.from_bytes(data[start : start + 4], "big")
        left = len(data) - start - 12
        if size > left:
            claim = f"a chunk claims {size} bytes, but {max(left, 0)} follow"
            raise broken(path, f"the PNG is truncated or damaged: {claim}")
        if data[start + 4 : start + 8] == b"IEND":
            return
        start += 12 + size


def _plain_pixels(data: bytes, shape: tuple[int, int, int]) -> UInt8[np.ndarray, "H W C"] | None:
    """Bytes of the pixels of a PNG that OpenCV wrote, in half of the time that OpenCV takes to read it.

    Returns None if the file has other chunks or filters, or is damaged in any way. OpenCV then decodes or refuses it.
    """
    packed = _packed_pixels(data)
    if packed is None:
        return None
    height, width, bytes_of_pixel = shape
    row = 1 + width * bytes_of_pixel
    inflating = zlib.decompressobj()
    try:
        # One byte more than expected, so that the checksum at the end is read and longer data are noticed.
        unpacked = inflating.decompress(packed, height * row + 1)
    except zlib.error:  # pyright: ignore[reportGeneralTypeIssues]
        return None
    if len(unpacked) != height * row or not inflating.eof or inflating.unused_data:
        return None
    rows = np.frombuffer(unpacked, np.uint8).reshape(height, row)
    if (rows[:, 0] != _SUB).any():
        return None
    return np.add.accumulate(rows[:, 1:].reshape(shape), axis=1, dtype=np.uint8)


def _packed_pixels(data: bytes) -> bytes | None:
    """Compressed pixels of a PNG without other chunks than header, pixels and end. None if a checksum is wrong."""
    parts: list[bytes] = []
    expected = (b"IHDR",)
    start = len(_SIGNATURE)
    while expected:
        kind = data[start + 4 : start + 8]
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        named = data[start + 4 : end]
        if kind not in expected or data[end : end + 4] != zlib.crc32(named).to_bytes(4, "big"):
            return None
        if kind == b"IDAT":
            parts.append(named[4:])
        expected = () if kind == b"IEND" else (b"IDAT", b"IEND")
        start = end + 4
    return b"".join(parts) if start == len(data) and data[26:29] == _METHODS else None
