"""Checks of a camera, recording or data set for the mistakes that give wrong joints without an error."""

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float32

from crossnets.datasets.dataset import Problem
from crossnets.datasets.depth_checks import bulk_of, filling_fault, repeated_edge_share, repeated_share, unit_fault
from crossnets.datasets.image_sources import counted
from crossnets.datasets.label_checks import LabelChecks
from crossnets.geometry.camera import unlikely
from crossnets.geometry.skeleton import Skeleton
from crossnets.geometry.wrong_pixels import unsupported
from crossnets.inference.hand import HAND_LENGTHS_MM, USUAL_LENGTHS_MM, Hand
from crossnets.inference.hands import length_fault, surroundings_fault, surroundings_of
from crossnets.types import HandFrame

Verdict: TypeAlias = Literal["ok", "warning", "fault"]

_FIELD_OF_VIEW_DEG = (35.0, 125.0)
"""Horizontal fields of view of depth cameras, from a long-range RealSense to the wide mode of an Azure Kinect."""
_FEW_INVALID = 0.001
_MANY_INVALID = 0.97
"""Shares of invalid pixels. Every depth camera leaves out pixels at the edges of objects. In CVAR's images, which show
the hand alone, the share is 0.6 to 0.9."""
_LEAST_SUPPORT, _MANY_UNSUPPORTED = 3, 0.12
"""Least number of supporting neighbours, and share of the valid pixels with fewer: 0.002 (rendered D435) to 0.08
(CVAR's P1) as cameras deliver images, and up to 0.4 after an image was blurred or resized with interpolation."""
_LEAST_FOUND = 0.5
"""Least share of frames with a hand where frames should show one."""


@dataclass(frozen=True)
class Check:
    """Result of one check."""

    name: str
    verdict: Verdict
    found: str
    """The value that was found. If it is wrong, the expected value follows."""
    fix: str = ""
    """Advice to the user. It is empty if the verdict is ok."""


def diagnose(
    frames: Sequence[HandFrame],
    skeleton: Skeleton | None,
    find: Callable[[HandFrame], list[Hand]],
    problems: Sequence[Problem] = (),
) -> list[Check]:
    """Check frames of one source.

    Args:
        frames: Some frames in their order.
        skeleton: Skeleton of their labels. None without labels.
        find: Finds the hands of a frame, such as `Tracker.predict`.
        problems: Frames that could not be read.
    """
    checks = [_readable(frames, problems)]
    if not frames:
        return checks
    unit = _unit(frames)
    checks += [_camera(frames[0]), unit, _invalid(frames), _filled(frames), _mixed(frames), _frozen(frames)]
    if unit.verdict == "ok":  # else no hand can be found, and the finder may refuse the image
        hands = _hands_of(frames, find)
        checks += [_found(hands), _lengths(hands), _surroundings(frames, hands)]
    if skeleton is not None and any(frame.joints_mm is not None for frame in frames):
        checks.append(_labels(frames, skeleton))
    return checks


def scale_notes(frames: Sequence[HandFrame], find: Callable[[HandFrame], list[Hand]]) -> list[str]:
    """Describe faults of the camera and of the scale of depth. The list is empty if there is none.

    Args:
        frames: Some frames of one source.
        find: Finds the hands of a frame, such as `Tracker.predict`.
    """
    if _unit(frames).verdict != "ok":
        return []
    hands = _hands_of(frames, find)
    checks = [_camera(frames[0]), _filled(frames), _surroundings(frames, hands)]
    if any(hands):
        checks.append(_lengths(hands))
    return [check.found for check in checks if check.verdict != "ok"]


