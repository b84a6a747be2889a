"""Labels of a slow video that are shifted by a few frames are told by their motion."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossnets.datasets import label_motion
from crossnets.datasets.dataset import readable_frames
from crossnets.datasets.label_checks import LabelChecks
from crossnets.datasets.label_motion import LabelMotion
from crossnets.datasets.opening import open_dataset
from crossnets.types import HandFrame, Pinhole

CAMERA = Pinhole(100.0, 100.0, 40.0, 30.0)
FRAMES = 120


def video(*, moves_mm: float, jitter_mm: float = 1.0) -> list[HandFrame]:
    """A flat disc that wanders before the camera, with five joints on it and labels that tremble."""
    rng = np.random.default_rng(3)
    centers = np.cumsum(rng.normal(0, moves_mm, (FRAMES, 2)), axis=0)
    v, u = np.mgrid[:60, :80]
    spread = np.array([[0, 0, 0], [-60, 0, 0], [60, 0, 0], [0, -60, 0], [0, 60, 0]])
    frames: list[HandFrame] = []
    for number, (x, y) in enumerate(centers):
        rays = np.stack([(u - CAMERA.cx_px) / CAMERA.fx_px * 500 - x, (v - CAMERA.cy_px) / CAMERA.fy_px * 500 - y])
        depth_mm = np.where(np.linalg.norm(rays, axis=0) < 60, 500, 0).astype(np.float32)
        joints_mm = spread + np.array([x, y, 510]) + rng.normal(0, jitter_mm, (5, 3))
        frames.append(
            HandFrame(
                depth_mm=depth_mm, joints_mm=joints_mm.astype(np.float32), camera=CAMERA, sequence="a", key=f"{number}"
            )
        )
    return frames


def with_labels_of(frames: list[HandFrame], shift: int) -> list[HandFrame]:
    return [replace(frame, joints_mm=frames[(k + shift) % len(frames)].joints_mm) for k, frame in enumerate(frames)]


def shift_of(frames: list[HandFrame]) -> int | None:
    motion = LabelMotion()
    for index, frame in enumerate(frames):
        motion.add(index, frame)
    found = motion.shifted()
    return None if found is None else found.shift


@pytest.mark.parametrize("shift", [-3, -2, -1, 1, 2, 3])
def test_each_shift_is_found(shift: int) -> None:
    assert shift_of(with_labels_of(video(moves_mm=2.0), shift)) == -shift


@pytest.mark.parametrize(("moves_mm", "jitter_mm"), [(2.0, 1.0), (2.0, 8.0), (0.0, 1.0), (0.0, 0.0), (50.0, 1.0)])
def test_right_labels_are_not_shifted(moves_mm: float, jitter_mm: float) -> None:
    assert shift_of(video(moves_mm=moves_mm, jitter_mm=jitter_mm)) is None


def test_labels_of_a_hand_at_rest_tell_nothing() -> None:
    assert shift_of(with_labels_of(video(moves_mm=0.0), 1)) is None


def test_frames_of_a_large_data_set_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    shifted = with_labels_of(video(moves_mm=2.0), 1)
    monkeypatch.setattr(label_motion, "_MOST_FRAMES", 100)
    assert shift_of(shifted) == -1
    monkeypatch.setattr(label_motion, "_MOST_FRAMES", 40)
    assert shift_of(shifted) is None


def test_frames_of_different_videos_are_not_compared() -> None:
    shifted = with_labels_of(video(moves_mm=2.0), 1)
    assert shift_of([replace(frame, sequence=f"{index // 2}") for index, frame in enumerate(shifted)]) is None


def test_frames_apart_are_not_compared() -> None:
    motion = LabelMotion()
    for index, frame in enumerate(with_labels_of(video(moves_mm=2.0), 1)):
        motion.add(2 * index, frame)
    assert motion.shifted() is None


def test_hands_outside_of_the_image_tell_nothing() -> None:
    for moved_mm in ([0, 0, -2000], [9000, 0, 0]):
        frames = video(moves_mm=2.0)
        labels = [np.asarray(frame.joints_mm) + np.array(moved_mm, np.float32) for frame in frames]
        moved = [replace(frame, joints_mm=joints) for frame, joints in zip(frames, labels, strict=True)]
        assert shift_of(with_labels_of(moved, 1)) is None


@pytest.mark.real
@pytest.mark.parametrize("sequence", ["P1", "P4", "P5"])
def test_shifted_labels_of_a_slow_video_are_named(real_data: Path, sequence: str) -> None:
    dataset = open_dataset(f"cvar:{real_data}/cvar#{sequence}")
    assert dataset.skeleton is not None
    frames = [frame for _, frame in readable_frames(dataset, []) if frame.joints_mm is not None]
    for steps, says in ((1, "1 frame later"), (-2, "2 frames earlier")):
        checks = LabelChecks(dataset.skeleton, len(frames))
        for index, frame in enumerate(with_labels_of(frames, steps)):
            checks.add(index, frame)
        cause = checks.report().cause
        assert cause is not None
        assert says in cause
