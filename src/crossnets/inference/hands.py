"""The path from a depth image and its candidates to hands, shared by the tracker and by every command.

Each candidate is cropped in a cube of the detected hand's length and estimated. A model that refines crops it again,
about the estimated joints and in the estimated size. One rule then decides which candidates are hands.
"""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt16

from crossnets.datasets.depth_checks import DepthBulk, bulk_of, filling_fault, unit_fault
from crossnets.geometry.crop import crop_hand
from crossnets.inference.detector import Detection
from crossnets.inference.estimator import CropEstimator, Estimates
from crossnets.inference.hand import HAND_LENGTHS_MM, USUAL_LENGTHS_MM, Hand, Side
from crossnets.types import DepthImage, HandCrop, LensCamera, Pinhole

SAME_HAND_MM = 80.0
"""Estimates whose mean joints are nearer to each other than this are one hand."""
SCORE_ALONE = 0.45
"""Least score of a hand whose network estimates joints only."""
_LEAST_SEEN = 0.02
"""Share of a crop that must show something."""
# Set on rendered frames, with and without hands, and on CVAR's P1, P4 and P5, as they are and with the hand erased.
_UNSURE_SHARE = 0.07
"""Mean deviation of the joints over the hand's length at which a detector's score of one half decides."""
_SHARE_WEIGHT = 2.0
"""Weight of that deviation against the score (`hand_odds`)."""
SCORE_WEIGHT = 0.5
"""Weight of the score's log-odds beside an estimator's own output for hands, as a logistic regression chose it."""
_FARTHEST_MM = 2000.0
"""Farthest hand that an output for hands may accept. The networks learn from hands up to 1.7 m away."""
WATCHED = 10
"""Number of hands, or of frames, that a median is taken over."""
_MOST_WATCHED = 30
"""Largest number of hands whose surroundings are compared with them, from the tenth hand on."""
_FAR_MEDIAN_MM = 1600.0
"""Median depth above which frames without a hand suggest counts smaller than a millimetre."""
_LEAST_FOUND = 0.2
"""Least number of hands per frame that shows, at such a median depth, that depths are in mm."""
# Set on the 19 frames of an SR305 and on CVAR's, as depth and as disparity of a stereo camera, and on rendered hands
# that are seen along the arm. Medians of the nearer pixels are 0.00 to 0.01 in depth and 0.09 to 0.26 in disparity,
# where none are farther. In CVAR's P1, whose fists are seen along the arm, 0.15 are nearer, but 0.02 are farther.
_AROUND = 0.25
"""Margin of the surroundings about the box of the joints, over its longer side."""
_CLEAR = 0.2
"""Distance in front of or behind all joints that is clearly outside of the hand, over its length."""
_MANY_NEARER = 0.06
"""Share of nearer pixels that is taken for a fault."""
_FEW_FARTHER = 0.05
"""Largest ratio of farther to nearer pixels that is taken for a fault."""
_FEWEST_HANDS = 3
"""Least number of hands that can show such a fault."""
_STAGES = ("crop", "network", "joints")
_MIRROR_X = np.array([-1.0, 1.0, 1.0], np.float32)
"""Mirrors points of the camera frame."""


@dataclass(frozen=True)
class EstimatedHands:
    """Estimates of all candidates of one image, after the last pass, and those among them that are hands."""

    estimates: Estimates
    """One row for each candidate."""
    crops: tuple[HandCrop, ...]
    """Crops of the last pass."""
    odds: Float[np.ndarray, "B"]
    """Log-odds that each candidate is a hand (`hand_odds`)."""
    hands: tuple[int, ...]
    """Rows of the candidates that are hands, the likeliest first, each hand once."""

    @property
    def likeliest(self) -> int | None:
        """Row of the likeliest candidate, whether it is a hand or not. None if no candidate has finite joints."""
        best = int(np.argmax(self.odds)) if len(self.odds) else None
        return best if best is not None and np.isfinite(self.odds[best]) else None


def estimate_hands(
    estimator: CropEstimator,
    image: DepthImage,
    candidates: Sequence[Detection],
    stages_ms: dict[str, float] | None = None,
) -> EstimatedHands:
    """Estimate the joints of all candidates in one image and decide which of them are hands.

    Args:
        estimator: Estimates the joints in crops.
        image: The depth image and its camera.
        candidates: Places where hands may be, at least one.
        stages_ms: Times of the stages `crop`, `network` and `joints` in ms are added to it.
    """
    model = estimator.model
    # A model without refinement was trained on cubes of one size.
    sides = [estimator.cube_for(one.length_mm) if model.passes > 1 else model.cube_mm for one in candidates]
    cubes = [(one.center_mm, side) for one, side in zip(candidates, sides, strict=True)]
    passes = [*(model.passes - 1) * [estimator.for_cubes()], estimator]
    estimates, crops = estimate_cubes(passes[0], image, cubes, stages_ms)
    for one in passes[1:]:
        estimates, crops = estimate_cubes(one, image, estimator.refined_cubes(crops, estimates), stages_ms)
    odds = hand_odds(estimates, [one.score for one in candidates])
    return EstimatedHands(estimates, crops, odds, hands_among(estimates, crops, odds))