def _hands_of(frames: Sequence[HandFrame], find: Callable[[HandFrame], list[Hand]]) -> list[list[Hand]]:
    """Hands of each frame. Warnings are switched off, because the checks say the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [find(frame) for frame in frames]


def _readable(frames: Sequence[HandFrame], problems: Sequence[Problem]) -> Check:
    if not frames:
        what = str(problems[0]) if problems else "the source gives no frame"
        return Check("frames", "fault", f"No frame can be read: {what}", "Check the path, or the cable of the camera.")
    if problems:
        found = f"{len(frames)} frames were read and {len(problems)} were not, first {problems[0]}"
        return Check("frames", "warning", found, "Write these files again, or remove them.")
    height, width = frames[0].depth_mm.shape
    return Check("frames", "ok", f"{counted(len(frames), 'frame')} of {width} x {height} pixels")


def _camera(frame: HandFrame) -> Check:
    camera = frame.camera
    height, width = frame.depth_mm.shape
    view = 2 * math.degrees(math.atan(width / 2 / camera.fx_px))
    least, most = _FIELD_OF_VIEW_DEG
    found = f"{view:.0f} degrees wide, optical axis at ({camera.cx_px:.0f}, {camera.cy_px:.0f}) of {width} x {height}"
    fault = unlikely(camera, width, height)
    if least <= view <= most and fault is None:
        return Check("intrinsics", "ok", found)
    told = "" if fault is None else f" {fault}"
    expected = f"Expected {least:.0f} to {most:.0f} degrees and the axis near the middle."
    return Check(
        "intrinsics",
        "fault",
        f"{found}. {expected}{told}",
        "Give the intrinsics of images of this size. Half-size images have half of fx, fy, cx and cy.",
    )


def _unit(frames: Sequence[HandFrame]) -> Check:
    bulks = [bulk for frame in frames if (bulk := bulk_of(frame.depth_mm)) is not None]
    if not bulks:
        return Check("depth unit", "fault", "no pixel has depth", "Check that the depth stream is on.")
    median = float(np.median([bulk.median_mm for bulk in bulks]))
    fault = unit_fault(median, raw=sum(bulk.raw for bulk in bulks) > len(bulks) / 2)
    if fault is None:
        return Check("depth unit", "ok", f"median depth {median:.0f} mm")
    return Check("depth unit", "fault", fault, "Convert depth to mm, or give mm per count after the intrinsics.")


def _invalid(frames: Sequence[HandFrame]) -> Check:
    share = float(np.median([1 - np.count_nonzero(frame.depth_mm) / frame.depth_mm.size for frame in frames]))
    found = f"{share:.1%} of the pixels are invalid"
    if share < _FEW_INVALID:
        return Check(
            "invalid pixels",
            "warning",
            f"{found}, expected some at the edges of objects",
            "Switch hole filling off. It continues the background over the edge of the hand.",
        )
    if share > _MANY_INVALID:
        return Check(
            "invalid pixels",
            "fault",
            f"{found}, expected less than {_MANY_INVALID:.0%}",
            "Check the exposure, the distance and the threshold filter.",
        )
    return Check("invalid pixels", "ok", found)


def _filled(frames: Sequence[HandFrame]) -> Check:
    share = float(np.median([repeated_share(frame.depth_mm) for frame in frames]))
    edges = float(np.median([repeated_edge_share(frame.depth_mm) for frame in frames]))
    fault = filling_fault(share, edges)
    if fault is None:
        return Check("filled holes", "ok", f"{share:.1%} of the pixels repeat the depth of their neighbours")
    return Check("filled holes", "warning", fault, "Switch hole filling off in the camera's kit.")


def _mixed(frames: Sequence[HandFrame]) -> Check:
    share = float(np.median([_unsupported_share(frame.depth_mm) for frame in frames]))
    found = f"{share:.1%} of the valid pixels lie on no surface"
    if share <= _MANY_UNSUPPORTED:
        return Check("mixed pixels", "ok", found)
    return Check(
        "mixed pixels",
        "warning",
        f"{found}, expected at most {_MANY_UNSUPPORTED:.0%}",
        "Resize depth with cv2.INTER_NEAREST, and do not blur it. Smoothing mixes the hand with the background.",
    )


def _unsupported_share(depth_mm: Float32[np.ndarray, "H W"]) -> float:
    valid = depth_mm > 0
    wrong = valid & (unsupported(depth_mm, least=_LEAST_SUPPORT) > 0)
    return float(np.count_nonzero(wrong) / max(1, np.count_nonzero(valid)))


def _frozen(frames: Sequence[HandFrame]) -> Check:
    same = sum(np.array_equal(a.depth_mm, b.depth_mm) for a, b in itertools.pairwise(frames))
    if len(frames) < 2 or same < len(frames) / 2:
        return Check("new frames", "ok", f"{same} of {len(frames)} frames repeat the one before")
    return Check(
        "new frames",
        "fault",
        f"{same} of {len(frames)} frames repeat the one before",
        "The camera or the program that reads it has stopped. Open it again.",
    )


def _found(hands: Sequence[Sequence[Hand]]) -> Check:
    share = sum(map(bool, hands)) / len(hands)
    found = f"{share:.0%} of the frames show a hand"
    if share >= _LEAST_FOUND:
        return Check("hands", "ok", found)
    return Check(
        "hands",
        "warning" if share else "fault",
        found,
        "Hold a hand at 0.25 to 1.4 m before the camera. If it is there, the depth unit or the intrinsics are wrong, "
        "or a filter has changed the depth.",
    )


def _lengths(hands: Sequence[Sequence[Hand]]) -> Check:
    lengths = [found[0].size_mm for found in hands if found and found[0].size_mm is not None]
    if not lengths:
        return Check("hand length", "warning", "no hand to measure", "See the row above.")
    length = float(np.median(lengths))
    found = f"{length:.0f} mm from the wrist to the middle finger's tip"
    fault = length_fault(length)
    if fault is None:
        return Check("hand length", "ok", found)
    least, most = HAND_LENGTHS_MM
    larger = "smaller" if length > USUAL_LENGTHS_MM[1] else "larger"
    fix = (
        f"The intrinsics belong to a {larger} image, or depth is aligned to the colour camera: take the colour "
        "camera's intrinsics then. A wrong depth unit changes the length in the same way."
    )
    if least <= length <= most:
        shortest, longest = USUAL_LENGTHS_MM
        return Check("hand length", "warning", f"{found}, expected {shortest} to {longest} mm of adults", fix)
    return Check("hand length", "fault", f"{found}, expected {least} to {most} mm", fix)


def _surroundings(frames: Sequence[HandFrame], hands: Sequence[Sequence[Hand]]) -> Check:
    """Whether hands are in front of their surroundings. In images of disparity they are behind them."""
    shares = [surroundings_of(frame.depth_mm, found[0]) for frame, found in zip(frames, hands, strict=True) if found]
    known = [share for share in shares if share is not None]
    fault = surroundings_fault(known)
    if fault is not None:
        return Check("surroundings", "warning", fault, "Give the depth output of the camera, not its disparity.")
    return Check("surroundings", "ok", "hands are not behind their surroundings" if known else "no hand to compare")


def _labels(frames: Sequence[HandFrame], skeleton: Skeleton) -> Check:
    checks = LabelChecks(skeleton, len(frames))
    for index, frame in enumerate(frames):
        checks.add(index, frame)
    report = checks.report()
    if report.cause is not None:
        return Check("labels", "fault", report.cause, "Correct the labels. docs/datasets.md has the conventions.")
    fit = "unknown" if report.fit is None else f"{report.fit:.0%}"
    return Check("labels", "ok", f"share of the joints on the surface that the images show: {fit}")
