"""Wrong intrinsics and depth units on real frames: the tracker warns, and no hand of a wrong size is confident."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import crossnets
from crossnets import Hand, Pinhole
from crossnets.datasets.image_sources import open_sources
from crossnets.datasets.opening import open_dataset
from crossnets.inference.doctor import diagnose
from crossnets.inference.hands import surroundings_fault, surroundings_of
from crossnets.types import HandFrame

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def frames(real_data: Path) -> list[HandFrame]:
    """The 19 frames of an SR305."""
    images = [str(path) for path in sorted((real_data / "sr305").rglob("*.png"))]
    return [source[i] for source in open_sources(images, "realsense-sr305") for i in range(len(source))]


def likeliest(frames: list[HandFrame], change: Callable[[np.ndarray], np.ndarray], camera: Pinhole) -> list[Hand]:
    """The likeliest hand of each frame that has one."""
    tracker = crossnets.load()
    found = [tracker.predict(change(frame.depth_mm), camera) for frame in frames]
    return [hands[0] for hands in found if hands]


def followed(frames: list[HandFrame], change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Follow the hands as if the frames were those of a video."""
    tracker = crossnets.load()
    for frame in frames:
        tracker.track(change(frame.depth_mm), frame.camera)


def wider(camera: Pinhole, factor: float) -> Pinhole:
    """The camera with a focal length divided by `factor`."""
    return camera._replace(fx_px=camera.fx_px / factor, fy_px=camera.fy_px / factor)


def test_right_depths_and_intrinsics_give_no_warning(frames: list[HandFrame]) -> None:
    hands = likeliest(frames, lambda depth: depth, frames[0].camera)
    assert len(hands) == 19
    assert all(hand.confidence is not None and hand.confidence.mean() > 0.5 for hand in hands)


@pytest.mark.filterwarnings("ignore:The hands are")
def test_fists_that_are_seen_along_the_arm_are_no_disparity(real_data: Path) -> None:
    sequence = open_dataset(f"cvar:{real_data}/cvar#P1")
    tracker = crossnets.load()
    seen = [surroundings_of(frame.depth_mm, tracker.predict(frame)[0]) for frame in (sequence[i] for i in range(12))]
    assert surroundings_fault([shares for shares in seen if shares is not None]) is None


@pytest.mark.filterwarnings("ignore:The principal point")
@pytest.mark.parametrize(
    ("change", "factor", "cause"),
    [
        (lambda depth: depth, 1.6, "intrinsics of a smaller image"),
        (lambda depth: depth, 1 / 1.6, "intrinsics of a larger image or of another lens"),
        (lambda depth: depth[::2, ::2], 1.0, "intrinsics of a larger image or of another lens"),
    ],
    ids=["focal length too small", "focal length too large", "half size"],
)
def test_wrong_intrinsics_are_warned_about_and_not_confident(
    frames: list[HandFrame], change: Callable[[np.ndarray], np.ndarray], factor: float, cause: str
) -> None:
    with pytest.warns(UserWarning, match=rf"people's are 130 to 240 mm.*{cause}"):
        hands = likeliest(frames, change, wider(frames[0].camera, factor))
    assert len(hands) >= 16
    assert np.median([np.mean(hand.confidence) for hand in hands if hand.confidence is not None]) < 0.1


def test_intrinsics_of_a_larger_image_are_warned_about_at_the_first_image(frames: list[HandFrame]) -> None:
    with pytest.warns(UserWarning, match="principal point .* lies far from the middle of an image of 320 x 240"):
        crossnets.load().predict(frames[0].depth_mm[::2, ::2], frames[0].camera)


@pytest.mark.parametrize("unit_mm", [0.1, 0.125, 0.25])
def test_counts_smaller_than_a_millimetre_are_warned_about(frames: list[HandFrame], unit_mm: float) -> None:
    with pytest.warns(UserWarning, match="counts are smaller than 1 mm"):
        hands = likeliest(frames, lambda depth: (depth / unit_mm).clip(0, 65535).astype(np.uint16), frames[0].camera)
    assert not hands


