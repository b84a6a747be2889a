"""Pack frames of any readers into shards: tar files that training reads from start to end.

docs/datasets.md describes the format. A pack that was killed continues after its last whole shard, with equal bytes.
"""

import hashlib
import io
import json
import os
import tarfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, cast

import numpy as np
from jaxtyping import Float, Float32, UInt16

from crossnets.atomic import held, make_folder, replacing, write_text
from crossnets.datasets.dataset import (
    PROBLEMS_FILE,
    CountedDepth,
    FrameError,
    HandDataset,
    Problem,
    write_problems,
)
from crossnets.datasets.file_checks import size_fault
from crossnets.datasets.png import encode_png
from crossnets.datasets.shard_format import (
    FORMAT,
    INDEX_FILE,
    PACKING_FILE,
    SHARD_PATTERN,
    VERSION,
    FrameRecord,
    ShardEntry,
    check_shard_file,
    member_stem,
    read_entries,
    read_json,
    record_bytes,
    shard_name,
)
from crossnets.geometry.crop import crop_boxes
from crossnets.geometry.localise import find_center
from crossnets.geometry.skeleton import Skeleton
from crossnets.types import HandFrame, Pinhole

MAX_COUNT = 65535
_ROUNDS = 8
_LEAST_HALF_BITS = 4


@dataclass(frozen=True, kw_only=True)
class PackConfig:
    """How sources are packed. A pack continues only with the same values."""

    frames_per_shard: int = 2000
    seed: int = 0
    """Seed of the order of the frames across all sources."""
    cube_mm: float | None = None
    """Side of the cube around the hand whose pixels are kept. None keeps the whole image."""
    split: Literal["train", "test"] = "train"
    """Split with which NYU, ICVL, HANDS17, FPHA, DexYCB, HO-3D, H2O-3D and H2O were opened."""
    camera: str | None = None
    """Camera that image files were opened with."""

    def __post_init__(self) -> None:
        if self.frames_per_shard < 1:
            raise ValueError(f"Found --frames-per-shard {self.frames_per_shard}; expected 1 or more.")
        if self.cube_mm is not None and not 0 < self.cube_mm < 1e5:
            raise ValueError(f"Found --cube {self.cube_mm:g}; expected a side in mm, above 0, such as 300.")


class Packed(NamedTuple):
    """Result of a pack."""

    frames: int
    shards: int
    problems: int
    """Broken things of the sources, such as frames that could not be read. problems.jsonl lists them."""
    was_finished: bool
    """Whether an earlier call had written everything."""