def estimate_cubes(
    estimator: CropEstimator,
    image: DepthImage,
    cubes: Sequence[tuple[Float[np.ndarray, "3"], float]],
    stages_ms: dict[str, float] | None = None,
) -> tuple[Estimates, tuple[HandCrop, ...]]:
    """One pass: crop the cubes, given by their centres and sides in mm, and estimate the joints in them."""
    times = [time.perf_counter()]
    crops = tuple(
        crop_hand(image.depth_mm, image.camera, center_mm, side_mm, supported=True) for center_mm, side_mm in cubes
    )
    arrays = estimator.arrays(crops)
    times.append(time.perf_counter())
    raw = estimator.run(arrays)
    times.append(time.perf_counter())
    estimates = estimator.read(raw, crops)
    times.append(time.perf_counter())
    if stages_ms is not None:
        for name, start, end in zip(_STAGES, times[:-1], times[1:], strict=True):
            stages_ms[name] = stages_ms.get(name, 0.0) + 1e3 * (end - start)
    return estimates, crops


def hand_odds(estimates: Estimates, scores: Sequence[float]) -> Float[np.ndarray, "B"]:
    """Log-odds that candidates are hands; above 0 a candidate is taken for a hand.

    If the estimator has an output for hands, they are that output and the weighted log-odds of the detector's score.
    They are then minus infinity beyond the distances that it learned from. If not, they are the log-odds of the score,
    less a penalty for joints that are unsure for a hand of this size. They are minus infinity where joints are not
    finite.

    Args:
        estimates: Estimates of the candidates.
        scores: The detector's scores, 0 to 1.
    """
    score = np.clip(np.asarray(scores, np.float64), 1e-6, 1 - 1e-6)
    odds = np.log(score / (1 - score))
    if estimates.hand is not None:
        odds = SCORE_WEIGHT * odds + estimates.hand
        odds = np.where(estimates.joints_mm[:, :, 2].mean(axis=1) <= _FARTHEST_MM, odds, -np.inf)
    elif estimates.std_mm is None or estimates.size_mm is None:
        odds = odds - np.log(SCORE_ALONE / (1 - SCORE_ALONE))
    else:
        odds = odds - _SHARE_WEIGHT * np.log(unsure_share(estimates) / _UNSURE_SHARE)
    return np.where(np.isfinite(estimates.joints_mm).all(axis=(1, 2)), odds, -np.inf)


def unsure_share(estimates: Estimates) -> Float32[np.ndarray, "B"]:
    """Mean standard deviation of the joints over the hand's length.

    It is 0 where the network estimates no deviations, and infinite where joints are not finite.
    """
    share = np.zeros(len(estimates.joints_mm), np.float32)
    if estimates.std_mm is not None and estimates.size_mm is not None:
        share = estimates.std_mm.mean(axis=1) / estimates.size_mm
    return np.where(np.isfinite(estimates.joints_mm).all(axis=(1, 2)), share, np.float32(np.inf))


def hands_among(estimates: Estimates, crops: Sequence[HandCrop], odds: Float[np.ndarray, "B"]) -> tuple[int, ...]:
    """Rows that are hands, the likeliest first.

    The odds of a hand are above 0, its crop shows something, its joints are in front of the camera, and it is not the
    hand of a likelier row.
    """
    kept: list[int] = []
    middles = estimates.joints_mm.mean(axis=1)
    for row in np.argsort(-odds, kind="stable").tolist():
        again = any(np.linalg.norm(middles[row] - middles[other]) < SAME_HAND_MM for other in kept)
        in_front = estimates.joints_mm[row, :, 2].min() > 0
        if odds[row] > 0 and _shows_something(crops[row]) and in_front and not again:
            kept.append(row)
    return tuple(kept)


