"""Broken images raise a FrameError that names the file and the fault."""

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from PIL import Image
from zlib_ng import zlib_ng

from crossnets.datasets import png
from crossnets.datasets.dataset import FrameError
from crossnets.datasets.png import encode_png, png_size, read_png16, read_png_rgb
from tests.datasets.make import write_png16

SIZE = (40, 30)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int, height: int, bits: int = 16, colour: int = 0) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


DAMAGED = "the PNG is truncated or damaged"
BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda b: b"", "the image file is empty"),
    "text": (lambda b: b"no image at all, but long enough to look like one", "the file is not a PNG"),
    "short": (lambda b: b[:20], "truncated or damaged: no header"),
    "truncated": (lambda b: b[: len(b) // 2], DAMAGED),
    "no end": (lambda b: b[:-12], DAMAGED),
    "pixels one byte short": (lambda b: b[:-13], DAMAGED),
    "flipped pixel": (lambda b: flip(b, len(b) // 2), DAMAGED),
    "too few rows": (
        lambda b: header(*SIZE) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b""),
        DAMAGED,
    ),
    "bad stream": (
        lambda b: header(*SIZE) + chunk(b"IDAT", b"garbage") + chunk(b"IEND", b""),
        DAMAGED,
    ),
    "animated": (
        lambda b: b[:33] + chunk(b"acTL", struct.pack(">II", 2, 0)) + b[33:],
        "found an animated PNG, expected one image",
    ),
    "no pixels": (lambda b: header(*SIZE) + chunk(b"IEND", b""), DAMAGED),
    # OpenCV would take 2 GB for the pixels that the header of this chunk claims.
    "long chunk": (lambda b: b[:33] + b"\x76" + b[34:], DAMAGED + r": a chunk claims \d{10} bytes, but \d+ follow"),
    "bomb": (lambda b: header(60000, 60000) + b[33:], "60000x60000 pixels, expected 40x30"),
    "size": (lambda b: header(41, 30) + b[33:], "found an image of 41x30 pixels, expected 40x30"),
}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a.png"
    write_png16(path, np.random.default_rng(0).integers(0, 65536, SIZE[::-1]))
    return path


def test_png16_round_trip_is_exact(image: Path) -> None:
    expected = np.random.default_rng(0).integers(0, 65536, SIZE[::-1])
    assert (read_png16(image, [SIZE]) == expected).all()
    assert png_size(image) == SIZE


@pytest.mark.parametrize("name", BROKEN)
def test_broken_png(image: Path, name: str) -> None:
    change, message = BROKEN[name]
    image.write_bytes(change(image.read_bytes()))
    with pytest.raises(FrameError, match=message) as caught:
        read_png16(image, [SIZE])
    assert caught.value.problem.path == image


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_other_png_types_are_refused(image: Path, mode: str) -> None:
    Image.new(mode, SIZE).save(image)
    with pytest.raises(FrameError, match=r"found an image in (8|1)-bit .*, expected 16-bit grey"):
        read_png16(image, [SIZE])


def test_jpeg_named_png_is_refused(image: Path) -> None:
    Image.new("RGB", SIZE).save(image, format="JPEG")
    with pytest.raises(FrameError, match="the file is not a PNG"):
        read_png16(image, [SIZE])


def test_missing_image_and_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=r"a\.png: the image is missing"):
        read_png16(tmp_path / "a.png", [SIZE])
    with pytest.raises(FrameError, match="the image cannot be read: Is a directory"):
        read_png16(tmp_path, [SIZE])


def test_damage_raises_or_leaves_the_pixels_unchanged(image: Path) -> None:
    whole = image.read_bytes()
    expected = read_png16(image, [SIZE])
    draw = random.Random(0)
    for _ in range(300):
        image.write_bytes(flip(whole, draw.randrange(len(whole))))
        try:
            assert (read_png16(image, [SIZE]) == expected).all()
        except FrameError:
            continue


def test_rgb_png_with_a_transparent_colour_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    rows = zlib.compress(bytes((1 + 3 * SIZE[0]) * SIZE[1]))
    transparent = chunk(b"tRNS", struct.pack(">HHH", 0, 0, 0))
    path.write_bytes(header(*SIZE, 8, 2) + transparent + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    with pytest.raises(FrameError, match="found an image with a transparent colour, expected RGB alone"):
        read_png_rgb(path, [SIZE])


def images() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(1)
    grey = draw.integers(0, 65536, SIZE[::-1]).astype(np.uint16)
    return {
        "grey": grey,
        "RGB": draw.integers(0, 256, (*SIZE[::-1], 3)).astype(np.uint8),
        "empty": np.zeros(SIZE[::-1], np.uint16),
        "one row": grey[:1].copy(),
    }


@pytest.mark.parametrize("inflate", [zlib, zlib_ng])
@pytest.mark.parametrize("name", images())
def test_own_decoder_agrees_with_opencv(
    tmp_path: Path, name: str, inflate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = images()[name]
    path = tmp_path / "a.png"
    path.write_bytes(encode_png(image))
    read = read_png_rgb if image.ndim == 3 else read_png16
    monkeypatch.setattr(png, "zlib", inflate)
    monkeypatch.setattr(cv2, "imdecode", None)
    found = read(path, [image.shape[1::-1]])
    assert found.dtype == image.dtype
    assert (found == image).all()


@pytest.mark.parametrize("kind", range(5))
def test_other_filters_are_left_to_opencv(image: Path, kind: int) -> None:
    expected = read_png16(image, [SIZE])
    pixels = expected.astype(">u2").view(np.uint8)
    before = np.pad(pixels, ((1, 0), (2, 0)))
    left, above, corner = (before[1:, :-2], before[:-1, 2:], before[:-1, :-2])
    nearest = np.abs(left.astype(int) + above - corner - np.stack([left, above, corner]).astype(int)).argmin(axis=0)
    guesses = [
        np.zeros_like(pixels),
        left,
        above,
        ((left.astype(int) + above) // 2).astype(np.uint8),
        np.choose(nearest, [left, above, corner]),
    ]
    rows = np.pad(pixels - guesses[kind], ((0, 0), (1, 0)), constant_values=kind)
    data = header(*SIZE) + chunk(b"IDAT", zlib.compress(rows.tobytes())) + chunk(b"IEND", b"")
    assert (png._plain_pixels(data, (*SIZE[::-1], 2)) is None) == (kind != png._SUB)
    image.write_bytes(data)
    assert (read_png16(image, [SIZE]) == expected).all()


@pytest.mark.parametrize("inflate", [zlib, zlib_ng])
def test_own_decoder_returns_what_opencv_returns_for_damaged_files(
    image: Path, inflate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png, "zlib", inflate)
    whole = encode_png(read_png16(image, [SIZE]))
    draw = random.Random(0)
    damaged = [flip(whole, draw.randrange(len(whole))) for _ in range(300)]
    damaged += [whole[: draw.randrange(len(whole))] for _ in range(300)]
    damaged += [change(whole) for change, _ in BROKEN.values()]
    damaged += [whole + b"more", whole[:33] + chunk(b"tEXt", b"a\0b") + whole[33:], whole[:33] + whole[8:]]
    outcomes = [_outcome(data) for data in damaged]
    monkeypatch.setattr(png, "_plain_pixels", lambda *_: None)
    assert outcomes == [_outcome(data) for data in damaged]


def _outcome(data: bytes) -> list[list[int]] | str:
    try:
        return png.decode_png16(data, Path("a.png"), [SIZE]).tolist()
    except FrameError as error:
        return str(error)


def test_longer_pixels_and_wrong_sums_are_refused_by_the_own_decoder() -> None:
    row = bytes([1, *range(4)])
    for packed, right in (
        (zlib.compress(row * 3), True),
        (zlib.compress(row * 3 + b"\0"), False),
        (zlib.compress(row * 3)[:-1] + b"?", False),
        (zlib.compress(row * 3) + b"more", False),
        (zlib.compress(bytes(1 << 24)), False),
    ):
        data = header(2, 3) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
        assert (png._plain_pixels(data, (3, 2, 2)) is not None) == right


def test_interlaced_images_are_left_to_opencv() -> None:
    end = chunk(b"IDAT", zlib.compress(bytes([1, 0, 5]))) + chunk(b"IEND", b"")
    for interlaced in (0, 1):
        head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 0, 0, 0, interlaced))
        assert (png._plain_pixels(head + end, (1, 1, 2)) is None) == bool(interlaced)