def pack(
    sources: Mapping[str, HandDataset],
    out: Path,
    config: PackConfig,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Packed:
    """Write the frames of all sources into `out`, or continue where an earlier call was killed.

    Args:
        sources: The data sets by the texts that name them.
        out: A new folder, or that of an earlier call with the same sources and options.
        config: Options.
        on_progress: Called with the frames done and the frames of all sources, after each frame.

    Raises:
        BlockingIOError: another process packs into `out`.
        FileExistsError: `out` holds something else.
        OSError: a file cannot be written, or a shard of the earlier call is missing.
        ValueError: there are no frames or none can be read, the skeletons differ, or the earlier call had other
            sources or options.
    """
    skeleton = common_skeleton(sources)
    total = sum(map(len, sources.values()))
    if not total:
        raise ValueError(f"Found no frames in {', '.join(sources)}. crossnets data info PATH reports why.")
    request = _request(sources, config)
    make_folder(out)
    with held(out, "packs into"):
        if (out / INDEX_FILE).is_file():
            return _finished(out, request)
        state = _resumed(out, request)
        if state is None:
            camera = next(iter(sources.values())).camera
            state = _State(datetime.now(UTC).isoformat(timespec="seconds"), camera._asdict())
            state.problems = [problem for dataset in sources.values() for problem in dataset.problems]
            state.save(out, request)
        _Packer(sources, out, config, request, state, on_progress).run(total)
        return _finish(out, request, state, skeleton)


def common_skeleton(sources: Mapping[str, HandDataset]) -> Skeleton | None:
    """The skeleton of all sources that have one; None if none has.

    Raises:
        ValueError: there are several.
    """
    found = {dataset.skeleton: spec for spec, dataset in sources.items() if dataset.skeleton}
    if len(found) > 1:
        named = ", ".join(f"{skeleton.name} ({spec})" for skeleton, spec in found.items())
        raise ValueError(f"The sources are labelled with different skeletons: {named}. Pack each into its own folder.")
    return next(iter(found), None)


# --- the order of the frames ---


class Shuffle:
    """A permutation of 0 to count - 1 that depends on the seed alone and takes no memory.

    It is a Feistel network on an even number of bits that hold `count`. Numbers beyond it are mapped again
    until they fall below, which keeps the map one to one. numpy's permutation may change with its version, and a
    pack that continues after an update would lose frames.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed = count, seed
        self._half = max(_LEAST_HALF_BITS, (count.bit_length() + 1) // 2)
        self._mask = (1 << self._half) - 1

    def __getitem__(self, position: int) -> int:
        """The number at a position."""
        number = self._mapped(range(self._count)[position])
        while number >= self._count:
            number = self._mapped(number)
        return number

    def _mapped(self, number: int) -> int:
        left, right = number >> self._half, number & self._mask
        for turn in range(_ROUNDS):
            digest = hashlib.blake2b(b"%d %d %d" % (self._seed, turn, right), digest_size=8).digest()
            left, right = right, left ^ (int.from_bytes(digest) & self._mask)
        return left << self._half | right


# --- state on disk ---


@dataclass
class _State:
    """State of a pack. packing.json holds it after each shard."""

    created: str
    camera: dict[str, float]
    position: int = 0
    """Position in the order, of the first frame that is in no shard yet."""
    entries: list[ShardEntry] = field(default_factory=list)
    sequences: dict[str, int] = field(default_factory=dict)
    labelled: int = 0
    problems: list[Problem] = field(default_factory=list)

    def save(self, out: Path, request: dict[str, Any]) -> None:
        fields = {
            "format": FORMAT,
            "version": VERSION,
            "request": request,
            "created": self.created,
            "camera": self.camera,
            "position": self.position,
            "labelled": self.labelled,
            "sequences": self.sequences,
            "shards": [entry.to_dict(number) for number, entry in enumerate(self.entries)],
            "problems": [problem.to_dict() for problem in self.problems],
        }
        write_text(out / PACKING_FILE, json.dumps(fields) + "\n")


def _request(sources: Mapping[str, HandDataset], config: PackConfig) -> dict[str, Any]:
    """Everything that the bytes of the shards depend on, as plain values."""
    described = [
        {
            "spec": spec,
            "format": dataset.name,
            "frames": len(dataset),
            "skeleton": None if dataset.skeleton is None else dataset.skeleton.saved(),
        }
        for spec, dataset in sources.items()
    ]
    return {"sources": described, **asdict(config)}


def _check_same(out: Path, found: Any, request: dict[str, Any]) -> None:
    """Refuse to continue a pack of other sources or options.

    Raises:
        ValueError: the first difference is named.
    """
    for name, asked in request.items():
        old = found.get(name) if isinstance(found, dict) else None
        if old == asked:
            continue
        option = {"sources": "the sources", "cube_mm": "--cube"}.get(name, f"--{name.replace('_', '-')}")
        raise ValueError(
            f"{out} was packed with {option} {_shown(old)}, but now {_shown(asked)} is asked for. "
            "Give the same sources and options to continue, or another --out."
        )


def _shown(value: Any) -> str:
    if not isinstance(value, list):
        return "none" if value is None else str(value)
    return ", ".join(f"{one.get('spec')} ({one.get('frames')} frames)" for one in value if isinstance(one, dict))


def _finished(out: Path, request: dict[str, Any]) -> Packed:
    """The result of an earlier call that wrote everything."""
    fields = read_json(out / INDEX_FILE)
    _check_same(out, fields.get("provenance"), request)
    (out / PACKING_FILE).unlink(missing_ok=True)  # left where a call was killed between two last steps
    return Packed(fields["frames"], len(fields["shards"]), fields["problems"], was_finished=True)


def _resumed(out: Path, request: dict[str, Any]) -> _State | None:
    """The state of an earlier call that was killed, whose unfinished files are removed; None in a new folder."""
    path = out / PACKING_FILE
    (out / f"{PACKING_FILE}.part").unlink(missing_ok=True)
    if not path.is_file():
        if any(out.iterdir()):
            raise FileExistsError(f"{out} is not empty and does not contain a pack. Give a new folder as --out.")
        return None
    fields = read_json(path)
    _check_same(out, fields.get("request"), request)
    try:
        problems = [Problem(Path(one["path"]), one["what"], one["line"]) for one in fields["problems"]]
        names = ("created", "camera", "position", "sequences", "labelled")
        state = _State(**{name: fields[name] for name in names}, problems=problems, entries=list(read_entries(fields)))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error!r}). Delete {out} and pack again.") from error
    for number, entry in enumerate(state.entries):
        check_shard_file(out / shard_name(number), entry)
    whole = {shard_name(number) for number in range(len(state.entries))}
    for left in [*out.glob(SHARD_PATTERN), *out.glob("*.part")]:
        if left.name not in whole:
            left.unlink()
    return state


def _finish(out: Path, request: dict[str, Any], state: _State, skeleton: Skeleton | None) -> Packed:
    """Write problems.jsonl if there are any, then index.json."""
    frames = sum(entry.frames for entry in state.entries)
    if not frames:
        (out / PACKING_FILE).unlink()
        raise ValueError(f"Not one frame could be read. The first problem is {state.problems[0]}")
    if state.problems:
        write_problems(out / PROBLEMS_FILE, state.problems)
    index = {
        "format": FORMAT,
        "version": VERSION,
        "frames": frames,
        "labelled": state.labelled,
        "problems": len(state.problems),
        "skeleton": None if skeleton is None else skeleton.saved(),
        "joints": [] if skeleton is None else list(skeleton.joints),
        "camera": state.camera,
        "sequences": state.sequences,
        "shards": [entry.to_dict(number) for number, entry in enumerate(state.entries)],
        "provenance": {**request, "created": state.created, "crossnets": version("crossnets")},
    }
    write_text(out / INDEX_FILE, json.dumps(index, indent=2) + "\n")
    (out / PACKING_FILE).unlink()
    return Packed(frames, len(state.entries), len(state.problems), was_finished=False)


# --- shards ---


class _Packer:
    """Writes the shards that are missing."""

    def __init__(
        self,
        sources: Mapping[str, HandDataset],
        out: Path,
        config: PackConfig,
        request: dict[str, Any],
        state: _State,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._specs, self._datasets = tuple(sources), tuple(sources.values())
        self._starts = [0, *accumulate(map(len, self._datasets))]
        self._order = Shuffle(self._starts[-1], config.seed)
        self._out, self._config, self._request = out, config, request
        self._state, self._on_progress = state, on_progress

    def run(self, total: int) -> None:
        """Write one shard after the other, and the state after each."""
        self._on_progress(self._state.position, total)
        while self._state.position < total:
            frames = self._frames()
            first = next(frames, None)
            if first is not None:
                self._write_shard(first, frames)
            self._state.save(self._out, self._request)

    def _frames(self) -> Iterator[tuple[bytes, FrameRecord]]:
        """PNG and record of the frames of the next shard. Frames that cannot be read are left out as problems."""
        state, total, found = self._state, self._starts[-1], 0
        while state.position < total and found < self._config.frames_per_shard:
            number = self._order[state.position]
            source = bisect_right(self._starts, number) - 1
            try:
                packed = self._packed(source, number - self._starts[source])
            except FrameError as error:
                state.problems.append(error.problem)
                packed = None
            state.position += 1
            if packed is not None:
                found += 1
                yield packed
            self._on_progress(state.position, total)

    def _packed(self, source: int, index: int) -> tuple[bytes, FrameRecord]:
        dataset = self._datasets[source]
        frame = dataset[index]
        height, width = frame.depth_mm.shape
        if fault := size_fault(width, height):
            raise FrameError(Problem(Path(frame.key), fault))
        left, top, right, bottom = patch_box(frame, self._config.cube_mm)
        patch_mm = frame.depth_mm[top:bottom, left:right]
        unit_mm = dataset.depth_unit_of(index) if isinstance(dataset, CountedDepth) else 1.0
        counts, unit_mm = to_counts(patch_mm, unit_mm)
        png = encode_png(counts)
        record = FrameRecord(
            key=frame.key,
            source=self._specs[source],
            sequence=frame.sequence,
            camera=Pinhole(*map(float, frame.camera)),
            size_px=(width, height),
            offset_px=(left, top),
            patch_px=(right - left, bottom - top),
            depth_unit_mm=unit_mm,
            joints_mm=frame.joints_mm,
            png_sha256=hashlib.sha256(png).hexdigest(),
        )
        return png, record

    def _write_shard(self, first: tuple[bytes, FrameRecord], others: Iterator[tuple[bytes, FrameRecord]]) -> None:
        state, before = self._state, sum(entry.frames for entry in self._state.entries)
        path, frames = self._out / shard_name(len(state.entries)), 0
        with replacing(path) as part, part.open("wb") as file:
            counted = _Counted(file)
            # A stream is only written to, whatever the type of the argument demands.
            stream = cast(BinaryIO, counted)
            with tarfile.open(fileobj=stream, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
                for png, record in chain([first], others):
                    stem = member_stem(before + frames)
                    _add(tar, f"{stem}.png", png)
                    _add(tar, f"{stem}.json", record_bytes(record))
                    state.sequences[record.sequence] = state.sequences.get(record.sequence, 0) + 1
                    state.labelled += record.joints_mm is not None
                    frames += 1
            file.flush()
            os.fsync(file.fileno())
        state.entries.append(ShardEntry(frames, counted.size, counted.digest.hexdigest()))


class _Counted:
    """A file that is written from start to end, its digest and its size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Append."""
        self.digest.update(data)
        self.size += len(data)
        return self._file.write(data)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Append a plain file. Its header depends on nothing but name and size."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
    tar.getmembers().clear()  # tarfile keeps all headers, which grows with --frames-per-shard


# --- one frame ---


def patch_box(frame: HandFrame, cube_mm: float | None) -> tuple[int, int, int, int]:
    """Left, top, right and bottom in pixels of the part of a frame that a cube around the hand covers.

    The cube is centred on the middle of the labelled joints, or else where `find_center` finds a hand. It is the
    whole image without a cube, without a hand, and where the cube is outside of the image.
    """
    height, width = frame.depth_mm.shape
    whole = (0, 0, width, height)
    if cube_mm is None:
        return whole
    center_mm = _center(frame)
    if center_mm is None or center_mm[2] <= 0:
        return whole
    corners_px = crop_boxes([frame.camera], center_mm[None], np.array([cube_mm]), 1).corners_px[0]
    (left, top), (right, bottom) = np.clip(corners_px, 0, [width, height]).astype(int).tolist()
    return (left, top, right, bottom) if left < right and top < bottom else whole


def _center(frame: HandFrame) -> Float[np.ndarray, "3"] | None:
    if frame.joints_mm is None:
        return find_center(frame.depth_mm, frame.camera)
    return (frame.joints_mm.min(axis=0) + frame.joints_mm.max(axis=0)) / 2


def to_counts(depth_mm: Float32[np.ndarray, "H W"], unit_mm: float) -> tuple[UInt16[np.ndarray, "H W"], float]:
    """Counts of 16 bits and their unit in mm.

    The unit is the given one or 1 mm if that reproduces every depth exactly. Otherwise it is the smallest power of two
    that reaches the farthest depth, and a depth is off by at most half of it: 1/128 mm up to 1 m.
    """
    farthest_mm = float(depth_mm.max(initial=0.0))
    for unit in dict.fromkeys((unit_mm, 1.0)):
        if farthest_mm / unit > MAX_COUNT:
            continue
        counts = np.rint(depth_mm / np.float64(unit)).astype(np.uint16)
        if np.array_equal(counts.astype(np.float32) * np.float32(unit), depth_mm):
            return counts, unit
    # frexp writes the ratio as m 2^e with m below 1, so that 2^e is the next power of two.
    unit = 2.0 ** int(np.frexp(farthest_mm / MAX_COUNT)[1])
    counts = np.rint(depth_mm / unit)
    counts[(counts == 0) & (depth_mm > 0)] = 1  # seen, although very near
    return counts.astype(np.uint16), unit