class SizeWatch:
    """Warns once when hands have a length that no person has, which shows a wrong camera or depth unit."""

    def __init__(self) -> None:
        self._lengths_mm: list[float] = []
        self.fault: str | None = None
        """The fault that was warned about."""

    def see(self, size_mm: float | None) -> None:
        """Count one found hand."""
        if size_mm is None or self.fault is not None:
            return
        self._lengths_mm.append(size_mm)
        if len(self._lengths_mm) >= WATCHED:
            self.finish()

    def finish(self) -> None:
        """Check the hands since the last check, however few they are."""
        if not self._lengths_mm or self.fault is not None:
            return
        length = float(np.median(self._lengths_mm))
        many = len(self._lengths_mm) >= WATCHED
        self._lengths_mm.clear()
        self.fault = length_fault(length, usual=many)
        if self.fault is not None:
            warnings.warn(self.fault, stacklevel=3)


def length_fault(length_mm: float, *, usual: bool = True) -> str | None:
    """Describe why a median length of hands shows a wrong camera or depth unit. None if it does not.

    Args:
        length_mm: The median.
        usual: Whether lengths that few adults have count too. The median of few hands may be such a length by chance.
    """
    least, most = HAND_LENGTHS_MM
    shortest, longest = USUAL_LENGTHS_MM
    if least <= length_mm <= most and (not usual or shortest <= length_mm <= longest):
        return None
    too_long = length_mm > longest
    cause = "intrinsics of a smaller image" if too_long else "intrinsics of a larger image or of another lens"
    others = (
        "depth aligned to another camera, or depth counts that are not millimetres. Check camera= and the depth unit."
    )
    found = f"The hands are {length_mm:.0f} mm long in the median, from wrist to middle fingertip, "
    if not least <= length_mm <= most:
        return (
            f"{found}but people's are {least} to {most} mm. All positions are wrong then. Likely causes: {cause}, "
            f"{others}"
        )
    return (
        f"{found}expected {shortest} to {longest} mm: few adults' are {'longer' if too_long else 'shorter'}. If these "
        f"are not such hands, all positions are wrong. Likely causes: {cause}, {others}"
    )


class DepthWatch:
    """Warns once when depths cannot be in mm, or when holes were filled.

    The bulk of the depths shows it. If all is far away, it matters whether hands are found.
    """

    def __init__(self) -> None:
        self._medians_mm: list[float] = []
        self._repeated: list[tuple[float, float]] = []
        self._hands = 0
        self._done = False
        self.fault: str | None = None
        """The fault that was warned about."""

    def see(self, depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]) -> None:
        """Count one frame before hands are searched for in it."""
        if not self._done:
            self.count(bulk_of(depth_mm))

    def count(self, bulk: DepthBulk | None) -> None:
        """Count one frame by the bulk of its depths (`bulk_of`), where another process has its image."""
        if self._done:
            return
        if bulk is not None and bulk.raw:
            self._warn(unit_fault(bulk.median_mm, raw=True))
            return
        if len(self._medians_mm) == WATCHED:
            self.finish()
            return
        if bulk is not None:
            self._medians_mm.append(bulk.median_mm)
            self._repeated.append((bulk.repeated, bulk.repeated_edges))

    def hand(self) -> None:
        """Count one hand that was found."""
        self._hands += 1

    def no_hand(self) -> None:
        """Check the last frame alone, because no hand was found in it. A user of one image is told as well."""
        if self._done or not self._medians_mm:
            return
        fault = unit_fault(self._medians_mm[-1])
        if fault is not None:
            self._warn(f"No hand was found. {fault}")

    def finish(self) -> None:
        """Check the frames so far, however few they are. Later frames are not checked."""
        if not self._medians_mm or self._done:
            return
        median = float(np.median(self._medians_mm))
        fault = unit_fault(median)
        if fault is None and median > _FAR_MEDIAN_MM and self._hands < _LEAST_FOUND * len(self._medians_mm):
            fault = (
                f"Hands found: {self._hands} in {len(self._medians_mm)} frames. The median depth is {median:.0f} mm. "
                "Hands are found up to about 1400 mm. If a hand is nearer than that, depth counts are smaller than "
                "1 mm, such as 0.1, 0.125 or 0.25 mm. Multiply by the camera's depth unit. On the command line, give "
                "it after the intrinsics: fx,fy,cx,cy,0.25."
            )
        repeated, edges = np.median(self._repeated, axis=0).tolist()
        self._warn(fault or filling_fault(repeated, edges))

    def _warn(self, fault: str | None) -> None:
        """Warn of a fault if there is one. Later frames are not checked."""
        self._done = True
        self.fault = fault
        if fault is not None:
            warnings.warn(fault, stacklevel=4)


class Surroundings(NamedTuple):
    """Shares of the valid pixels around a hand that are clearly nearer or farther than the whole hand."""

    nearer: float
    farther: float


