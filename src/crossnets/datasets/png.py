"""Depth images in PNG files, each checked before it is used."""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image

from crossnets.datasets.dataset import FrameError
from crossnets.datasets.files import broken, read_image_bytes
from crossnets.geometry.camera import CameraPreset

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}


def read_png16(path: Path, sizes: Sequence[tuple[int, int]]) -> UInt16[np.ndarray, "H W"]:
    """A 16-bit grey PNG of one of the (width, height) `sizes`: raw depth counts.

    Raises:
        FrameError: missing, truncated, damaged, or another kind or size of image.
    """
    return _read(path, sizes, bits=16, colour=0).astype(np.uint16)


def read_png_rgb(path: Path, sizes: Sequence[tuple[int, int]]) -> UInt8[np.ndarray, "H W 3"]:
    """An 8-bit RGB PNG of one of the (width, height) `sizes`.

    Raises:
        FrameError: missing, truncated, damaged, or another kind or size of image.
    """
    return _read(path, sizes, bits=8, colour=2)


def png_size(path: Path) -> tuple[int, int]:
    """(width px, height px) of a PNG file, from its first bytes.

    Raises:
        FrameError: it is no PNG.
    """
    return _header(read_image_bytes(path), path)[:2]


def sized(camera: CameraPreset, images: Sequence[Path]) -> CameraPreset | None:
    """A camera of any size with that of the first image that has one, since its intrinsics belong to one; or None."""
    for path in images:
        try:
            width, height = png_size(path)
        except FrameError:
            continue
        return camera._replace(width_px=width, height_px=height)
    return None


def _header(data: bytes, path: Path) -> tuple[int, int, int, int]:
    """Width, height, bits a channel and colour type."""
    if data[:8] != _SIGNATURE[: len(data)]:
        raise broken(path, "this is no PNG file")
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise broken(path, f"the PNG is truncated or damaged: no header in its {len(data)} bytes")
    return struct.unpack(">IIBB", data[16:26])


def _read(path: Path, sizes: Sequence[tuple[int, int]], bits: int, colour: int) -> np.ndarray:
    data = read_image_bytes(path)
    width, height, found_bits, found_colour = _header(data, path)
    if (found_bits, found_colour) != (bits, colour):
        found = f"{found_bits}-bit {_COLOURS.get(found_colour, 'unknown')}"
        nyu = " (NYU's own images are read as nyu:PATH)" if (found_bits, found_colour) == (8, 2) else ""
        raise broken(path, f"found an image in {found}, expected {bits}-bit {_COLOURS[colour]}{nyu}")
    if (width, height) not in sizes:
        expected = " or ".join(f"{w}x{h}" for w, h in sizes)
        raise broken(path, f"found an image of {width}x{height} pixels, expected {expected}")
    try:
        with Image.open(BytesIO(data), formats=("PNG",)) as image:
            image.verify()  # every part's checksum, which decoding does not compare for the pixels
        with Image.open(BytesIO(data), formats=("PNG",)) as image:
            return np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error) as error:
        raise broken(path, f"the PNG is truncated or damaged: {error}") from error
