"""Packing into shards and reading them: the same frames come back, whatever happens in between."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crossnets import cli
from crossnets.datasets.dataset import FrameError, HandDataset, Problem
from crossnets.datasets.info import describe
from crossnets.datasets.opening import detect_format, open_dataset
from crossnets.datasets.packing import PackConfig, Packed, Shuffle, pack, patch_box, to_counts
from crossnets.datasets.shards import UNREADABLE, Shards
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.skeleton import CVAR21, MSRA21, Skeleton
from crossnets.types import HandFrame, Pinhole
from tests.datasets.make import make_cvar, make_msra, make_recording

CAMERA = Pinhole(60.0, 60.0, 24.0, 24.0)


def packed(out: Path, *specs: str, **options: Any) -> Packed:
    config = PackConfig(**{"frames_per_shard": 2, **options})
    return pack({spec: open_dataset(spec) for spec in specs}, out, config)


def by_key(dataset: HandDataset) -> dict[str, HandFrame]:
    return {dataset[index].key: dataset[index] for index in range(len(dataset))}


def assert_same(found: HandFrame, expected: HandFrame) -> None:
    assert_array_equal(found.depth_mm, expected.depth_mm)
    assert (found.camera, found.sequence) == (expected.camera, expected.sequence)
    assert (found.joints_mm is None) == (expected.joints_mm is None)
    if found.joints_mm is not None and expected.joints_mm is not None:
        assert_allclose(found.joints_mm, expected.joints_mm, atol=0.01)


def shard_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("shard-*.tar"))}


class Tiny:
    """Many small frames that are made when they are asked for."""

    def __init__(self, frames: int, *, broken: tuple[int, ...] = (), seconds: float = 0.0) -> None:
        self.name = "tiny"
        self.skeleton: Skeleton | None = MSRA21
        self.camera = CAMERA
        self.problems: list[Problem] = []
        self._frames, self._broken, self._seconds = frames, broken, seconds

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, index: int) -> HandFrame:
        index = range(self._frames)[index]
        time.sleep(self._seconds)
        if index in self._broken:
            raise FrameError(Problem(Path(f"{index}.png"), "broken on purpose"))
        depth_mm = np.zeros((24, 24), np.float32)
        depth_mm[4:20, 4:20] = 500 + index % 97
        joints_mm = np.full((21, 3), 500 + index % 89, np.float32)
        return HandFrame(f"tiny/{index}", f"s{index % 3}", depth_mm, CAMERA, joints_mm)

    def sequence_of(self, index: int) -> str:
        return f"s{index % 3}"


# --- round trip ---


def test_cvar_comes_back(tmp_path: Path) -> None:
    make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 0.7}, frames=3)
    spec = f"cvar:{tmp_path / 'cvar'}#P1,P4"
    assert packed(tmp_path / "out", spec) == Packed(6, 3, 0, was_finished=False)
    found, expected = by_key(Shards(tmp_path / "out")), by_key(open_dataset(spec))
    assert found.keys() == expected.keys()
    for key, frame in found.items():
        assert_same(frame, expected[key])


@pytest.mark.parametrize("unit", [1.0, 0.125, 0.1])
def test_recording_comes_back(tmp_path: Path, unit: float) -> None:
    make_recording(tmp_path / "take", frames=3, unlabelled=(1,), unit=unit)
    packed(tmp_path / "out", f"recording:{tmp_path / 'take'}")
    shards = Shards(tmp_path / "out")
    assert shards.skeleton == MSRA21
    assert shards.depth_unit_of(0) == unit
    expected = by_key(open_dataset(f"{tmp_path / 'take'}"))
    for key, frame in by_key(shards).items():
        assert_same(frame, expected[key])


def test_several_sources(tmp_path: Path) -> None:
    make_cvar(tmp_path / "cvar", frames=8)
    make_recording(tmp_path / "one" / "take", frames=8, skeleton=None)
    make_recording(tmp_path / "two" / "take", frames=8, skeleton=None)
    specs = [f"cvar:{tmp_path / 'cvar'}", f"{tmp_path / 'one' / 'take'}", f"{tmp_path / 'two' / 'take'}"]
    packed(tmp_path / "out", *specs, frames_per_shard=12)
    shards = open_dataset(f"shards:{tmp_path / 'out'}")
    found = by_key(shards)
    assert len(found) == len(shards) == 24  # two recordings of one name do not share keys
    for number, spec in enumerate(specs, 1):
        for key, frame in by_key(open_dataset(spec)).items():
            assert_same(found[f"{number}/{key}"], frame)
    first_shard = {shards[index].key.split("/")[0] for index in range(12)}
    assert first_shard == {"1", "2", "3"}
    assert {shards.sequence_of(index) for index in range(24)} == {"P1", "take"}
    info = describe(str(tmp_path / "out"))
    assert (info.format, info.labelled, info.unlabelled, info.problems) == ("shards", 8, 16, ())


def test_msra_is_off_by_half_a_unit_at_most(tmp_path: Path) -> None:
    make_msra(tmp_path / "msra")
    packed(tmp_path / "out", f"msra:{tmp_path / 'msra'}")
    assert len(Shards(tmp_path / "out")) == 2
    depth_mm = np.array([[0.0, 1e-4, 333.3333, 999.99]], np.float32)
    counts, unit_mm = to_counts(depth_mm, 1.0)
    assert unit_mm == 1 / 64
    assert_allclose(counts * unit_mm, depth_mm, atol=unit_mm)
    assert_array_equal(counts > 0, depth_mm > 0)


def test_sequences_are_known_before_a_frame_is_read(folder: Path) -> None:
    expected = {f"tiny/{index}": f"s{index % 3}" for index in range(5)}
    for index in range(5):
        shards = Shards(folder)
        assert shards.sequence_of(index) == expected[shards[index].key]


def test_shards_are_packed_again(tmp_path: Path) -> None:
    make_recording(tmp_path / "take", unit=0.1)
    packed(tmp_path / "out", f"{tmp_path / 'take'}")
    packed(tmp_path / "again", f"shards:{tmp_path / 'out'}", seed=5)
    expected = by_key(Shards(tmp_path / "out"))
    for key, frame in by_key(Shards(tmp_path / "again")).items():
        assert_same(frame, expected[key])


def test_cube_keeps_the_patch_in_its_place(tmp_path: Path) -> None:
    made = make_cvar(tmp_path / "cvar", frames=2)
    spec = f"cvar:{tmp_path / 'cvar'}"
    packed(tmp_path / "out", spec, cube_mm=150.0)
    packed(tmp_path / "whole", spec)
    expected = by_key(open_dataset(spec))
    for key, frame in by_key(Shards(tmp_path / "out")).items():
        left, top, right, bottom = patch_box(expected[key], 150.0)
        inside = np.zeros(frame.depth_mm.shape, bool)
        inside[top:bottom, left:right] = True
        assert 0 < inside.sum() < inside.size / 4
        assert_array_equal(frame.depth_mm, np.where(inside, expected[key].depth_mm, 0))
        assert expected[key].depth_mm[~inside].any()
        assert frame.camera == expected[key].camera
    middle = (made.joints_mm[0].min(axis=0) + made.joints_mm[0].max(axis=0)) / 2
    u, v, _ = project(middle, CAMERAS["cvar-senz3d"].pinhole)
    left, top, right, bottom = patch_box(expected["cvar/P1/000000"], 150.0)
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((u, v), abs=1)


def test_cube_without_a_label_is_found_or_the_image_stays_whole() -> None:
    frame = Tiny(1)[0]
    unlabelled = HandFrame("a", "s", frame.depth_mm, CAMERA, None)
    left, top, right, bottom = patch_box(unlabelled, 60.0)
    assert (right - left) * (bottom - top) < 24 * 24
    nothing = HandFrame("a", "s", np.zeros((24, 30), np.float32), CAMERA, None)
    assert patch_box(nothing, 60.0) == (0, 0, 30, 24)


def test_command_packs_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    make_cvar(tmp_path / "cvar", frames=3)
    out = tmp_path / "out"
    command = [
        "crossnets",
        "data",
        "pack",
        f"cvar:{tmp_path / 'cvar'}#P1",
        "--out",
        str(out),
        "--frames-per-shard",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", command)
    cli.main()
    assert "3 frames in 2 shards" in capsys.readouterr().out
    cli.main()
    assert "finished before" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["crossnets", "data", "info", str(out), "--json"])
    cli.main()
    assert json.loads(capsys.readouterr().out)["frames"] == 3
    monkeypatch.setattr(sys, "argv", [*command, "--seed", "9"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "packed with --seed 0, but now 9" in capsys.readouterr().err


# --- order ---


@pytest.mark.parametrize("count", [1, 2, 3, 100, 1000])
def test_shuffle_is_a_permutation(count: int) -> None:
    order = [Shuffle(count, 7)[position] for position in range(count)]
    assert sorted(order) == list(range(count))
    assert count < 100 or order != sorted(order)
    assert order == [Shuffle(count, 7)[position] for position in range(count)]


def test_shuffle_mixes() -> None:
    order = np.array([Shuffle(2000, 1)[position] for position in range(2000)])
    assert abs(np.corrcoef(order, np.arange(2000))[0, 1]) < 0.1
    first_half = order[:1000]
    assert 400 < (first_half < 1000).sum() < 600


def test_order_depends_on_the_seed_alone(tmp_path: Path) -> None:
    for name, seed, frames_per_shard in (("a", 0, 5), ("b", 0, 5), ("c", 0, 7), ("d", 1, 5)):
        pack({"tiny": Tiny(20)}, tmp_path / name, PackConfig(seed=seed, frames_per_shard=frames_per_shard))
    assert shard_bytes(tmp_path / "a") == shard_bytes(tmp_path / "b")
    keys = {name: list(by_key(Shards(tmp_path / name))) for name in "abcd"}
    assert keys["a"] == keys["c"] != keys["d"]
    assert sorted(keys["a"]) == sorted(keys["d"])


# --- killed and continued ---


class KilledError(Exception):
    """Stands for a kill."""


@pytest.mark.parametrize("after", [0, 1, 4, 5, 9, 17])
def test_stopped_pack_continues_with_the_same_bytes(tmp_path: Path, after: int) -> None:
    sources = {"one": Tiny(10, broken=(2, 7)), "two": Tiny(8)}
    config = PackConfig(frames_per_shard=4)
    whole = pack(sources, tmp_path / "whole", config)

    def stop(done: int, total: int) -> None:
        if done == after:
            raise KilledError

    with pytest.raises(KilledError):
        pack(sources, tmp_path / "broken", config, stop)
    (tmp_path / "broken" / "shard-000003.tar.part").write_bytes(b"unfinished")
    (tmp_path / "broken" / "shard-000003.tar").write_bytes(b"not recorded yet")
    if (tmp_path / "broken" / "packing.json").is_file():
        with pytest.raises(ValueError, match=r"not finished.* Give the same crossnets data pack command again"):
            open_dataset(str(tmp_path / "broken"))
    assert pack(sources, tmp_path / "broken", config) == whole
    assert shard_bytes(tmp_path / "broken") == shard_bytes(tmp_path / "whole")
    index, expected = (json.loads((tmp_path / name / "index.json").read_text()) for name in ("broken", "whole"))
    for one in (index, expected):
        del one["provenance"]["created"]
    assert index == expected
    assert sorted(p.name for p in (tmp_path / "broken").iterdir()) == sorted(
        p.name for p in (tmp_path / "whole").iterdir()
    )
    assert len((tmp_path / "broken" / "problems.jsonl").read_text().splitlines()) == 2


def test_sigkill_continues_with_the_same_bytes(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.datasets.test_shards import Tiny;"
        "from crossnets.datasets.packing import PackConfig, pack;"
        "pack({'tiny': Tiny(60, seconds=0.01)}, Path(sys.argv[1]), PackConfig(frames_per_shard=10))"
    )
    out = tmp_path / "out"
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, "-c", program, str(out)], cwd=root)
    end = time.monotonic() + 60
    while not (out / "shard-000002.tar.part").exists() and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "index.json").exists()
    written = (out / "shard-000000.tar").stat().st_mtime_ns
    pack({"tiny": Tiny(60)}, out, PackConfig(frames_per_shard=10))
    assert (out / "shard-000000.tar").stat().st_mtime_ns == written
    pack({"tiny": Tiny(60)}, tmp_path / "whole", PackConfig(frames_per_shard=10))
    assert shard_bytes(out) == shard_bytes(tmp_path / "whole")
    assert not list(out.glob("*.part"))


def test_other_arguments_are_refused(tmp_path: Path) -> None:
    out, config = tmp_path / "out", PackConfig(frames_per_shard=4)

    def stop(done: int, total: int) -> None:
        if done == 6:
            raise KilledError

    with pytest.raises(KilledError):
        pack({"tiny": Tiny(10)}, out, config, stop)
    for finished in (False, True):
        for other, option in (
            (PackConfig(frames_per_shard=5), "--frames-per-shard 4, but now 5"),
            (PackConfig(frames_per_shard=4, seed=3), "--seed 0, but now 3"),
            (PackConfig(frames_per_shard=4, cube_mm=200.0), "--cube none, but now 200.0"),
            (PackConfig(frames_per_shard=4, split="test"), "--split train, but now test"),
        ):
            with pytest.raises(ValueError, match=f"packed with {option} is asked for. Give the same"):
                pack({"tiny": Tiny(10)}, out, other)
        with pytest.raises(ValueError, match=r"the sources tiny \(10 frames\), but now tiny \(11 frames\)"):
            pack({"tiny": Tiny(11)}, out, config)
        assert pack({"tiny": Tiny(10)}, out, config).was_finished == finished


def test_what_cannot_be_packed(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"is not empty and does not contain a pack"):
        pack({"tiny": Tiny(3)}, tmp_path / "full", PackConfig())
    with pytest.raises(ValueError, match=r"Not one frame could be read.*broken on purpose"):
        pack({"tiny": Tiny(1, broken=(0,))}, tmp_path / "none", PackConfig())
    assert not any((tmp_path / "none").iterdir())
    with pytest.raises(ValueError, match="Found no frames in tiny"):
        pack({"tiny": Tiny(0)}, tmp_path / "none", PackConfig())
    other = Tiny(3)
    other.skeleton = CVAR21
    with pytest.raises(ValueError, match=r"different skeletons: msra21 \(a\), cvar21 \(b\). Pack each into its own"):
        pack({"a": Tiny(3), "b": other}, tmp_path / "out", PackConfig())
    with pytest.raises(ValueError, match="--frames-per-shard 0; expected 1 or more"):
        PackConfig(frames_per_shard=0)
    with pytest.raises(ValueError, match="--cube -1; expected a side in mm"):
        PackConfig(cube_mm=-1.0)


def test_second_process_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def pack_too(done: int, total: int) -> None:
        with pytest.raises(BlockingIOError, match="Another process packs into"):
            pack({"tiny": Tiny(3)}, out, PackConfig())

    pack({"tiny": Tiny(3)}, out, PackConfig(), pack_too)


# --- damage ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three frames in the first shard, two in the second."""
    pack({"tiny": Tiny(5)}, tmp_path / "pack", PackConfig(frames_per_shard=3))
    return tmp_path / "pack"


