"""Shards: the frames of `crossnets data pack`, read one at a time out of plain tar files.

docs/datasets.md describes the format. Nothing is extracted to disk.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import UInt32

from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.file_checks import broken, choose, require_folder
from crossnets.datasets.png import decode_png16
from crossnets.datasets.shard_format import (
    BLOCK,
    INDEX_FILE,
    RECORD,
    FrameRecord,
    ShardEntry,
    check_shard_file,
    member_size,
    member_stem,
    padded,
    read_index,
    read_record,
    record_sequence,
    shard_name,
)
from crossnets.geometry.camera import CameraPreset
from crossnets.types import HandFrame

UNREADABLE = "unreadable"
"""Sequence of frames whose record cannot be read. Reading such a frame says what is wrong."""
_CHUNK = 1 << 20


class _Scan(NamedTuple):
    """What one pass over a shard found. It takes eight bytes a frame."""

    blocks: UInt32[np.ndarray, "F_plus_1"]
    """Block of 512 bytes where each frame starts, and where the last one ends."""
    sequences: UInt32[np.ndarray, "F"]
    """Numbers of the frames' sequences."""
    fault: str | None
    """Why no frame of the shard can be used."""


class Shards:
    """Frames in the order in which they were packed.

    Opening reads index.json alone. A shard is scanned, and its digest compared, when one of its frames is first asked
    for. Memory grows by eight bytes for each frame of the shards that were scanned.
    """

    def __init__(
        self, root: Path | str, sequences: Sequence[str] | None = None, *, camera: CameraPreset | None = None
    ) -> None:
        """Open a folder of shards.

        Args:
            root: A folder with index.json and its shards.
            sequences: Names of the sequences to read, None for all. Choosing scans all shards.
            camera: Not supported, as each frame states its own.

        Raises:
            OSError: the folder, index.json or a shard is missing or may not be read.
            ValueError: index.json is wrong, the pack is not finished, a shard is a link or of another size, there is
                no such sequence, or a camera is given.
        """
        self._root = Path(root)
        require_folder(self._root, f"{INDEX_FILE} and shards")
        if camera is not None:
            raise ValueError(f"Shards state the camera of each frame, but another camera is given for {root}. Omit it.")
        index = read_index(self._root)
        self.name = "shards"
        self.skeleton = index.skeleton
        self.camera = index.camera
        self.problems: list[Problem] = []
        self._entries = index.shards
        self._sources = {spec: number for number, spec in enumerate(index.sources, 1)}
        for number, entry in enumerate(self._entries):
            check_shard_file(self._root / shard_name(number), entry)
        self._starts = [0, *accumulate(entry.frames for entry in self._entries)]
        self._scans: dict[int, _Scan] = {}
        self._names: dict[str, int] = {}
        self._chosen = None if sequences is None else self._choose(sequences, tuple(index.sequences))

    def __len__(self) -> int:
        return self._starts[-1] if self._chosen is None else len(self._chosen)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame; see `HandDataset`. Depth outside of a packed patch is 0."""
        shard, row = self._place(index)
        record, png = self._read(shard, row)
        depth_mm = self._depth_mm(record, png, self._path(shard, row, "png"))
        number = self._sources.get(record.source, 0)
        key = record.key if len(self._sources) == 1 else f"{number}/{record.key}"
        return HandFrame(key, record.sequence, depth_mm, record.camera, record.joints_mm)

    def sequence_of(self, index: int) -> str:
        """Sequence of a frame in its source; `unreadable` where its record cannot be read."""
        shard, row = self._place(index)
        number = self._scanned(shard).sequences[row]  # the scan may add names
        return list(self._names)[number]

    def depth_unit_of(self, index: int) -> float:
        """Millimetres per count of a frame's image.

        Raises:
            FrameError: the frame cannot be read.
        """
        return self._read(*self._place(index))[0].depth_unit_mm

    # --- places ---

    def _place(self, index: int) -> tuple[int, int]:
        """Shard and row in it of a frame."""
        number = range(len(self))[index]
        if self._chosen is not None:
            number = int(self._chosen[number])
        shard = bisect_right(self._starts, number) - 1
        return shard, number - self._starts[shard]

    def _path(self, shard: int, row: int, kind: str) -> Path:
        """A name of a member for messages: SHARD/KEY.png."""
        return self._root / shard_name(shard) / f"{member_stem(self._starts[shard] + row)}.{kind}"

    def _choose(self, wanted: Sequence[str], available: Sequence[str]) -> UInt32[np.ndarray, "K"]:
        """Numbers of the frames of some sequences. Shards and records that cannot be read are problems."""
        names = choose(wanted, available, "the sequences", self._root)
        chosen = []
        for shard in range(len(self._entries)):
            scan = self._scanned(shard)
            if scan.fault is not None:
                self.problems.append(Problem(self._root / shard_name(shard), scan.fault))
                continue
            for row in np.flatnonzero(scan.sequences == self._names[UNREADABLE]):
                what = "the record names no sequence, so the frame is left out"
                self.problems.append(Problem(self._path(shard, int(row), "json"), what))
            numbers = [self._names[name] for name in names if name in self._names]
            chosen.append(self._starts[shard] + np.flatnonzero(np.isin(scan.sequences, numbers)))
        return np.concatenate(chosen or [np.empty(0)]).astype(np.uint32)

    # --- one pass over a shard ---

    def _scanned(self, shard: int) -> _Scan:
        if shard not in self._scans:
            self._scans[shard] = self._scan(shard, self._entries[shard])
        return self._scans[shard]

    def _scan(self, shard: int, entry: ShardEntry) -> _Scan:
        path = self._root / shard_name(shard)
        blocks = np.zeros(entry.frames + 1, np.uint32)
        sequences = np.full(entry.frames, self._number_of(UNREADABLE), np.uint32)
        try:
            with path.open("rb") as file:
                tape = _Tape(file)
                for row, sequence in enumerate(_walk(tape, self._starts[shard], entry.frames)):
                    sequences[row] = self._number_of(sequence)
                    blocks[row + 1] = tape.position // BLOCK
                _check_end(tape)
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else error
            fault = f"the shard cannot be used: {what}. Copy it again, or pack again"
            return _Scan(blocks, np.full_like(sequences, self._number_of(UNREADABLE)), fault)
        scan = _Scan(blocks, sequences, None)
        if tape.digest.hexdigest() == entry.sha256 or self._has_broken_frame(shard, scan):
            return scan
        # Each frame agrees with its own digests, so that the shard as a whole is another one than the index means.
        fault = (
            f"found sha256 {tape.digest.hexdigest()}, but {INDEX_FILE} says {entry.sha256}, and each frame is sound: "
            "the shard is of another pack, or the index was changed. Copy both again, or pack again"
        )
        return _Scan(blocks, sequences, fault)

    def _has_broken_frame(self, shard: int, scan: _Scan) -> bool:
        """Whether damage to single frames explains a digest that differs. Those frames are then refused one by one."""
        self._scans[shard] = scan
        for row in range(len(scan.sequences)):
            try:
                self._read(shard, row)
            except FrameError:
                return True
        return False

    def _number_of(self, sequence: str | None) -> int:
        return self._names.setdefault(UNREADABLE if sequence is None else sequence, len(self._names))

    # --- one frame ---

    def _read(self, shard: int, row: int) -> tuple[FrameRecord, bytes]:
        """Record and PNG of a frame, whose digests agree.

        Raises:
            FrameError: the shard or the frame is damaged.
        """
        scan, tar = self._scanned(shard), self._root / shard_name(shard)
        if scan.fault is not None:
            raise broken(tar, scan.fault)
        first, last = (int(block) * BLOCK for block in scan.blocks[row : row + 2])
        try:
            with tar.open("rb") as file:
                file.seek(first)
                data = file.read(last - first)
            png, rest = _member(data, self._path(shard, row, "png").name)
            record, _ = _member(rest, self._path(shard, row, "json").name)
        except OSError as error:
            raise broken(tar, f"the shard cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise broken(tar, f"{error}; the shard was changed while it was read") from error
        fields = read_record(record, self._path(shard, row, "json"), self.skeleton)
        found = hashlib.sha256(png).hexdigest()
        if found != fields.png_sha256:
            what = f"the image is damaged: found sha256 {found}, but its record says {fields.png_sha256}"
            raise broken(self._path(shard, row, "png"), f"{what}. Copy the shard again, or pack again")
        return fields, png

    def _depth_mm(self, record: FrameRecord, png: bytes, path: Path) -> np.ndarray:
        """The whole image in mm, with the patch in its place."""
        counts = decode_png16(png, path, [record.patch_px])
        patch_mm = counts.astype(np.float32) * np.float32(record.depth_unit_mm)
        if record.patch_px == record.size_px:
            return patch_mm
        (width, height), (left, top), (columns, rows) = record.size_px, record.offset_px, record.patch_px
        depth_mm = np.zeros((height, width), np.float32)
        depth_mm[top : top + rows, left : left + columns] = patch_mm
        return depth_mm


class _Tape:
    """A file that is read from start to end, and its digest so far."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.position = 0
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        """The next bytes; fewer at the end of the file."""
        data = self._file.read(size)
        self.digest.update(data)
        self.position += len(data)
        return data

    def skip(self, size: int) -> None:
        """Pass over bytes, some at a time.

        Raises:
            ValueError: the file ends before.
        """
        while size > 0:
            data = self.read(min(size, _CHUNK))
            if not data:
                raise ValueError(f"the tar file ends at byte {self.position}, within a member")
            size -= len(data)


