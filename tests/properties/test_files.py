"""Round trips: each reader gives what its writer was given, on frames and labels that Hypothesis draws."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from crossnets.datasets.msra import read_bin
from crossnets.datasets.opening import open_dataset, parse_spec
from crossnets.datasets.packing import PackConfig, pack
from crossnets.datasets.png import png_size, read_png16, read_png_rgb, save_png
from crossnets.datasets.recording import Recording, RecordingWriter
from crossnets.datasets.shard_format import FrameRecord, read_record, record_bytes
from crossnets.datasets.writers import msra_bytes, set_writer
from crossnets.evaluation.predictions import (
    PredictionHeader,
    is_prediction_file,
    read_predictions,
    read_uvd_text,
    write_predictions,
    write_uvd_text,
)
from crossnets.geometry.camera import CAMERAS, CameraPreset
from crossnets.geometry.skeleton import CVAR21, HANDS17_21, HO3D_21, ICVL16, MEDIAPIPE21, MSRA21, NYU36, Skeleton
from crossnets.inference.description import from_text, to_text
from crossnets.inference.estimator import CropModel
from crossnets.types import Pinhole, PredictedFrame
from tests.properties.drawing import (
    cameras,
    counts,
    depth_seeds,
    joints_of,
    numbers,
    pinholes,
    skeletons,
    unless_refused,
)

names = st.text(st.sampled_from("aZ09 _-/\\:#,.\"'{}\n\t\r\0\x1b\x85\u00e9\u202e\u2028\u6f22\U0001f590"), max_size=12)
"""Keys and sequences: letters, digits, and what JSON, paths, lines or terminals treat in their own way."""
uvds = numbers(-500, 5000)
RELEASED = {
    "nyu": (NYU36, CAMERAS["nyu-kinect"], 65535),
    "icvl": (ICVL16, CAMERAS["icvl-senz3d"], 499),
    "msra": (MSRA21, CAMERAS["msra-senz3d"], 65535),
    "cvar": (CVAR21, CAMERAS["cvar-senz3d"], 32000),
    "hands17": (HANDS17_21, CAMERAS["realsense-sr300"], 32000),
    "fpha": (HANDS17_21, CAMERAS["realsense-sr300"], 32000),
    "dexycb": (MEDIAPIPE21, CAMERAS["dexycb-d415"], 32000),
    "ho3d": (HO3D_21, CAMERAS["ho3d-sr300"], 8000),
    "h2o": (MEDIAPIPE21, CAMERAS["h2o-azure-kinect"], 32000),
}
"""Skeleton, camera and farthest depth of each format. 32001 is a pixel without depth in files of a Senz3D."""


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder for each example; the fixture `tmp_path` would be the same for all of them."""
    with TemporaryDirectory() as name:
        yield Path(name)