def edit_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    index = json.loads((folder / "index.json").read_text())
    change(index)
    (folder / "index.json").write_text(json.dumps(index))


def agree(folder: Path) -> None:
    """Make the index state the size and the digest of the first shard as it is, as a forger would."""
    data = (folder / "shard-000000.tar").read_bytes()
    edit_index(
        folder,
        lambda index: index["shards"][0].update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest()),
    )


def rewrite(folder: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], object]) -> None:
    """Write the first shard again with other members, and an index that agrees."""
    path = folder / "shard-000000.tar"
    with tarfile.open(path) as tar:
        members = []
        for member in tar.getmembers():
            file = tar.extractfile(member)
            assert file is not None
            members.append((member, file.read()))
    change(members)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    agree(folder)


def add_member(name: str, kind: bytes = tarfile.REGTYPE) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        member = tarfile.TarInfo(name)
        member.type = kind
        member.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
        members.append((member, b"" if member.linkname else b"evil"))

    return change


def renamed(name: str) -> Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        members[0][0].name = name

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed("../00000000.png"), r"the member '\.\./00000000\.png' leaves its folder"),
        (renamed("/etc/00000000.png"), r"the member '/etc/00000000\.png' leaves its folder"),
        (renamed("C:\\00000000.png"), r"leaves its folder; expected 00000000\.png"),
        (renamed("a/00000000.png"), r"found the member 'a/00000000\.png'; expected 00000000\.png"),
        (add_member("../../evil"), r"the member '\.\./\.\./evil' leaves its folder"),
        (add_member("00000003.png", tarfile.SYMTYPE), r"the member '00000003\.png' is a link"),
        (add_member("00000003.png", tarfile.LNKTYPE), r"the member '00000003\.png' is a link"),
        (add_member("more"), r"found the member 'more'; expected the end of the file"),
        (lambda members: members.pop(3), r"found the member '00000002\.png'; expected 00000001\.json"),
        (lambda members: members.pop(), r"ends before 00000002\.json"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_shard_of_other_members_is_refused(
    folder: Path, change: Callable[[list[tuple[tarfile.TarInfo, bytes]]], object], message: str
) -> None:
    rewrite(folder, change)
    shards = Shards(folder)
    for index in range(3):
        with pytest.raises(FrameError, match=rf"shard-000000\.tar: the shard cannot be used: .*{message}"):
            shards[index]
    assert shards.sequence_of(0) == UNREADABLE
    assert shards[3].key.startswith("tiny/")  # the other shard is read
    chosen = Shards(folder, ["s0", "s1", "s2"])
    assert len(chosen) == 2
    assert "cannot be used" in str(chosen.problems[0])


def overwrite(folder: Path, offset: int, data: bytes) -> None:
    with (folder / "shard-000000.tar").open("r+b") as file:
        file.seek(offset)
        file.write(data)


def forged_header(folder: Path, size: int) -> None:
    """A header that claims another size."""
    member = tarfile.TarInfo("00000000.png")
    member.size = size
    overwrite(folder, 0, member.tobuf(tarfile.GNU_FORMAT))


@pytest.mark.parametrize("size", [0, -5, 1 << 28 | 1, 1 << 40])
def test_size_beyond_sense_is_refused(folder: Path, size: int) -> None:
    forged_header(folder, size)
    with pytest.raises(FrameError, match=rf"'00000000\.png' claims {size} bytes; expected 1 to 268435456"):
        Shards(folder)[0]


def test_size_beyond_the_file_is_refused(folder: Path) -> None:
    forged_header(folder, 1 << 27)
    with pytest.raises(FrameError, match=r"the tar file ends at byte \d+, within a member"):
        Shards(folder)[0]


def test_damaged_header_is_refused(folder: Path) -> None:
    overwrite(folder, 0, b"\xff")
    with pytest.raises(FrameError, match=r"the tar header before 00000000\.png is damaged \(bad checksum\)"):
        Shards(folder)[0]


def png_end(folder: Path) -> int:
    with tarfile.open(folder / "shard-000000.tar") as tar:
        return tar.getmembers()[0].offset_data + tar.getmembers()[0].size


def test_damaged_image_leaves_the_others(folder: Path) -> None:
    overwrite(folder, png_end(folder) - 20, b"\xff\xfe\xfd")
    shards = Shards(folder)
    with pytest.raises(
        FrameError, match=r"shard-000000\.tar/00000000\.png: the image is damaged: found sha256 \w+, but"
    ):
        shards[0]
    assert shards[1].joints_mm is not None
    assert len(describe(str(folder)).problems) == 1


def json_start(folder: Path) -> int:
    with tarfile.open(folder / "shard-000000.tar") as tar:
        return tar.getmembers()[1].offset_data


def test_damaged_label_leaves_the_others(folder: Path) -> None:
    data = (folder / "shard-000000.tar").read_bytes()
    offset = data.index(b"joints_mm", json_start(folder)) + len(b'joints_mm": [[')
    overwrite(folder, offset, b"9")
    shards = Shards(folder)
    with pytest.raises(
        FrameError, match=r"00000000\.json: the record is damaged: its record_sha256 is not that of its"
    ):
        shards[0]
    assert shards[1].joints_mm is not None


def test_record_that_is_not_json(folder: Path) -> None:
    overwrite(folder, json_start(folder), b"\xff\xff")
    shards = Shards(folder)
    with pytest.raises(FrameError, match=r"00000000\.json: the record is not JSON"):
        shards[0]
    assert shards.sequence_of(0) == UNREADABLE
    chosen = Shards(folder, ["s0", "s1", "s2"])
    assert len(chosen) == 4
    assert "names no sequence" in str(chosen.problems[0])


def set_fields(folder: Path, **fields: Any) -> None:
    """Change the first record, with digests that agree."""

    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        record = json.loads(members[1][1]) | fields
        del record["record_sha256"]
        digest = hashlib.sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
        members[1] = (members[1][0], json.dumps({**record, "record_sha256": digest}).encode())

    rewrite(folder, change)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size_px": [1 << 20, 1 << 20]}, r"an image of 1048576x1048576, expected 1 to 16777216 pixels"),
        ({"size_px": [24.0, 24]}, r"found size_px \[24\.0, 24\]; expected two whole numbers"),
        ({"offset_px": [1, 0]}, r"the patch of 24x24 pixels at 1, 0 leaves the image of 24x24"),
        ({"patch_px": [20, 20]}, r"found an image of 24x24 pixels, expected 20x20"),
        ({"depth_unit_mm": 0}, r"a depth unit of 0\.0 mm; expected above 0"),
        ({"joints_mm": [[0, 0, 500]]}, r"found joints of shape \(1, 3\); expected 21 x 3 of msra21"),
        ({"joints_mm": [[0, 0, -1]] * 21}, r"joint 0 has a depth of -1 mm, expected more than 0"),
        ({"joints_mm": "none"}, r"found joints of shape .*expected 21 x 3"),
        ({"camera": None}, r"found the camera None; expected fx_px"),
        ({"camera": {"fx_px": 0, "fy_px": 1, "cx_px": 1, "cy_px": 1}}, r"expected positive focal lengths"),
        ({"key": 3}, r"found key 3; expected a text"),
        ({"depth_unit_mm": 10**400}, r"the record is not JSON \(found a whole number of 401 digits"),
        ({"size_px": [10**299, 10**299]}, r"expected 1 to \d+ pixels"),
        ({"png_sha256": "abc"}, r"found png_sha256 'abc'; expected 64 hexadecimal digits"),
        ({"png_sha256": "0" * 64}, r"the image is damaged: found sha256 \w+, but its record says 000"),
    ],
)
def test_wrong_record_names_the_field(folder: Path, fields: dict[str, Any], message: str) -> None:
    set_fields(folder, **fields)
    shards = Shards(folder)
    with pytest.raises(FrameError, match=rf"00000000\.(json|png): .*{message}"):
        shards[0]
    assert shards[1].key.startswith("tiny/")


