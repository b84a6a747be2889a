"""Folders, the virtual camera, and what a text names."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crossnets.cameras import DepthSource, SourceError, open_source
from crossnets.datasets.recording import RecordingWriter
from crossnets.geometry.camera import CAMERAS, CameraPreset, project
from crossnets.types import Lens, LensCamera, Pinhole

SMALL = CameraPreset(Pinhole(50.0, 50.0, 15.5, 11.5), 32, 24, 0.5, "test")


def depths(count: int) -> np.ndarray:
    return np.full((count, 24, 32), 400.0, np.float32) + np.arange(count, dtype=np.float32)[:, None, None]


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    with RecordingWriter(tmp_path / "recording", SMALL) as writer:
        for depth_mm in depths(12):
            writer.add(depth_mm)
    return tmp_path / "recording"


@pytest.fixture
def pngs(tmp_path: Path) -> Path:
    folder = tmp_path / "pngs"
    folder.mkdir()
    for number, depth_mm in enumerate(depths(11)):
        Image.fromarray(depth_mm.astype(np.uint16)).save(folder / f"{number}.png")
    return folder


def test_a_recording_gives_its_frames_in_order(recording: Path) -> None:
    with open_source(str(recording)) as source:
        assert isinstance(source, DepthSource)
        assert source.preset[:4] == SMALL[:4]
        frames = list(source)
    assert [float(frame.depth_mm[0, 0]) for frame in frames] == [400.0 + number for number in range(12)]
    assert [frame.number for frame in frames] == list(range(12))
    assert frames[3].time_s == pytest.approx(0.1)


def test_a_source_and_its_frames_say_what_they_are(recording: Path, pngs: Path) -> None:
    source = open_source(str(recording))
    assert repr(source) == (f"<source {recording}: 32 x 24 pixels, fx 50.0, fy 50.0, cx 15.5, cy 11.5, 0.5 mm a count>")
    assert repr(next(iter(source))) == "<frame 0 at 0.000 s: 32 x 24 pixels>"
    distorted = open_source(str(pngs), "50,50,15.5,11.5:0.1,-0.05,0,0")
    assert repr(distorted).endswith("32 x 24 pixels, fx 50.0, fy 50.0, cx 15.5, cy 11.5, with a lens>")


def test_numbered_pngs_with_a_camera(pngs: Path) -> None:
    with open_source(str(pngs), "50,50,15.5,11.5,2") as source:
        frames = list(source)
        assert (source.preset.width_px, source.preset.height_px) == (32, 24)
    assert [float(frame.depth_mm[0, 0]) for frame in frames] == [2 * (400.0 + number) for number in range(11)]
    assert frames[0].camera == SMALL.pinhole


def test_broken_frames_are_told_and_left_out(recording: Path) -> None:
    told: list[str] = []
    (recording / "000003.png").write_bytes(b"no image")
    Image.fromarray(np.ones((10, 10), np.uint16)).save(recording / "000005.png")
    with open_source(str(recording), tell=told.append) as source:
        numbers = [frame.number for frame in source]
    assert numbers == [0, 1, 2, 4, *range(6, 12)]
    assert len(told) == 2
    assert "000003.png: the file is not a PNG" in told[0]
    assert "10x10 pixels, expected 32x24" in told[1]


def test_nothing_readable_is_an_error(recording: Path) -> None:
    for path in recording.glob("*.png"):
        path.write_bytes(b"no image")
    with open_source(str(recording), tell=lambda _: None) as source, pytest.raises(ValueError, match="None of the 12"):
        list(source)


def test_closing_ends_the_frames(recording: Path) -> None:
    for text in (str(recording), "virtual:icvl-senz3d"):
        with open_source(text) as source:
            frames = iter(source)
            next(frames)
            source.close()
            assert list(frames) == []


@pytest.mark.parametrize(
    ("text", "camera", "message"),
    [
        ("{tmp}/absent", None, r"Found no folder .*A source is one of: virtual"),
        ("kinect", None, r"Found no folder 'kinect'"),
        ("~nobody-of-this-name/hands", None, r"Found no folder"),
        ("{tmp}", None, r"holds folders of PNGs \(pngs, recording\) and no PNG of its own. Give one of them"),
        ("{tmp}/pngs", None, r"PNGs without camera\.json.*--camera: one of nyu-kinect"),
        ("{tmp}/recording", "realsense-d435", r"has its own camera\.json.*Leave it out"),
        ("virtual", "realsense-d435", r"--camera is for folders"),
        ("virtual:kodak", None, r"No camera is named 'kodak'"),
    ],
)
@pytest.mark.usefixtures("recording", "pngs")
def test_messages(tmp_path: Path, text: str, camera: str | None, message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        open_source(text.replace("{tmp}", str(tmp_path)), camera)


def test_seeds_of_the_virtual_camera_have_a_limit() -> None:
    most = 2**32 - 1
    assert open_source("virtual", seed=most).name == "virtual:realsense-d435"
    for seed in (-1, most + 1):
        with pytest.raises(ValueError, match=f"Found the seed {seed}, expected 0 to {most}"):
            open_source("virtual", seed=seed)


def test_folders_below_a_folder_of_pngs_are_named(pngs: Path) -> None:
    (pngs / "below").mkdir()
    shutil.copy(sorted(pngs.glob("*.png"))[0], pngs / "below")
    told: list[str] = []
    open_source(str(pngs), "realsense-d435", tell=told.append)
    assert told == [f"Only the PNGs of {pngs} itself are read, not those of the folders in it (below)."]


def test_an_empty_folder_and_a_broken_camera(tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="holds no PNG"):
        open_source(str(tmp_path / "nothing"))
    (tmp_path / "camera.json").write_text(json.dumps({"format": "other"}))
    Image.fromarray(np.ones((4, 4), np.uint16)).save(tmp_path / "0.png")
    with pytest.raises(ValueError, match="found format 'other'"):
        open_source(str(tmp_path))


@pytest.fixture(scope="module")
def film() -> Callable[[str, int], list]:
    def make(text: str, count: int, seed: int = 0) -> list:
        with open_source(text, seed=seed) as source:
            return list(islice(source, count))

    return make


def test_the_virtual_hand_moves_smoothly_and_stays_in_the_image(film: Callable[..., list]) -> None:
    frames = film("virtual", 300)
    joints = np.array([frame.joints_mm for frame in frames])
    step_mm = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    assert step_mm.max() < 60, "no joint jumps"
    assert np.linalg.norm(joints.max(axis=0) - joints.min(axis=0), axis=-1).min() > 50, "every joint moves"
    assert np.allclose([frame.time_s for frame in frames], np.arange(300) / 30)
    uv = project(joints, CAMERAS["realsense-d435"].pinhole)[..., :2]
    inside = ((uv > -20) & (uv < np.array([660, 500]))).all(axis=-1)
    assert inside.mean() > 0.99
    for frame in frames[::50]:
        assert frame.depth_mm.shape == (480, 640)
        assert (frame.depth_mm > 0).sum() > 3000


def test_the_virtual_joints_lie_in_the_hand(film: Callable[..., list]) -> None:
    frame = film("virtual:realsense-sr300", 1)[0]
    seen = frame.depth_mm[frame.depth_mm > 0]
    assert seen.min() - 5 < frame.joints_mm[:, 2].min() < seen.max()


def test_the_virtual_film_depends_on_the_seed_alone(film: Callable[..., list]) -> None:
    first, again, other = (
        film("virtual:icvl-senz3d", 5),
        film("virtual:icvl-senz3d", 5),
        film("virtual:icvl-senz3d", 5, 1),
    )
    assert all((a.depth_mm == b.depth_mm).all() for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].joints_mm, other[0].joints_mm)


def test_heavy_packages_are_loaded_by_their_own_source_only(recording: Path) -> None:
    code = (
        "import sys, crossnets.cli, crossnets.cli.live\n"
        "from crossnets.cameras import open_source\n"
        f"with open_source({str(recording)!r}) as source: assert len(list(source)) == 12\n"
        "print([name for name in ('torch', 'numba', 'pyrealsense2', 'array_api_compat') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_a_mistyped_source_is_guessed() -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder 'realsens'\. Did you mean realsense\? A source is one of"):
        open_source("realsens")


@pytest.mark.parametrize(
    ("text", "module", "extra"), [("realsense", "pyrealsense2", "realsense"), ("virtual", "numba", "render")]
)
def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, text: str, module: str, extra: str) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        f"sys.argv = ['crossnets', 'record', {text!r}, '--out', {str(tmp_path / 'out')!r}, '--frames', '1']\n"
        "from crossnets.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert f"pip install '.[{extra}]' in " in done.stderr  # the tests run in a checkout
    assert ("A recording or a folder of PNGs needs no extra." in done.stderr) == (text == "virtual")


@pytest.mark.parametrize("error", ["ImportError", "OSError"])
def test_a_pyrealsense2_that_does_not_load_names_libusb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    (tmp_path / "pyrealsense2.py").write_text(f"raise {error}('libusb-1.0.so.0: cannot open shared object file')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pyrealsense2", raising=False)
    with pytest.raises(SourceError, match=r"does not load: libusb-1.*If libusb is missing: apt-get install"):
        open_source("realsense")


def test_a_folder_gives_frames_as_they_were_taken_through_its_lens(pngs: Path) -> None:
    lens = Lens(0.1, -0.05, 0.0, 0.0)
    with open_source(str(pngs), "50,50,15.5,11.5:0.1,-0.05,0,0") as source:
        first = next(iter(source))
    assert first.camera == LensCamera(SMALL.pinhole, lens, 32, 24)
    assert (first.depth_mm == 400.0).all()


def test_the_virtual_camera_draws_through_a_lens() -> None:
    with open_source("virtual:azure-kinect-nfov") as source:
        frames = list(islice(source, 3))
    for frame in frames:
        assert isinstance(frame.camera, LensCamera)
        assert frame.joints_mm is not None
        u, v = np.rint(project(frame.joints_mm, frame.camera)[:, :2]).astype(int).T
        behind_mm = frame.joints_mm[:, 2] - frame.depth_mm[v, u]
        assert np.mean((behind_mm > -10) & (behind_mm < 40)) > 0.6


def test_a_recording_of_a_lens_keeps_it(tmp_path: Path) -> None:
    with open_source("virtual:azure-kinect-nfov") as source:
        (frame,) = islice(source, 1)
        with RecordingWriter(tmp_path / "film", source.preset, source.skeleton) as writer:
            writer.add(frame.depth_mm, frame.joints_mm)
    with open_source(str(tmp_path / "film")) as again:
        (found,) = again
    assert found.camera == frame.camera
    np.testing.assert_allclose(found.depth_mm, frame.depth_mm, atol=0.51)
