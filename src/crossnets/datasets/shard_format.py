"""The files of a folder of shards, as docs/datasets.md describes them: index.json, tar members, and frame records."""

import hashlib
import json
import math
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from crossnets.datasets.file_checks import broken, joint_fault, size_fault
from crossnets.geometry.skeleton import Skeleton, find_skeleton
from crossnets.json_text import parse_json
from crossnets.types import Pinhole

FORMAT = "crossnets-shards"
VERSION = 1
INDEX_FILE = "index.json"
PACKING_FILE = "packing.json"
"""State of a pack that is not finished."""
SHARD_PATTERN = "shard-*.tar"
DOCS = "See docs/datasets.md."
BLOCK = tarfile.BLOCKSIZE
RECORD = tarfile.RECORDSIZE
"""A tar file ends with zeros up to a multiple of this many bytes."""
MAX_PNG_BYTES = 1 << 28
MAX_JSON_BYTES = 1 << 20
_MAX_INDEX_BYTES = 1 << 28
_MAX_UNIT_MM = 1000.0
_LEAST_FRAME_BYTES = 4 * BLOCK
"""Header and contents of an image and of its record. A small index could claim any number of frames."""
_HASH = re.compile("[0-9a-f]{64}")
_OWN_HASH = "record_sha256"


# --- names and members ---


def shard_name(number: int) -> str:
    """File of a shard, numbered from 0."""
    return f"shard-{number:06d}.tar"


def member_stem(number: int) -> str:
    """KEY of a frame: its number in the whole folder, from 0."""
    return f"{number:08d}"


