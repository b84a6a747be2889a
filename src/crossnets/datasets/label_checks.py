"""Checks of labels: do the joints lie where the camera sees a hand, with bones and side of one, and if not, why?

A joint lies under the skin. So a visible joint is a little behind the depth at its pixel. Labels in another unit, of
another frame, or of a mirrored image are not. The check tries the mistakes that people make, and names the one that
explains most: with it undone, clearly more joints lie where they should.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32

from crossnets.datasets.dataset import FrameError, HandDataset, Problem, declared_side
from crossnets.datasets.hand_size import ADULT_BONES_MM
from crossnets.datasets.label_bones import Side, bend_of, bone_lengths, no_hand, side_shown, unlike_others, wrong_side
from crossnets.datasets.label_motion import LabelMotion
from crossnets.geometry.camera import unproject
from crossnets.geometry.skeleton import FINGERS, Skeleton
from crossnets.types import HandFrame, Pinhole

BEFORE_MM = 10.0
BEHIND_MM = 40.0
"""A joint fits if it is at most so far before, or behind, the depth at its pixel. With right labels 74 to 95 % of the
joints fit (CVAR's P1, P4, P5, and rendered hands)."""
LEAST_FIT = 0.5
"""Least mean share of joints that fit."""
_BAD_FIT = 0.05
_SURELY_FITS = 0.6
_LEAST_COUNTED = 0.5
_LEAST_JOINTS = 10
"""A single frame is bad if less of its joints fit, while at least this share of them are at valid pixels or outside of
the image, and while more than `_SURELY_FITS` of the joints of most frames fit. Fewer joints may all be hidden."""
_POSSIBLE_MM = (-15.0, 120.0)
_LEAST_POSSIBLE = 0.2
"""A single frame is also bad if less of its joints lie at valid pixels and so far behind them, as joints of a hidden
finger do. Labels of rendered hands are at 0.22 or more, those of CVAR at 0.62 or more. Most labels of other rendered
frames are at 0."""
_LEAST_SEEN_MM2 = 3000.0
"""Area of what an image shows. A closed hand has about this much, and images that show less do not tell whether a label
is wrong or the sensor lost the hand."""
_SAMPLE = 256
_IN_A_ROW = 8
"""Frames that the causes are tried on, and how many of them follow each other."""
_OFFSET_EVERY = 4
"""An offset is searched on every fourth of these frames."""
_SHIFTS = (-1, 1, -2, 2, -3, 3)
_LEAST_GAIN = 0.06
_LEAST_SHIFT_GAIN = 0.005
_LEAST_OFFSET_GAIN = 0.15
"""Least growth of the share of joints that fit. A hand near the optical axis fits in part when it is mirrored, and in a
slow video the label of the next frame nearly fits. A small offset helps right labels too, because not all joints are
equally deep under the skin."""
_LEAST_DEVIATIONS = 3.0
"""The growth must be seen in most frames: a sign test of three standard deviations."""
_LEAST_SHIFTED = 16
"""Least number of pairs of neighbouring frames that tell whether labels are shifted."""
_FOCAL_FACTORS = (0.5, 0.625, 0.8, 1.25, 1.6, 2.0)
_ORDER_MISFIT = 0.12
_ORDER_GAIN = 0.6
"""Joints are in another order if the bones differ from an adult's by more than this, as the mean of the logarithms, and
by this factor less in that order."""


class _Tried(NamedTuple):
    """A mistake that people make, and its reverse."""

    cause: str
    undone: Callable[[np.ndarray, Pinhole], np.ndarray]
    """Joints (J, 3) as the mistake left them, to joints in mm in the camera frame."""


def _scaled(*factors: float) -> Callable[[np.ndarray, Pinhole], np.ndarray]:
    return lambda joints, camera: joints * np.array(factors)


_TRIED = (
    _Tried("the labels are in metres instead of mm", _scaled(1000.0, 1000.0, 1000.0)),
    _Tried("the labels are in centimetres instead of mm", _scaled(10.0, 10.0, 10.0)),
    _Tried("y of the labels points up instead of down", _scaled(1.0, -1.0, 1.0)),
    _Tried("the images or the labels are mirrored: x of the labels points left", _scaled(-1.0, 1.0, 1.0)),
    _Tried("x and y of the labels are both turned round", _scaled(-1.0, -1.0, 1.0)),
    _Tried("y and z of the labels are turned round, as OpenGL's are", _scaled(1.0, -1.0, -1.0)),
    _Tried("x and y of the labels are pixels instead of mm", unproject),
)


@dataclass(frozen=True)
class LabelReport:
    """Result of the checks."""

    frames: int
    """Number of labelled frames that were checked."""
    fit: float | None
    """Mean share of the joints that lie between 10 mm before and 40 mm behind the depth at their pixel. None if all
    pixels at the joints are invalid."""
    cause: str | None
    """Fault of most labels, with the likely mistake. None if the labels fit."""
    bad: tuple[Problem, ...]
    """Single frames whose label does not fit the image, or whose bones are unlike those of the other frames. The path
    is the key of the frame."""
    side: Side | Literal["both"] | None = None
    """Side of the hands by how the fingers of the labels bend. None if too few frames tell."""


def check_labels(
    dataset: HandDataset,
    skeleton: Skeleton,
    *,
    every_frame: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> LabelReport:
    """Check labelled frames of a data set. Frames that cannot be read are passed over.

    Args:
        dataset: Its frames are read.
        skeleton: The joints of its labels.
        every_frame: Check all frames instead of some 256.
        on_progress: Called with the number of frames that were checked and that of all.
    """
    checks = LabelChecks(skeleton, len(dataset))
    for index in range(len(dataset)):
        if every_frame or in_sample(index, len(dataset)):
            on_progress(index, len(dataset))
            try:
                frame = dataset[index]
            except FrameError:
                continue
            checks.add(index, frame, declared_side(dataset, index, frame))
    return checks.report()


def in_sample(index: int, total: int) -> bool:
    """Whether a frame belongs to the sample: runs of eight frames, spread over the data set."""
    every = max(1, total // (_SAMPLE // _IN_A_ROW))
    return total <= _SAMPLE or index % every < _IN_A_ROW


class _Checked(NamedTuple):
    """Properties of a frame that was checked."""

    key: str
    sequence: str
    fit: float | None
    """As `fit_of` returns it."""
    share: float
    """Share of all joints that fit. Joints at invalid pixels do not."""
    off: bool
    """Whether too few of the joints lie where a hand can be."""
    bones_mm: Float32[np.ndarray, "N"]
    bend: float | None
    side: Side | None
    """Side that the data set states."""


class LabelChecks:
    """Collects frames one by one, so that a data set need not be held in memory."""

    def __init__(self, skeleton: Skeleton, total: int) -> None:
        self._skeleton, self._total = skeleton, total
        self._checked: list[_Checked] = []
        self._sample: list[tuple[HandFrame, float]] = []
        """Some frames, and the fits of their labels."""
        self._before: list[tuple[int, HandFrame, float]] = []
        """The frames before the next one, as far as shifts reach, with their numbers and the fits of their labels."""
        self._shifted: dict[int, list[tuple[float, float]]] = {shift: [] for shift in _SHIFTS}
        """Fits of the own label and of that `shift` frames on, for each frame that has both."""
        self._motion = LabelMotion()

    def add(self, index: int, frame: HandFrame, side: Side | None = None) -> None:
        """Check the next frame. Frames without a label are passed over.

        Args:
            index: Place of the frame in the data set.
            frame: The frame.
            side: Side of the hand if the data set states it.
        """
        if frame.joints_mm is None:
            return
        self._motion.add(index, frame)
        fits, counted = _fitting(frame, frame.joints_mm)
        fit = float(fits / counted) if counted else None
        off = is_off(frame, frame.joints_mm)
        bones_mm = bone_lengths(frame.joints_mm, self._skeleton)
        bend = bend_of(frame.joints_mm, self._skeleton)
        share = float(fits / len(frame.joints_mm))
        self._checked.append(_Checked(frame.key, frame.sequence, fit, share, off, bones_mm, bend, side))
        if len(self._sample) < _SAMPLE and in_sample(index, self._total):
            self._sample.append((frame, fit or 0.0))
        for place, other, fit_of_other in self._before:
            steps = index - place
            if other.sequence == frame.sequence and other.joints_mm is not None and steps in self._shifted:
                self._shifted[-steps].append((fit or 0.0, fit_of(frame, other.joints_mm) or 0.0))
                self._shifted[steps].append((fit_of_other, fit_of(other, frame.joints_mm) or 0.0))
        self._before = [*self._before, (index, frame, fit or 0.0)][-max(_SHIFTS) :]

    def report(self) -> LabelReport:
        """Judge all frames that were added."""
        labels = [frame.joints_mm for frame, _ in self._sample if frame.joints_mm is not None]
        if not labels:
            return LabelReport(0, None, None, ())
        fits = [one.fit for one in self._checked if one.fit is not None]
        mean = float(np.mean(fits)) if fits else None
        bends = [one.bend for one in self._checked]
        joints_mm = np.stack(labels)
        cause = (
            self._cause(0.0 if mean is None else mean)
            or wrong_order(joints_mm, self._skeleton)
            or no_hand(joints_mm, self._skeleton)
            or wrong_side(bends, [one.side for one in self._checked])
        )
        bad = self._bad() if cause is None and fits and np.median(fits) >= _SURELY_FITS else ()
        return LabelReport(len(self._checked), mean, cause, bad, side_shown(bends))

    def _bad(self) -> tuple[Problem, ...]:
        """Frames whose label does not fit the image, or has bones unlike those of the other frames."""
        bones_mm = np.stack([one.bones_mm for one in self._checked])
        unlike = unlike_others(bones_mm, [one.sequence for one in self._checked], self._skeleton)
        problems: list[Problem] = []
        for one, told in zip(self._checked, unlike, strict=True):
            if one.off:
                problems.append(Problem(Path(one.key), "its joints lie where the image shows no hand"))
            elif told is not None:
                problems.append(Problem(Path(one.key), told))
        return tuple(problems)

    def _cause(self, mean: float) -> str | None:
        """The mistake after whose reverse the labels fit best. None if they fit as they are."""
        mistakes = [*_TRIED, _turned_depths(self._skeleton)]
        tried = [(one.cause, self._undone_pairs(one.undone), _LEAST_GAIN) for one in mistakes]
        tried += [
            (
                f"the focal length of the labels' camera is {factor:g} times as long",
                self._undone_pairs(_focal(factor)),
                _LEAST_GAIN,
            )
            for factor in _FOCAL_FACTORS
        ]
        # Where a video moves slowly, its motion tells by how many frames the labels are shifted, and the fit does not.
        shifted = self._motion.shifted()
        if shifted is None:
            tried += [(_shift_named(shift), self._shifted_pairs(shift), _LEAST_SHIFT_GAIN) for shift in _SHIFTS]
        best: tuple[float, str] | None = None
        for cause, pairs, least in tried:
            better = _mean_if_better(pairs, least)
            if better is not None and (best is None or better > best[0]):
                best = better, cause
        # Where an image shows the hand alone, most joints of a moved label are at invalid pixels. The others may fit.
        if best is not None or mean < LEAST_FIT or np.mean([one.share for one in self._checked]) < LEAST_FIT:
            offset = self._offset()
            better = _mean_if_better(self._undone_pairs(_moved(offset)), _LEAST_OFFSET_GAIN)
            # An offset can imitate other mistakes in part, so it must explain clearly more.
            if better is not None and (best is None or better > best[0] + _LEAST_GAIN):
                x, y, z = 0.0 - offset
                best = better, f"all labels are moved by about ({x:.0f}, {y:.0f}, {z:.0f}) mm"
        found = f"{mean:.0%} of the joints lie on the surface that the images show"
        if best is not None and best[0] >= LEAST_FIT:
            return f"Only {found}. Likely cause: {best[1]}. With that undone it is {best[0]:.0%}."
        if shifted is not None:
            return (
                "The labels move as the hand does in the images of other frames. Likely cause: "
                f"{_shift_named(shifted.shift)}. With that undone the motions of labels and images correlate with "
                f"{shifted.correlation:.2f}, and as they are with {shifted.own_correlation:.2f}."
            )
        if mean >= LEAST_FIT:
            return None
        return (
            f"Only {found}, expected {LEAST_FIT:.0%} or more. No common mistake explains it. The labels may belong to "
            "other images or to another camera. Compare image and label of some frames."
        )

    def _undone_pairs(self, undone: Callable[[np.ndarray, Pinhole], np.ndarray]) -> Float[np.ndarray, "F 2"]:
        """Fit of each label of the sample as it is, and with a mistake undone."""
        pairs = [
            (fit, fit_of(frame, undone(frame.joints_mm, frame.camera)) or 0.0)
            for frame, fit in self._sample
            if frame.joints_mm is not None
        ]
        return np.array(pairs, np.float64).reshape(-1, 2)

    def _shifted_pairs(self, shift: int) -> Float[np.ndarray, "F 2"]:
        """Fits for frames whose label is compared with a neighbour's. Empty if they are few."""
        pairs = np.array(self._shifted[shift], np.float64).reshape(-1, 2)
        return pairs if len(pairs) >= _LEAST_SHIFTED else pairs[:0]

    def _offset(self) -> Float[np.ndarray, "3"]:
        """The shift of all joints, the same in all frames, after which most of them fit."""
        frames = [frame for frame, _ in self._sample[::_OFFSET_EVERY]]

        def fit(offset: np.ndarray) -> float:
            fits = [fit_of(frame, frame.joints_mm + offset) for frame in frames if frame.joints_mm is not None]
            return float(np.mean([0.0 if value is None else value for value in fits]))

        # A coarse search, axis by axis, is enough to tell an offset from other mistakes.
        best = np.zeros(3)
        for step in (40.0, 20.0, 10.0):
            for axis in (2, 0, 1):
                moves = np.zeros((7, 3))
                moves[:, axis] = step * np.arange(-3, 4)
                best = max((best + move for move in moves), key=fit)
        return best


def _mean_if_better(pairs: Float[np.ndarray, "F 2"], least_gain: float) -> float | None:
    """Mean fit of the second labels if it is better than that of the first ones beyond chance, else None."""
    gain = pairs[:, 1] - pairs[:, 0]
    differ = gain[gain != 0]
    if not len(differ) or gain.mean() < least_gain:
        return None
    # The number of wins of a fair coin has the standard deviation sqrt(n) / 2. Of few frames all must win.
    deviations = ((differ > 0).sum() - len(differ) / 2) / (np.sqrt(len(differ)) / 2)
    enough = deviations >= min(_LEAST_DEVIATIONS, np.sqrt(len(differ)))
    return float(pairs[:, 1].mean()) if enough else None


def _turned_depths(skeleton: Skeleton) -> _Tried:
    """Depths relative to the root with the wrong sign. The pixels of the joints stay nearly the same."""
    root = skeleton.reference

    def undone(joints: np.ndarray, camera: Pinhole) -> np.ndarray:
        turned = joints.copy()
        turned[:, 2] = 2 * joints[root, 2] - joints[:, 2]
        return turned

    return _Tried(f"the depths of the joints relative to {skeleton.joints[root]} point the other way", undone)


def _shift_named(shift: int) -> str:
    frames = "frames" if abs(shift) > 1 else "frame"
    return f"each label is that of the frame {abs(shift)} {frames} {'later' if shift < 0 else 'earlier'}"


def _moved(offset: np.ndarray) -> Callable[[np.ndarray, Pinhole], np.ndarray]:
    return lambda joints, camera: joints + offset


def _focal(factor: float) -> Callable[[np.ndarray, Pinhole], np.ndarray]:
    """x and y as they would be with a focal length that is `factor` times as long."""
    return lambda joints, camera: joints * np.array([factor, factor, 1])


def fit_of(frame: HandFrame, joints_mm: Float[np.ndarray, "J 3"]) -> float | None:
    """Share of the joints that lie on, or just behind, the surface that the image shows.

    Joints outside the image do not fit. Joints at invalid pixels are not counted. None if all pixels are invalid.
    """
    fits, counted = _fitting(frame, joints_mm)
    return float(fits / counted) if counted else None


def _fitting(frame: HandFrame, joints_mm: Float[np.ndarray, "J 3"]) -> tuple[int, int]:
    """Number of the joints that fit, and of those that are counted, as `fit_of` says."""
    valid, behind_mm, inside = _behind(frame, joints_mm)
    fits = valid & (behind_mm > -BEFORE_MM) & (behind_mm < BEHIND_MM)
    return int(fits.sum()), int((valid | ~inside).sum())


def is_off(frame: HandFrame, joints_mm: Float[np.ndarray, "J 3"]) -> bool:
    """Whether so few of the joints lie where a hand can be that the label is of another image."""
    if len(joints_mm) < _LEAST_JOINTS:
        return False
    valid, behind_mm, inside = _behind(frame, joints_mm)
    counted = (valid | ~inside).sum()
    fits = valid & (behind_mm > -BEFORE_MM) & (behind_mm < BEHIND_MM)
    if counted >= _LEAST_COUNTED * len(joints_mm) and fits.sum() < _BAD_FIT * counted:
        return True
    before, behind = _POSSIBLE_MM
    possible = valid & (behind_mm > before) & (behind_mm < behind)
    if possible.sum() >= _LEAST_POSSIBLE * len(joints_mm):
        return False
    seen_mm2 = np.square(frame.depth_mm, dtype=np.float64).sum() / (frame.camera.fx_px * frame.camera.fy_px)
    return bool(seen_mm2 >= _LEAST_SEEN_MM2)


def _behind(
    frame: HandFrame, joints_mm: Float[np.ndarray, "J 3"]
) -> tuple[Bool[np.ndarray, "J"], Float[np.ndarray, "J"], Bool[np.ndarray, "J"]]:
    """Whether the pixels of the joints show something, how far the joints are behind it, and whether they are in the
    image."""
    height, width = frame.depth_mm.shape
    camera = frame.camera
    x, y, z = np.asarray(joints_mm, np.float64).T
    before_camera = z > 1e-6
    depth = np.where(before_camera, z, 1.0)
    u = np.rint(x / depth * camera.fx_px + camera.cx_px)
    v = np.rint(y / depth * camera.fy_px + camera.cy_px)
    inside = before_camera & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    columns = np.where(inside, u, 0).astype(np.int64)
    rows = np.where(inside, v, 0).astype(np.int64)
    seen = frame.depth_mm[rows, columns]
    return inside & (seen > 0), z - seen, inside


def wrong_order(joints_mm: Float32[np.ndarray, "F J 3"], skeleton: Skeleton) -> str | None:
    """Name the order of the joints if the bones fit a hand in another order than the skeleton's.

    None for skeletons whose fingers do not run from knuckle to tip.
    """
    named = set(skeleton.places)
    bones = {(f"{finger}_{a}", f"{finger}_{b}"): mm for (finger, a, b), mm in ADULT_BONES_MM.items()}
    if not {joint for bone in bones for joint in bone} <= named:
        return None
    lengths = np.array(list(bones.values()))

    def misfit(order: Sequence[str]) -> float:
        """Mean difference of the logarithms of the bones from an adult's, apart from the size of the hand."""
        places = {name: place for place, name in enumerate(order)}
        ends = np.array([[places[a], places[b]] for a, b in bones])
        found = np.median(np.linalg.norm(joints_mm[:, ends[:, 0]] - joints_mm[:, ends[:, 1]], axis=-1), axis=0)
        ratios = np.log(np.maximum(found, 1e-6) / lengths)
        return float(np.abs(ratios - np.median(ratios)).mean())

    own = misfit(skeleton.places)
    best, title = min((misfit(order), title) for title, order in _orders(skeleton))
    if own < _ORDER_MISFIT or best > _ORDER_GAIN * own:
        return None
    return (
        f"The bones do not fit a hand in the order of {skeleton.name}, but they fit it {title}. Likely cause: the "
        "labels are in another order. Declare the skeleton that they have."
    )


def _orders(skeleton: Skeleton) -> list[tuple[str, tuple[str, ...]]]:
    """Orders in which labels of such a skeleton may come: the name of the joint at each place."""
    chains: dict[str, list[int]] = {}
    for place, name in enumerate(skeleton.places):
        if name.split("_")[0] in FINGERS:
            chains.setdefault(name.split("_")[0], []).append(place)
    own = list(chains)
    if len({len(places) for places in chains.values()}) > 1:
        return []

    def named(fingers: Sequence[str], reverse: bool) -> tuple[str, ...]:
        names = list(skeleton.places)
        for finger, places in zip(fingers, (chains[name] for name in own), strict=True):
            joints = [skeleton.places[place] for place in chains[finger]]
            for place, name in zip(places, joints[::-1] if reverse else joints, strict=True):
                names[place] = name
        return tuple(names)

    orders = {
        "with the thumb first": named(FINGERS, False),
        "with the index finger first": named((*FINGERS[1:], FINGERS[0]), False),
        "with the little finger first": named(FINGERS[::-1], False),
        "with the tips first": named(own, True),
        "with the thumb first and the tips first": named(FINGERS, True),
    }
    return [(title, order) for title, order in orders.items() if order != skeleton.places]