@pytest.mark.parametrize("unit_mm", [10, 1000])
def test_centimetres_and_metres_of_one_image_are_warned_about(frames: list[HandFrame], unit_mm: float) -> None:
    tracker = crossnets.load()
    with pytest.warns(UserWarning, match="No hand was found. The median depth is .* expected 150 mm or more"):
        assert not tracker.predict((frames[0].depth_mm / unit_mm).astype(np.uint16), frames[0].camera)
    assert not tracker.predict((frames[0].depth_mm / unit_mm).astype(np.uint16), frames[0].camera)  # no second warning


def test_raw_values_of_a_kinect_are_warned_about_at_the_first_image(frames: list[HandFrame]) -> None:
    def raw(depth: np.ndarray) -> np.ndarray:
        """Raw 11-bit values, by the fit of the ROS driver: depth in m = 1 / (3.33 - 0.00307 value)."""
        values = (3.3309495 - 1000 / np.maximum(depth, 400)) / 0.0030711016
        return np.where(depth > 0, np.rint(values), 2047).astype(np.uint16)

    tracker = crossnets.load()
    with pytest.warns(UserWarning, match="raw values of a Kinect v1"):
        tracker.predict(raw(frames[0].depth_mm), frames[0].camera)
    changed = [replace(frame, depth_mm=raw(frame.depth_mm).astype(np.float32)) for frame in frames[:6]]
    verdicts = {check.name: check.verdict for check in diagnose(changed, None, tracker.predict)}
    assert verdicts["depth unit"] == "fault"


@pytest.mark.parametrize("factor", [1.3, 1 / 1.3])
def test_focal_lengths_that_are_somewhat_wrong_are_warned_about(frames: list[HandFrame], factor: float) -> None:
    with pytest.warns(UserWarning, match=r"(expected 150 to 220 mm|people's are 130 to 240 mm)"):
        likeliest(frames, lambda depth: depth, wider(frames[0].camera, factor))


def test_counts_of_0_8_mm_are_warned_about(frames: list[HandFrame]) -> None:
    with pytest.warns(UserWarning, match=r"(expected 150 to 220 mm|people's are 130 to 240 mm)"):
        likeliest(frames, lambda depth: depth / np.float32(0.8), frames[0].camera)


def test_a_disparity_image_is_warned_about(frames: list[HandFrame]) -> None:
    with pytest.warns(UserWarning, match="a disparity image"):
        likeliest(frames, lambda depth: np.where(depth > 0, 55000 / np.maximum(depth, 1), 0), frames[0].camera)


@pytest.mark.filterwarnings("ignore:The hands are")
@pytest.mark.parametrize("scale", [8, 16])
def test_disparity_in_fractions_of_a_pixel_is_warned_about(frames: list[HandFrame], scale: int) -> None:
    def disparity(depth: np.ndarray) -> np.ndarray:
        """A stereo camera of 55 mm counts parts of a pixel, whose values look like millimetres."""
        px = frames[0].camera.fx_px * 55 / np.maximum(depth, 1)
        return np.where(depth > 0, np.rint(scale * px), 0).astype(np.uint16)

    with pytest.warns(UserWarning, match="nearer than the hands in the median.*a disparity image"):
        likeliest(frames, disparity, frames[0].camera)
    with pytest.warns(UserWarning, match="nearer than the hands in the median.*a disparity image"):
        followed(frames, disparity)
    tracker = crossnets.load()
    changed = [replace(frame, depth_mm=disparity(frame.depth_mm).astype(np.float32)) for frame in frames]
    verdicts = {check.name: check.verdict for check in diagnose(changed, None, tracker.predict)}
    assert verdicts["surroundings"] == "warning"
    whole = {check.name: check.verdict for check in diagnose(frames, None, tracker.predict)}
    assert whole["surroundings"] == "ok"