def _walk(tape: _Tape, first: int, frames: int) -> Iterator[str | None]:
    """The sequence of each frame of a shard, whose members must be KEY.png and KEY.json of each frame in turn.

    Raises:
        ValueError: they are not.
    """
    for number in range(first, first + frames):
        png, record = (f"{member_stem(number)}.{kind}" for kind in ("png", "json"))
        tape.skip(padded(member_size(_head(tape, png), png)))
        size = member_size(_head(tape, record), record)
        data = tape.read(size)
        tape.skip(padded(size) - len(data))
        yield record_sequence(data)


def _head(tape: _Tape, expected: str) -> bytes:
    head = tape.read(BLOCK)
    if len(head) < BLOCK or not any(head):
        raise ValueError(f"the tar file ends before {expected}")
    return head


def _check_end(tape: _Tape) -> None:
    """After the last frame there are zeros alone, as a tar file ends.

    Raises:
        ValueError: there is something else.
    """
    start = tape.position
    head = tape.read(BLOCK)
    if any(head):
        member_size(head, "the end of the file")  # names what is there, if it is a member
    rest = tape.read(2 * RECORD)
    if any(head) or any(rest) or not 2 * BLOCK <= len(head) + len(rest) <= RECORD + BLOCK:
        raise ValueError(f"expected the end of a tar file at byte {start}: 1024 to {RECORD + BLOCK} zeros")


def _member(data: bytes, expected: str) -> tuple[bytes, bytes]:
    """The contents of the first member of a piece of a tar file, and what follows it.

    Raises:
        ValueError: it is not the expected member.
    """
    size = member_size(data[:BLOCK], expected)
    if BLOCK + size > len(data):
        raise ValueError(f"{expected} has fewer bytes than the {size} of its header")
    return data[BLOCK : BLOCK + size], data[BLOCK + padded(size) :]
