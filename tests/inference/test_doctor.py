"""The doctor names the mistakes that people make with depth cameras, and finds nothing wrong with right frames."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import crossnets
from crossnets.cli.doctor import doctor
from crossnets.datasets.opening import open_dataset
from crossnets.geometry.skeleton import MSRA21
from crossnets.inference.doctor import Check, diagnose
from crossnets.synth.writing import write_dataset
from crossnets.types import HandFrame, Pinhole

FRAMES = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("doctor") / "recording"
    write_dataset("recording", FRAMES, out, camera="realsense-d435", clutter=True, progress=False)
    return out


@pytest.fixture(scope="module")
def frames(folder: Path) -> list[HandFrame]:
    recording = open_dataset(f"recording:{folder}")
    return [recording[index] for index in range(FRAMES)]


@pytest.fixture(scope="module")
def tracker() -> crossnets.Tracker:
    return crossnets.load()


def depth(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[HandFrame], HandFrame]:
    return lambda frame: replace(frame, depth_mm=np.ascontiguousarray(change(frame.depth_mm), np.float32))


def focal(factor: float) -> Callable[[HandFrame], HandFrame]:
    def changed(frame: HandFrame) -> HandFrame:
        fx, fy, cx, cy = frame.camera
        return replace(frame, camera=Pinhole(fx * factor, fy * factor, cx, cy), joints_mm=None)

    return changed


def filled(image: np.ndarray) -> np.ndarray:
    """Continue each row's depth over invalid pixels, as hole filling from the left does."""
    columns = np.where(image > 0, np.arange(image.shape[1]), 0)
    columns = np.maximum.accumulate(columns, axis=1)
    found = np.take_along_axis(image, columns, axis=1)
    return np.where(found > 0, found, image.max())


def nearer_half(image: np.ndarray) -> np.ndarray:
    """Take the depth of the farther half of the pixels away."""
    return np.where(image < np.median(image[image > 0]), image, 0)


def blurred(image: np.ndarray) -> np.ndarray:
    """Blur an image with holes, which mixes surfaces with 0."""
    holes = image.copy()
    holes[::4, ::4] = 0
    return cv2.GaussianBlur(holes, (3, 3), 0)


def faults(frames: list[HandFrame], tracker: crossnets.Tracker) -> dict[str, Check]:
    checks = diagnose(frames, MSRA21, tracker.predict)
    return {check.name: check for check in checks if check.verdict != "ok"}


def test_right_frames_have_no_fault(frames: list[HandFrame], tracker: crossnets.Tracker) -> None:
    assert faults(frames, tracker) == {}


@pytest.mark.parametrize(
    ("change", "name", "says"),
    [
        (depth(lambda mm: mm / 1000), "depth unit", "looks like metres"),
        (depth(lambda mm: np.where(mm > 0, 55_000 / np.maximum(mm, 1), 0)), "depth unit", "disparity"),
        (depth(lambda mm: mm / 10), "depth unit", "centimetres"),
        (depth(lambda mm: mm[::2, ::2]), "intrinsics", "Expected 35 to 125 degrees"),
        (focal(0.6), "hand length", "expected 130 to 240 mm"),
        (focal(1.7), "hand length", "expected 130 to 240 mm"),
        (depth(filled), "invalid pixels", "expected some at the edges"),
        (depth(lambda mm: filled(nearer_half(mm))), "filled holes", "repeat the depth of their neighbours"),
        (depth(np.zeros_like), "depth unit", "no pixel has depth"),
        (depth(blurred), "mixed pixels", "expected at most 12%"),
        (lambda frame: replace(frame, joints_mm=frame.joints_mm * np.float32(0.1)), "labels", "centimetres"),
    ],
)
def test_each_mistake_is_named(
    frames: list[HandFrame],
    tracker: crossnets.Tracker,
    change: Callable[[HandFrame], HandFrame],
    name: str,
    says: str,
) -> None:
    found = faults([change(frame) for frame in frames], tracker)
    assert name in found
    assert says in found[name].found
    assert found[name].fix


def test_frozen_camera_is_a_fault(frames: list[HandFrame], tracker: crossnets.Tracker) -> None:
    assert faults([frames[0]] * 6, tracker)["new frames"].verdict == "fault"


def test_source_without_frames_is_a_fault(tracker: crossnets.Tracker) -> None:
    (only,) = diagnose([], None, tracker.predict)
    assert (only.name, only.verdict) == ("frames", "fault")


def test_command_exits_with_1_on_a_fault(
    folder: Path, tmp_path: Path, frames: list[HandFrame], capsys: pytest.CaptureFixture[str]
) -> None:
    doctor(str(folder), frames=6)
    assert "hand length" in capsys.readouterr().out
    np.save(tmp_path / "frames.npy", np.stack([frame.depth_mm[::2, ::2].astype(np.uint16) for frame in frames[:4]]))
    with pytest.raises(SystemExit) as ended, pytest.warns(UserWarning, match=r"principal point \(320, 240\)"):
        doctor(str(tmp_path / "frames.npy"), camera="384,384,320,240")
    assert ended.value.code == 1
    assert "fault" in capsys.readouterr().out


@pytest.mark.real
def test_real_frames_have_no_fault(real_data: Path, tracker: crossnets.Tracker) -> None:
    for sequence in ("P4", "P5"):
        dataset = open_dataset(f"cvar:{real_data}/cvar#{sequence}")
        some = [dataset[index] for index in range(0, 40)]
        assert dataset.skeleton is not None
        found = diagnose(some, dataset.skeleton, tracker.predict)
        assert [check for check in found if check.verdict == "fault"] == []