@given(depth_seeds, st.integers(1, 40), st.integers(1, 40))
def test_images(seed: int, height: int, width: int) -> None:
    image = counts(seed, height, width, 65535).astype(np.uint16)
    rgb = np.stack([image & 255, image >> 8, image // 3 & 255], axis=-1).astype(np.uint8)
    with folder() as root:
        save_png(root / "a.png", image)
        save_png(root / "b.png", rgb)
        assert png_size(root / "a.png") == (width, height)
        np.testing.assert_array_equal(read_png16(root / "a.png", [(width, height)]), image)
        np.testing.assert_array_equal(read_png_rgb(root / "b.png", [(width, height)]), rgb)


@given(depth_seeds, st.integers(1, 40), st.integers(1, 40))
def test_images_of_msra(seed: int, height: int, width: int) -> None:
    depth_mm = (counts(seed, height, width, 65535) * 0.37).astype(np.float32)
    with folder() as root:
        (root / "a.bin").write_bytes(msra_bytes(depth_mm))
        np.testing.assert_array_equal(read_bin(root / "a.bin", width, height), depth_mm)


@pytest.mark.parametrize("name", RELEASED)
@settings(max_examples=max(2, settings().max_examples // 8))
@given(st.data(), depth_seeds, st.sampled_from(["train", "test"]))
def test_released_formats(name: str, data: st.DataObject, seed: int, split: Literal["train", "test"]) -> None:
    skeleton, camera, farthest = RELEASED[name]
    depths = [counts(seed + i, camera.height_px, camera.width_px, farthest).astype(np.float32) for i in range(2)]
    joints = [data.draw(joints_of(skeleton)).astype(np.float32) for _ in depths]
    with folder() as root:
        writer = set_writer(name, root, split, len(depths), camera, skeleton)
        for depth_mm, joints_mm in zip(depths, joints, strict=True):
            writer.add(depth_mm, joints_mm)
        writer.close()
        parts = "#all" if name == "icvl" and split == "train" else ""
        dataset = open_dataset(f"{name}:{root}{parts}", split)
        assert (len(dataset), dataset.problems) == (2, [])
        for index, (depth_mm, joints_mm) in enumerate(zip(depths, joints, strict=True)):
            frame = dataset[index]
            assert frame.joints_mm is not None
            # HO-3D has a unit of 0.125 mm, and the others of 1 mm.
            np.testing.assert_allclose(frame.depth_mm, depth_mm, atol=0.0635 if name == "ho3d" else 0)
            # Labels have four decimals, in pixels for ICVL and CVAR, where 1e-4 px are 2e-4 mm at 400 mm.
            np.testing.assert_allclose(frame.joints_mm, joints_mm, atol=1e-3)


@st.composite
def recorded(draw: st.DrawFn) -> tuple[CameraPreset, Skeleton | None, list[Any]]:
    """A camera, a skeleton or none, and the joints of each frame or None."""
    camera = draw(cameras(st.integers(2, 24)).filter(lambda one: one.lens is None))
    skeleton = draw(st.none() | skeletons)
    label = st.none() if skeleton is None else st.none() | joints_of(skeleton)
    return camera, skeleton, draw(st.lists(label, min_size=1, max_size=3))


def write_recording(root: Path, camera: CameraPreset, skeleton: Skeleton | None, labels: list[Any], seed: int) -> Any:
    """Depth of each frame in mm, as it was written."""
    unit = np.float32(camera.depth_unit_mm)
    # 32001 counts of 1 mm are the code for missing depth, which readers take for 0.
    images = [counts(seed + i, camera.height_px, camera.width_px, 32000) for i in range(len(labels))]
    with RecordingWriter(root, camera, skeleton) as writer:
        for image, joints in zip(images, labels, strict=True):
            writer.add(image.astype(np.float32) * unit, None if joints is None else joints.astype(np.float32))
    return [image.astype(np.float32) * unit for image in images]


@pytest.mark.filterwarnings("ignore:.*(principal point|focal length)")
@given(recorded(), depth_seeds)
def test_recordings_and_their_shards(given_one: tuple[CameraPreset, Skeleton | None, list[Any]], seed: int) -> None:
    camera, skeleton, labels = given_one
    with folder() as root:
        depths = write_recording(root / "take", camera, skeleton, labels, seed)
        recording = Recording(root / "take")
        pack({"take": recording}, root / "shards", PackConfig(frames_per_shard=2, seed=seed % 1000))
        shards = open_dataset(f"shards:{root / 'shards'}")
        assert recording.problems == []
        assert recording.skeleton == (skeleton if any(one is not None for one in labels) else None)
        packed = {frame.key: frame for frame in (shards[i] for i in range(len(shards)))}
        assert len(recording) == len(packed) == len(labels)
        for index, (depth_mm, joints) in enumerate(zip(depths, labels, strict=True)):
            for frame in (recording[index], packed[recording[index].key]):
                assert frame.camera == camera.pinhole
                np.testing.assert_array_equal(frame.depth_mm, depth_mm)
                assert (frame.joints_mm is None) == (joints is None)
                if frame.joints_mm is not None:
                    np.testing.assert_array_equal(frame.joints_mm, joints.astype(np.float32))


@pytest.mark.filterwarnings("ignore:.*(principal point|focal length)")
@given(cameras(st.integers(2, 24)), depth_seeds)
def test_recordings_through_a_lens(camera: CameraPreset, seed: int) -> None:
    with folder() as root:
        depths = write_recording(root, camera, None, [None], seed)
        refused = "lens coefficients .* fold|cannot be inverted|see rays at more than"
        recording = unless_refused(lambda: Recording(root), refused)
        if recording is None:
            return
        depth_mm, taken, _ = recording.as_taken(0)
        assert taken == camera.camera
        np.testing.assert_array_equal(depth_mm, depths[0])


@given(st.data(), st.none() | skeletons, names, pinholes, st.sampled_from([0.125, 1.0]))
def test_records_of_shards(
    data: st.DataObject, skeleton: Skeleton | None, name: str, camera: Pinhole, unit_mm: float
) -> None:
    joints = None if skeleton is None else data.draw(st.none() | joints_of(skeleton))
    joints_mm = None if joints is None else joints.astype(np.float32)
    record = FrameRecord(name, name, name, camera, (640, 480), (3, 4), (9, 8), unit_mm, joints_mm, "0" * 64)
    found = read_record(record_bytes(record), Path("a.json"), skeleton)
    assert {**vars(found), "joints_mm": None} == {**vars(record), "joints_mm": None}
    np.testing.assert_array_equal(found.joints_mm, joints_mm)


@st.composite
def predictions(draw: st.DrawFn) -> tuple[PredictionHeader, list[PredictedFrame]]:
    """A header, and frames with different keys."""
    skeleton = draw(skeletons)
    header = PredictionHeader(skeleton.name, draw(names), draw(names), draw(names), draw(st.booleans()))
    frames = []
    for key in draw(st.lists(names, unique=True, max_size=3)):
        joints = draw(st.none() | joints_of(skeleton, 5000.0))
        joints_mm = None if joints is None else joints.astype(np.float32)
        center_mm = None if joints_mm is None else joints_mm[0]
        std_mm = None if joints_mm is None else np.abs(joints_mm[:, 2])
        frames.append(PredictedFrame(key, draw(names), center_mm, joints_mm, std_mm, draw(st.booleans())))
    return header, frames


@given(predictions())
def test_predictions(given_one: tuple[PredictionHeader, list[PredictedFrame]]) -> None:
    header, frames = given_one
    with folder() as root:
        path = root / "predictions.jsonl"
        assert write_predictions(path, header, frames) == len(frames)
        assert is_prediction_file(path)
        found = read_predictions(path)
    assert found.header == header
    assert len(found.frames) == len(frames)
    for one, frame in zip(found.frames, frames, strict=True):
        assert (one.key, one.sequence, one.forced) == (frame.key, frame.sequence, frame.forced)
        for name in ("center_mm", "joints_mm", "std_mm"):
            before, after = getattr(frame, name), getattr(one, name)
            assert (before is None) == (after is None)
            if before is not None:
                np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-4)  # tenths of a micrometre


@given(
    arrays.arrays(np.float64, st.tuples(st.integers(1, 3), st.sampled_from([14, 16, 21]), st.just(3)), elements=uvds)
)
def test_text_of_the_field(uvd: np.ndarray) -> None:
    with folder() as root:
        write_uvd_text(root / "uvd.txt", uvd)
        assert not is_prediction_file(root / "uvd.txt")
        np.testing.assert_allclose(read_uvd_text(root / "uvd.txt", (14, 16, 21)), uvd, atol=6e-4)


@given(st.data(), skeletons, numbers(1, 500), st.sampled_from(["per-frame", "metric"]), st.integers(1, 3))
def test_descriptions_of_networks(
    data: st.DataObject, skeleton: Skeleton, cube_mm: float, how: Literal["per-frame", "metric"], passes: int
) -> None:
    model = CropModel(preset="p", skeleton=skeleton.name, cube_mm=cube_mm, normalisation=how, passes=passes)
    weights = {MSRA21.name: np.array([[data.draw(numbers(-1, 1))] * len(skeleton)], np.float32)}
    found, maps = from_text(to_text(model, weights), "model.onnx")
    assert found == model
    np.testing.assert_allclose(maps[MSRA21.name], weights[MSRA21.name], atol=1e-6)
    assert json.loads(to_text(model, {}))["maps"] == {}


@given(st.sampled_from(["", "nyu:", "cvar", "shards:a#"]), names)
def test_names_of_data_sets_are_split_or_refused(start: str, end: str) -> None:
    text = start + end
    found = unless_refused(lambda: parse_spec(text), "nyu:PATH|FORMAT:PATH")
    if found is None:
        return
    name, path, parts = found
    assert str(path).strip()
    assert name is None or text.startswith(f"{name}:")
    assert parts is None or all(parts)