def test_shard_of_another_pack_is_refused(folder: Path, tmp_path: Path) -> None:
    edit_index(folder, lambda index: index["shards"][0].update(sha256="0" * 64))
    shards = Shards(folder)
    with pytest.raises(FrameError, match=r"found sha256 \w+, but index\.json says 0000.*the shard is of another pack"):
        shards[0]
    assert shards[4].key.startswith("tiny/")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda index: index.update(version=2), r"index\.json: found version 2; this crossnets reads 1"),
        (
            lambda index: index.update(format="other"),
            r"found format 'other', expected \"format\": \"crossnets-shards\"",
        ),
        (lambda index: index.update(skeleton="octopus"), r"Unknown skeleton 'octopus'. Known: nyu36"),
        (lambda index: index.update(frames=6), r"found frames 6, but the shards have 5"),
        (lambda index: index.update(shards=3), r"found shards 3; expected a list"),
        (lambda index: index.update(camera={}), r"found the camera {}; expected fx_px"),
        (lambda index: index.update(sequences=[]), r"found sequences \[\]"),
        (lambda index: index.update(provenance=None), r"found no list of sources in provenance"),
        (
            lambda index: index["shards"][0].update(file="../../etc"),
            r"the shard '../../etc'; expected shard-000000\.tar",
        ),
        (lambda index: index["shards"][0].update(frames=-1), r"found frames -1; expected a whole number"),
        (lambda index: index["camera"].update(fx_px=10**400), r"is not JSON: found a whole number of 401 digits"),
        (lambda index: index["shards"][0].update(sha256="x"), r"found sha256 'x' of shard-000000\.tar"),
    ],
)
def test_wrong_index_is_refused(folder: Path, change: Callable[[dict[str, Any]], object], message: str) -> None:
    edit_index(folder, change)
    assert detect_format(folder) == "shards"
    with pytest.raises(ValueError, match=message):
        open_dataset(f"shards:{folder}")