def surroundings_of(
    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], hand: Hand
) -> Surroundings | None:
    """Compare a hand with its surroundings in the image. None if the length of the hand or its depth is not known."""
    if hand.size_mm is None:
        return None
    least = hand.joints_px.min(axis=0)
    most = hand.joints_px.max(axis=0)
    margin_px = _AROUND * float((most - least).max())
    left, top = np.maximum(np.floor(least - margin_px), 0).astype(int)
    right, bottom = np.maximum(np.ceil(most + margin_px), 0).astype(int)
    part = depth_mm[top:bottom, left:right]
    valid = int(np.count_nonzero(part > 0))
    if not valid:
        return None
    z_mm = hand.joints_mm[:, 2]
    clear_mm = _CLEAR * hand.size_mm
    nearer = np.count_nonzero((part > 0) & (part < float(z_mm.min()) - clear_mm))
    farther = np.count_nonzero(part > float(z_mm.max()) + clear_mm)
    return Surroundings(float(nearer / valid), float(farther / valid))


def surroundings_fault(seen: Sequence[Surroundings]) -> str | None:
    """Describe why images with these hands may show disparity. None if they show depth, or nothing is known."""
    if len(seen) < _FEWEST_HANDS:
        return None
    nearer, farther = np.median(np.array(seen), axis=0).tolist()
    if nearer < _MANY_NEARER or farther > _FEW_FARTHER * nearer:
        return None
    return (
        f"{nearer:.0%} of the pixels around the hands are nearer than the hands in the median, and {farther:.0%} are "
        "farther; expected mostly farther ones. Likely cause: a disparity image, in which near things have large "
        "values. Convert it by depth = focal length x baseline / disparity. A camera that looks along the arm, or "
        "things in front of the hand, look the same."
    )


class SurroundingsWatch:
    """Warns once when the first hands are behind their surroundings, as in images of disparity."""

    def __init__(self) -> None:
        self._seen: list[Surroundings] = []
        self._done = False
        self.fault: str | None = None
        """The fault that was warned about."""

    def see(self, depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"], hand: Hand) -> None:
        """Count one found hand."""
        if not self._done:
            self.count(surroundings_of(depth_mm, hand))

    def count(self, found: Surroundings | None) -> None:
        """Count one found hand by its `surroundings_of`, where another process has the image."""
        if found is None or self._done:
            return
        self._seen.append(found)
        if len(self._seen) >= WATCHED:
            self._check(last=len(self._seen) == _MOST_WATCHED)

    def finish(self) -> None:
        """Check the hands so far, however few they are. Later hands are not checked."""
        if not self._done:
            self._check(last=True)

    def _check(self, *, last: bool) -> None:
        self.fault = surroundings_fault(self._seen)
        self._done = last or self.fault is not None
        if self.fault is not None:
            warnings.warn(self.fault, stacklevel=4)


def _shows_something(crop: HandCrop) -> bool:
    return cv2.countNonZero(crop.depth_mm) > _LEAST_SEEN * crop.depth_mm.size


def hand_of(
    estimator: CropEstimator, camera: Pinhole | LensCamera, estimates: Estimates, row: int, track: int | None = None
) -> Hand:
    """One row of the estimates as a `Hand`."""
    right = None if estimates.right is None else float(estimates.right[row])
    return Hand(
        estimates.joints_mm[row],
        estimator.skeleton,
        camera,
        std_mm=None if estimates.std_mm is None else estimates.std_mm[row],
        side=None if right is None else ("right" if right >= 0.5 else "left"),
        side_probability=None if right is None else max(right, 1 - right),
        size_mm=None if estimates.size_mm is None else float(estimates.size_mm[row]),
        track=track,
    )


def hand_of_side(estimator: CropEstimator, image: DepthImage, crop: HandCrop, hand: Hand, side: Side | None) -> Hand:
    """Return the hand with joints of the side that is known, if the network can give them.

    A network that takes a hand for one of the other side also puts its joints into wrong places. It is then asked again
    about the mirrored crop. If it sees the known side there, its joints are mirrored back and taken.

    Args:
        estimator: Estimates the joints in crops.
        image: The depth image and its camera.
        crop: Crop of the hand.
        hand: The estimate in this crop.
        side: Side that the hand has in the image. None if it is not known.
    """
    if side is None or hand.side is None or hand.side == side:
        return hand
    center_mm = crop.center_mm * _MIRROR_X
    turn = np.diag(_MIRROR_X[:2])
    mirrored = crop_hand(image.depth_mm, image.camera, center_mm, crop.cube_mm, turn=turn, supported=True)
    found = hand_of(estimator, image.camera, estimator.estimate([mirrored]), 0, hand.track)
    if found.side == side or not np.isfinite(found.joints_mm).all():  # a mirrored hand has the other side
        return hand
    return replace(found, joints_mm=found.joints_mm * _MIRROR_X, side=side)
