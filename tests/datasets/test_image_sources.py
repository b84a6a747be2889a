"""Sources of images that `predict` takes, and the camera that some of them need."""

import json
from pathlib import Path

import numpy as np
import pytest

from crossnets.cameras.folders import FolderSource
from crossnets.cameras.opening import open_source
from crossnets.datasets.dataset import FrameError
from crossnets.datasets.file_checks import matching_camera, natural_order
from crossnets.datasets.image_sources import open_sources
from crossnets.datasets.recording import Recording
from crossnets.datasets.writers import set_writer
from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.lens import ideal_image
from crossnets.geometry.skeleton import MSRA21
from crossnets.types import Lens, LensCamera, Pinhole
from tests.datasets.make import Made, make_cvar, make_recording


def test_only_images_without_a_camera_file_need_a_camera(images: Made, tmp_path: Path) -> None:
    path = str(images.root / "000000.png")
    for given in (path, str(images.root)):
        with pytest.raises(ValueError, match=r"000000\.png is an image without camera\.json.*--camera: one of nyu-kin"):
            open_sources([given], None)
    with pytest.raises(ValueError, match=r"No camera is named 'webcam'. Known: nyu-kinect"):
        open_sources([path], "webcam")
    recording = str(make_recording(tmp_path / "rec").root)
    with pytest.raises(ValueError, match=r"rec\) have their own camera\. Omit --camera"):
        open_sources([recording], "msra-senz3d")
    assert [len(source) for source in open_sources([recording], None)] == [3]


def test_single_image_of_a_recording_names_the_recording(tmp_path: Path) -> None:
    made = make_recording(tmp_path / "rec", frames=1, skeleton=None)
    with pytest.raises(ValueError, match=r"000000\.png belongs to a recording, .*Give the whole recording"):
        open_sources([str(made.root / "000000.png")], None)


def test_camera_given_by_numbers_accepts_any_image_size_and_unit(images: Made) -> None:
    (source,) = open_sources([str(images.root)], "241.42,241.42,160,120,0.5")
    np.testing.assert_allclose(source[0].depth_mm, images.depth_mm[0] / 2)
    assert source[0].camera.fx_px == 241.42


def test_single_senz3d_images_are_read_like_the_data_set(tmp_path: Path) -> None:
    made = make_cvar(tmp_path)
    (source,) = open_sources([str(tmp_path / "P1" / "000000_depth.png")], "cvar-senz3d")
    np.testing.assert_array_equal(source[0].depth_mm, made.depth_mm[0])


def test_folder_of_image_folders(images: Made) -> None:
    (source,) = open_sources([str(images.root.parent)], "msra-senz3d")
    assert len(source) == 4
    assert source.sequence_of(0) == "images"


def test_images_below_a_folder_with_images_are_read_too(images: Made, tmp_path: Path) -> None:
    first = sorted(images.root.glob("*.png"))[0]
    for place in (".", "b/c", "a", "overlays"):
        folder = tmp_path / "top" / place
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "000000.png").write_bytes(first.read_bytes())
    make_recording(tmp_path / "top" / "recording")
    (data,) = open_sources([str(tmp_path / "top")], "msra-senz3d")
    keys = [data.key_of(index).partition("top/")[2] for index in range(len(data))]
    assert keys == ["000000.png", "a/000000.png", "b/c/000000.png"]


def test_folder_of_drawn_pictures_is_refused(images: Made, tmp_path: Path) -> None:
    overlays = tmp_path / "found" / "overlays"
    overlays.mkdir(parents=True)
    (overlays / "000000.png").write_bytes(sorted(images.root.glob("*.png"))[0].read_bytes())
    (tmp_path / "found" / "predictions.jsonl").write_text("{}")
    for camera in (None, "msra-senz3d"):
        with pytest.raises(FileNotFoundError, match=r"found holds no depth images.*`crossnets predict` drew"):
            open_sources([str(tmp_path / "found")], camera)


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.uint16, np.float32])
def test_arrays_of_all_numbers_with_enough_bits(kind: type, tmp_path: Path) -> None:
    depth_mm = np.zeros((240, 320))
    depth_mm[100:140, 140:180] = 400
    np.save(tmp_path / "depth.npy", depth_mm.astype(kind))
    (data,) = open_sources([str(tmp_path / "depth.npy")], "msra-senz3d")
    np.testing.assert_array_equal(data[0].depth_mm, depth_mm.astype(np.float32))
    np.save(tmp_path / "bytes.npy", depth_mm.astype(np.uint8))
    with pytest.raises(ValueError, match="expected uint16 or floating-point depth"):
        open_sources([str(tmp_path / "bytes.npy")], "msra-senz3d")


@pytest.mark.parametrize("shape", [(480, 0), (0, 640), (3, 0, 640), (0, 480, 0)])
def test_images_without_pixels_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "depth.npy", np.zeros(shape, np.uint16))
    with pytest.raises(ValueError, match=r"depth\.npy holds uint16 of shape .* at least one pixel in each image"):
        open_sources([str(tmp_path / "depth.npy")], "500,500,320,240")