def test_wrong_files_are_refused(folder: Path, tmp_path: Path) -> None:
    shard, moved = folder / "shard-000001.tar", tmp_path / "moved.tar"
    shard.rename(moved)
    with pytest.raises(FileNotFoundError, match=r"shard-000001\.tar is missing. index\.json lists it"):
        open_dataset(str(folder))
    shard.symlink_to(moved)
    with pytest.raises(ValueError, match=r"shard-000001\.tar is a link or a folder; expected a plain file"):
        open_dataset(str(folder))
    shard.unlink()
    shard.write_bytes(moved.read_bytes()[:-512])
    with pytest.raises(ValueError, match=r"has \d+ bytes, but index\.json says \d+: it is truncated"):
        open_dataset(str(folder))
    (folder / "index.json").write_text("{")
    with pytest.raises(ValueError, match=r"index\.json is not JSON"):
        open_dataset(str(folder))
    (folder / "index.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"Found no index\.json in"):
        open_dataset(f"shards:{folder}")


def test_camera_is_that_of_the_frames(folder: Path) -> None:
    with pytest.raises(ValueError, match="Shards state the camera of each frame"):
        open_dataset(f"shards:{folder}", camera=CAMERAS["nyu-kinect"])
    with pytest.raises(IndexError):
        Shards(folder)[5]
    with pytest.raises(ValueError, match=r"the sequences P9 of .* which has"):
        open_dataset(f"shards:{folder}#P9")


# --- memory ---


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_is_flat(tmp_path: Path) -> None:
    peaks: dict[int, tuple[int, int]] = {}
    pack({"tiny": Tiny(50)}, tmp_path / "warm", PackConfig(frames_per_shard=50))  # what is made once is made now
    for frames in (200, 2000):
        out = tmp_path / str(frames)

        def write(frames: int = frames, out: Path = out) -> None:
            pack({"tiny": Tiny(frames)}, out, PackConfig(frames_per_shard=max(50, frames // 4)))

        def read(out: Path = out) -> None:
            shards = Shards(out)
            for index in range(len(shards)):
                shards[index]

        peaks[frames] = (peak_bytes(write), peak_bytes(read))
    for few, many in zip(*peaks.values(), strict=True):
        assert many < few + 100_000, peaks