def padded(size: int) -> int:
    """Bytes that a member of this size takes in a tar file, without its header."""
    return -(-size // BLOCK) * BLOCK


def member_size(head: bytes, expected: str) -> int:
    """Size in bytes of the member whose header is `head`. It must be a plain file of the `expected` name.

    Raises:
        ValueError: the header is damaged, or the member has another name or kind, or a size beyond sense.
    """
    try:
        member = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise ValueError(f"the tar header before {expected} is damaged ({error})") from None
    name = ascii(member.name)[1:-1]
    if name.startswith(("/", "\\\\")) or ".." in re.split(r"[/\\]", member.name) or ":" in member.name:
        raise ValueError(f"the member {name!r} leaves its folder; expected {expected}")
    if member.issym() or member.islnk():
        raise ValueError(f"the member {name!r} is a link; expected the plain file {expected}")
    if not member.isreg():
        kind = "a folder" if member.isdir() else f"of tar's type {member.type!r}"
        raise ValueError(f"the member {name!r} is {kind}; expected the plain file {expected}")
    most = MAX_JSON_BYTES if expected.endswith(".json") else MAX_PNG_BYTES
    if not 0 < member.size <= most:
        raise ValueError(f"the member {name!r} claims {member.size} bytes; expected 1 to {most}")
    if member.name != expected:
        raise ValueError(f"found the member {name!r}; expected {expected}")
    return member.size


# --- one frame ---


@dataclass(frozen=True)
class FrameRecord:
    """The contents of KEY.json."""

    key: str
    """Key of the frame in its source."""
    source: str
    """Text that names the source, such as `cvar:PATH#P1`."""
    sequence: str
    camera: Pinhole
    """Camera of the whole image."""
    size_px: tuple[int, int]
    """Width and height of the whole image."""
    offset_px: tuple[int, int]
    """Column and row of the whole image where KEY.png starts."""
    patch_px: tuple[int, int]
    """Width and height of KEY.png."""
    depth_unit_mm: float
    """Millimetres per count of KEY.png."""
    joints_mm: Float32[np.ndarray, "J 3"] | None
    """None without a label."""
    png_sha256: str


def record_bytes(record: FrameRecord) -> bytes:
    """KEY.json. Its last field is a digest of the others, so that a damaged label is noticed."""
    joints = record.joints_mm
    fields: dict[str, Any] = {
        "key": record.key,
        "source": record.source,
        "sequence": record.sequence,
        "camera": record.camera._asdict(),
        "size_px": list(record.size_px),
        "offset_px": list(record.offset_px),
        "patch_px": list(record.patch_px),
        "depth_unit_mm": record.depth_unit_mm,
        "joints_mm": None if joints is None else [[float(v) for v in joint] for joint in joints],
        "png_sha256": record.png_sha256,
    }
    return json.dumps({**fields, _OWN_HASH: _digest(fields)}).encode()


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_record(data: bytes, path: Path, skeleton: Skeleton | None) -> FrameRecord:
    """The record of a KEY.json, checked. `path` names it in messages; `skeleton` is that of the folder.

    Raises:
        FrameError: it is not JSON, its digest differs, or a field is missing or impossible.
    """
    fields = _record_fields(data, path)
    if fields.pop(_OWN_HASH, None) != _digest(fields):
        raise broken(path, f"the record is damaged: its {_OWN_HASH} is not that of its fields; pack the source again")
    try:
        record = FrameRecord(
            key=_text(fields, "key"),
            source=_text(fields, "source"),
            sequence=_text(fields, "sequence"),
            camera=pinhole_of(fields.get("camera")),
            size_px=_pair(fields, "size_px"),
            offset_px=_pair(fields, "offset_px"),
            patch_px=_pair(fields, "patch_px"),
            depth_unit_mm=_number(fields, "depth_unit_mm"),
            joints_mm=_joints(fields.get("joints_mm"), skeleton),
            png_sha256=_text(fields, "png_sha256"),
        )
        _check_geometry(record)
    except ValueError as error:
        raise broken(path, str(error)) from None
    return record


def record_sequence(data: bytes) -> str | None:
    """The sequence of a KEY.json alone; None where it cannot be read."""
    try:
        sequence = parse_json(data)["sequence"]
    except (ValueError, TypeError, KeyError):
        return None
    return sequence if isinstance(sequence, str) else None


def _record_fields(data: bytes, path: Path) -> dict[str, Any]:
    try:
        fields = parse_json(data)
    except ValueError as error:
        raise broken(path, f"the record is not JSON ({error}); pack the source again") from None
    if not isinstance(fields, dict):
        raise broken(path, f"found a {type(fields).__name__}, expected an object with key, camera and so on")
    return fields


def _check_geometry(record: FrameRecord) -> None:
    width, height = record.size_px
    if fault := size_fault(width, height):
        raise ValueError(fault)
    (left, top), (columns, rows) = record.offset_px, record.patch_px
    if not (0 <= left < left + columns <= width and 0 <= top < top + rows <= height):
        raise ValueError(f"the patch of {columns}x{rows} pixels at {left}, {top} leaves the image of {width}x{height}")
    if not 0 < record.depth_unit_mm < _MAX_UNIT_MM:
        raise ValueError(f"found a depth unit of {record.depth_unit_mm} mm; expected above 0 and below 1000")
    if not _HASH.fullmatch(record.png_sha256):
        raise ValueError(f"found png_sha256 {record.png_sha256[:70]!r}; expected 64 hexadecimal digits")


def _joints(joints: Any, skeleton: Skeleton | None) -> Float32[np.ndarray, "J 3"] | None:
    if joints is None:
        return None
    if skeleton is None:
        raise ValueError(f"found joints, but {INDEX_FILE} names no skeleton; expected null")
    try:
        values = np.array(joints, dtype=np.float64)
    except (ValueError, TypeError):
        values = np.empty(0)
    if values.shape != (len(skeleton), 3):
        raise ValueError(f"found joints of shape {values.shape}; expected {len(skeleton)} x 3 of {skeleton.name}")
    if fault := joint_fault(values):
        raise ValueError(fault)
    return values.astype(np.float32)


def pinhole_of(fields: Any) -> Pinhole:
    """The intrinsics, in pixels, of a `camera` field.

    Raises:
        ValueError: a number is missing or impossible.
    """
    if not isinstance(fields, dict) or set(fields) != set(Pinhole._fields):
        raise ValueError(f"found the camera {str(fields)[:80]}; expected {', '.join(Pinhole._fields)}")
    camera = Pinhole(**{name: _number(fields, name) for name in Pinhole._fields})
    if camera.fx_px <= 0 or camera.fy_px <= 0:
        raise ValueError(f"found the camera {camera}; expected positive focal lengths")
    return camera


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"found {name} {value!r}; expected a text")
    return value


def _number(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"found {name} {value!r}; expected a number")
    return float(value)


def _count(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"found {name} {value!r}; expected a whole number, 1 or more")
    return value


def _pair(fields: dict[str, Any], name: str) -> tuple[int, int]:
    value = fields.get(name)
    if not isinstance(value, list) or [type(one) for one in value] != [int, int]:
        raise ValueError(f"found {name} {value!r}; expected two whole numbers")
    return value[0], value[1]


# --- the index ---


@dataclass(frozen=True)
class ShardEntry:
    """One tar file as index.json lists it."""

    frames: int
    size: int
    """In bytes."""
    sha256: str

    def to_dict(self, number: int) -> dict[str, Any]:
        """The entry for JSON."""
        return {"file": shard_name(number), "frames": self.frames, "bytes": self.size, "sha256": self.sha256}


@dataclass(frozen=True)
class ShardIndex:
    """The contents of index.json that a reader needs."""

    skeleton: Skeleton | None
    camera: Pinhole
    """Camera of the first source. Each frame states its own."""
    sequences: dict[str, int]
    """Frames of each sequence."""
    shards: tuple[ShardEntry, ...]
    sources: tuple[str, ...]