def test_camera_far_from_its_image_is_warned_about(images: Made) -> None:
    with pytest.warns(UserWarning, match="principal point"):
        open_sources([str(images.root)], "241,241,0.5,0.5")


def test_missing_and_repeated_sources_are_refused(images: Made, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*none\.png"):
        open_sources([str(tmp_path / "none.png")], "msra-senz3d")
    with pytest.raises(ValueError, match=r"Given twice: .*000000\.png"):
        open_sources([str(images.root), str(images.root / "000000.png")], "msra-senz3d")
    recording = str(make_recording(tmp_path / "rec").root)
    with pytest.raises(ValueError, match=r"Given twice: .*rec"):
        open_sources([recording, recording], None)


def test_images_through_a_lens_become_ideal_ones(images: Made) -> None:
    (source,) = open_sources([str(images.root)], "241.42,241.42,160,120:0.1,-0.05,0,0")
    height, width = images.depth_mm[0].shape
    taken = LensCamera(Pinhole(241.42, 241.42, 160.0, 120.0), Lens(0.1, -0.05, 0.0, 0.0), width, height)
    expected, camera = ideal_image(images.depth_mm[0], taken)
    np.testing.assert_array_equal(source[0].depth_mm, expected)
    assert source[0].camera == source.camera == camera


def test_published_data_sets_have_no_lens() -> None:
    given = CAMERAS["msra-senz3d"]._replace(lens=Lens(0.1, 0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match=r"Found a camera with a lens, but MSRA's camera has none"):
        matching_camera(CAMERAS["msra-senz3d"], given, "MSRA")
    assert matching_camera(CAMERAS["msra-senz3d"], given._replace(lens=None), "MSRA").lens is None


def test_rendered_recordings_have_no_lens(tmp_path: Path) -> None:
    set_writer("recording", tmp_path / "film", "test", 1, CAMERAS["azure-kinect-nfov"], MSRA21).close()
    assert json.loads((tmp_path / "film" / "camera.json").read_text())["version"] == 1


def test_images_are_read_in_natural_order_with_suffixes_of_any_case(images: Made, tmp_path: Path) -> None:
    image = (images.root / "000000.png").read_bytes()
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 13):
        (folder / f"depth_{number}.{'PNG' if number % 2 else 'png'}").write_bytes(image)
    (source,) = open_sources([str(folder)], "msra-senz3d")
    expected = [f"depth_{number}" for number in range(1, 13)]
    assert [Path(source[index].key).stem for index in range(len(source))] == expected
    played = open_source(str(folder), "msra-senz3d", tell=lambda _: None)
    assert isinstance(played, FolderSource)
    recording = Recording(folder, camera=CAMERAS["msra-senz3d"])
    stems = [Path(recording[index].key).name.split(".")[0] for index in range(len(recording))]
    assert stems == expected
    assert len(played) == 12


def test_folders_of_images_are_read_in_natural_order(images: Made, tmp_path: Path) -> None:
    for number in (1, 2, 10):
        (tmp_path / "takes" / f"take_{number}").mkdir(parents=True)
        (tmp_path / "takes" / f"take_{number}" / "0.png").write_bytes((images.root / "000000.png").read_bytes())
    (source,) = open_sources([str(tmp_path / "takes")], "msra-senz3d")
    assert [source.sequence_of(index) for index in range(3)] == ["take_1", "take_2", "take_10"]


def test_names_sort_by_their_numbers() -> None:
    names = ["a10", "a", "10.png", "a2b", "2.png", "02.png", "b1", "a2"]
    assert sorted(names, key=natural_order) == ["02.png", "2.png", "10.png", "a", "a2", "a2b", "a10", "b1"]


@pytest.mark.parametrize("name", ["film.mp4", "hand.jpg", "notes"])
def test_files_that_hold_no_depth_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not a depth image")
    with pytest.raises(ValueError, match=rf"{name} is not a depth image. Expected a 16-bit PNG, a \.npy file"):
        open_sources([str(tmp_path / name)], "realsense-d435")


def test_a_png_may_have_any_name(images: Made, tmp_path: Path) -> None:
    (tmp_path / "frame").write_bytes((images.root / "000000.png").read_bytes())
    (source,) = open_sources([str(tmp_path / "frame")], "msra-senz3d")
    np.testing.assert_array_equal(source[0].depth_mm, images.depth_mm[0])


def test_arrays_with_pixels_that_are_no_depths(tmp_path: Path) -> None:
    depth_mm = np.full((3, 24, 32), 500, np.float32)
    depth_mm[0, 3, 4] = np.nan
    depth_mm[1, 5, 6] = np.inf
    depth_mm[2, 7, 8] = -1
    np.save(tmp_path / "depth.npy", depth_mm)
    (source,) = open_sources([str(tmp_path / "depth.npy")], "50,50,16,12")
    assert source[0].depth_mm[3, 4] == 0
    assert source[1].depth_mm[5, 6] == 0
    with pytest.raises(FrameError, match="its depths span -1 to 500, expected mm"):
        source[2]
