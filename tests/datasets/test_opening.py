import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from crossnets.datasets.opening import detect_format, open_dataset, parse_spec
from crossnets.geometry.camera import CAMERAS
from crossnets.types import Pinhole
from tests.datasets.make import make_cvar, make_icvl, make_msra, make_nyu, make_recording, make_shards

MAKERS: dict[str, Callable[[Path], object]] = {
    "nyu": make_nyu,
    "icvl": make_icvl,
    "msra": make_msra,
    "cvar": make_cvar,
    "recording": lambda root: make_recording(root / "one"),
    "shards": make_shards,
}


@pytest.mark.parametrize("name", MAKERS)
def test_format_is_given_or_detected(tmp_path: Path, name: str) -> None:
    MAKERS[name](tmp_path)
    assert detect_format(tmp_path) == name
    for spec in (f"{name}:{tmp_path}", str(tmp_path), f"{tmp_path}/"):
        dataset = open_dataset(spec, "test")
        assert dataset.name == name
        assert len(dataset) > 0


@pytest.mark.parametrize("given", MAKERS)
@pytest.mark.parametrize("found", MAKERS)
def test_format_that_differs_from_the_files_is_refused(tmp_path: Path, given: str, found: str) -> None:
    MAKERS[found](tmp_path)
    if given == found:
        return
    with pytest.raises(ValueError, match=f"was given as {given}, .* looks like {found}. Give it as {found}:"):
        open_dataset(f"{given}:{tmp_path}", "test")


def test_parts_select_frames(tmp_path: Path) -> None:
    make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 1.0, "P5": 1.0})
    make_msra(tmp_path / "msra", ("P0", "P1"))
    make_nyu(tmp_path / "nyu", "train", cameras=(1, 2))
    make_icvl(tmp_path / "icvl", "train")
    assert len(open_dataset(f"cvar:{tmp_path}/cvar#P1,P4")) == 4
    assert len(open_dataset(f"{tmp_path}/cvar#P5")) == 2
    assert len(open_dataset(f"msra:{tmp_path}/msra#P0")) == 2
    assert len(open_dataset(f"nyu:{tmp_path}/nyu#1,2")) == 4
    assert len(open_dataset(f"icvl:{tmp_path}/icvl#all")) == 6
    with pytest.raises(ValueError, match=r"the sequences P9 of .* which has P1, P4, P5"):
        open_dataset(f"cvar:{tmp_path}/cvar#P9")
    with pytest.raises(ValueError, match=r"Found NYU's cameras front; expected some of 1, 2, 3"):
        open_dataset(f"nyu:{tmp_path}/nyu#front")
    with pytest.raises(ValueError, match="expected FORMAT:PATH"):
        open_dataset(f"cvar:{tmp_path}/cvar#P1,")


def test_invalid_folders_and_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere\. Expected a folder that holds P1, P4"):
        open_dataset(f"cvar:{tmp_path}/nowhere")
    with pytest.raises(FileNotFoundError, match=r"is empty\. Expected .*joint_data\.mat"):
        open_dataset(f"nyu:{tmp_path}")
    with pytest.raises(
        ValueError, match=r"format 'nyuu' .* nyu, icvl, msra, cvar, hands17, fpha, dexycb, ho3d, h2o3d, h2o, recording"
    ):
        open_dataset("nyuu:somewhere")
    (tmp_path / "readme.txt").write_text("hello")
    with pytest.raises(NotADirectoryError, match=r"readme\.txt is a file"):
        open_dataset(f"{tmp_path}/readme.txt")
    with pytest.raises(ValueError, match=r"has an unknown format. Expected one of nyu: dataset/train"):
        open_dataset(str(tmp_path))
    for name in ("nyu", "icvl", "msra", "cvar", "recording"):
        with pytest.raises(FileNotFoundError, match=r"docs/.*\.md"):
            open_dataset(f"{name}:{tmp_path}", "test")


def test_one_subject_of_msra_names_its_parent(tmp_path: Path) -> None:
    make_msra(tmp_path, ("P3",), ("1",))
    with pytest.raises(ValueError, match=f"is one subject of MSRA. Give msra:{tmp_path}#P3"):
        open_dataset(f"{tmp_path}/P3")


def test_one_sequence_of_cvar_names_its_parent(tmp_path: Path) -> None:
    make_cvar(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"is itself one sequence: give cvar:{tmp_path}#P1"):
        open_dataset(f"{tmp_path}/P1")


def test_parse_spec() -> None:
    assert parse_spec("nyu:/a/b#1,2") == ("nyu", Path("/a/b"), ("1", "2"))
    assert parse_spec("/a:b/c") == (None, Path("/a:b/c"), None)
    assert parse_spec("nyu:~/a") == ("nyu", Path.home() / "a", None)
    assert parse_spec("nyu:~nobody-of-this-name/a") == ("nyu", Path("~nobody-of-this-name/a"), None)
    with pytest.raises(ValueError, match="expected FORMAT:PATH"):
        parse_spec("nyu:")


def test_folder_with_a_hash_in_its_name(tmp_path: Path) -> None:
    make_cvar(tmp_path / "take#2", {"P1": 1.0, "P4": 1.0})
    assert len(open_dataset(f"{tmp_path}/take#2")) == 4
    assert len(open_dataset(f"cvar:{tmp_path}/take#2#P4")) == 2


def test_camera_replaces_the_preset(tmp_path: Path) -> None:
    make_icvl(tmp_path)
    paper = CAMERAS["icvl-senz3d"]._replace(pinhole=Pinhole(241.42, 241.42, 160.0, 120.0))
    dataset = open_dataset(f"icvl:{tmp_path}", "test", paper)
    assert dataset[0].camera.fx_px == 241.42
    with pytest.raises(ValueError, match=r"for 640x480 images .*, but ICVL has 320x240"):
        open_dataset(f"icvl:{tmp_path}", "test", CAMERAS["nyu-kinect"])


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries keep or return memory in their own way"
)
def test_memory_of_freed_images_is_kept(tmp_path: Path) -> None:
    """A page of memory that the system gives is counted as a fault. An image of HO-3D in mm has 300 pages."""
    read = """
import resource, sys
import numpy as np
from crossnets.datasets.ho3d import decoded_depth
from crossnets.datasets.opening import open_dataset
open_dataset(sys.argv[1])
image = np.zeros((480, 640, 3), np.uint8)
faults = []
for _ in range(6):
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    images = [decoded_depth(image) for _ in range(2)]
print(faults[-1] - faults[-2])
"""
    make_recording(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", read, tmp_path], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) < 100