def read_json(path: Path) -> dict[str, Any]:
    """The fields of index.json or packing.json, whose format and version are checked.

    Raises:
        OSError: the file is missing or may not be read.
        ValueError: it is not JSON, or of another format or version.
    """
    if path.stat().st_size > _MAX_INDEX_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes; expected at most {_MAX_INDEX_BYTES}. {DOCS}")
    try:
        fields = parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}. Copy it again, or pack the sources again. {DOCS}") from error
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        found = fields.get("format") if isinstance(fields, dict) else type(fields).__name__
        raise ValueError(f'{path}: found format {found!r}, expected "format": "{FORMAT}". {DOCS}')
    if fields.get("version") != VERSION:
        raise ValueError(f"{path}: found version {fields.get('version')!r}; this crossnets reads {VERSION}. Update it.")
    return fields


def read_index(root: Path) -> ShardIndex:
    """The index of a folder of shards.

    Raises:
        OSError: the file does not exist, or it may not be read.
        ValueError: the pack is not finished, or a field is missing or impossible.
    """
    path = root / INDEX_FILE
    if not path.is_file():
        if (root / PACKING_FILE).is_file():
            raise ValueError(
                f"The pack in {root} is not finished: found {PACKING_FILE} and no {INDEX_FILE}. "
                "Give the same crossnets data pack command again; it continues."
            )
        raise FileNotFoundError(f"Found no {INDEX_FILE} in {root}. Expected a folder of crossnets data pack. {DOCS}")
    fields = read_json(path)
    try:
        return _parse_index(fields)
    except ValueError as error:
        raise ValueError(f"{path}: {error}. Copy it again, or pack the sources again. {DOCS}") from None


def _parse_index(fields: dict[str, Any]) -> ShardIndex:
    name = fields.get("skeleton")
    sequences = fields.get("sequences")
    if not isinstance(sequences, dict):
        raise ValueError(f"found sequences {sequences!r}; expected the number of frames of each")
    shards = read_entries(fields)
    frames = sum(entry.frames for entry in shards)
    if fields.get("frames") != frames:
        raise ValueError(f"found frames {fields.get('frames')!r}, but the shards have {frames}")
    provenance = fields.get("provenance")
    sources = provenance.get("sources") if isinstance(provenance, dict) else None
    if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
        raise ValueError("found no list of sources in provenance")
    return ShardIndex(
        skeleton=None if name is None else find_skeleton(name),
        camera=pinhole_of(fields.get("camera")),
        sequences={sequence: _count(sequences, sequence) for sequence in sequences},
        shards=shards,
        sources=tuple(_text(source, "spec") for source in sources),
    )


def read_entries(fields: dict[str, Any]) -> tuple[ShardEntry, ...]:
    """The list of shards of index.json or packing.json.

    Raises:
        ValueError: a field is missing or impossible, or a file is not named as the packer names it.
    """
    listed = fields.get("shards")
    if not isinstance(listed, list):
        raise ValueError(f"found shards {str(listed)[:80]}; expected a list")
    return tuple(_entry(number, fields) for number, fields in enumerate(listed))


def _entry(number: int, fields: Any) -> ShardEntry:
    expected = shard_name(number)
    if not isinstance(fields, dict) or fields.get("file") != expected:
        found = fields.get("file") if isinstance(fields, dict) else fields
        raise ValueError(f"found the shard {str(found)[:80]!r}; expected {expected}")
    sha256 = _text(fields, "sha256")
    if not _HASH.fullmatch(sha256):
        raise ValueError(f"found sha256 {sha256[:70]!r} of {expected}; expected 64 hexadecimal digits")
    frames, size = _count(fields, "frames"), _count(fields, "bytes")
    if frames > size // _LEAST_FRAME_BYTES:
        raise ValueError(f"found {frames} frames in the {size} bytes of {expected}; a frame takes {_LEAST_FRAME_BYTES}")
    return ShardEntry(frames, size, sha256)


def check_shard_file(path: Path, entry: ShardEntry) -> None:
    """Check that a shard is a plain file of the size that the index states.

    Raises:
        FileNotFoundError: it is missing.
        ValueError: it is a link, not a file, or of another size.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ValueError(f"{path} is a link or a folder; expected a plain file. Copy the shard itself to that place.")
    if not path.exists():
        raise FileNotFoundError(f"The shard {path} is missing. {INDEX_FILE} lists it: copy it there, or pack again.")
    if path.stat().st_size != entry.size:
        raise ValueError(
            f"{path} has {path.stat().st_size} bytes, but {INDEX_FILE} says {entry.size}: it is truncated or was "
            "changed. Copy it again, or pack again."
        )


def looks_like_shards(root: Path) -> bool:
    """Whether a folder is one of shards, finished or not."""
    for path in (root / INDEX_FILE, root / PACKING_FILE):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            head = file.read(4096)
        if FORMAT.encode() in head or next(root.glob(SHARD_PATTERN), None):
            return True
    return False
