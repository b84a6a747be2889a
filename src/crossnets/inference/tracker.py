"""The tracker: it detects hands in raw depth images and estimates their joints, frame by frame or over time."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float32, UInt16

from crossnets.datasets.depth_checks import in_metres
from crossnets.geometry.camera import CameraPreset, as_camera, unlikely
from crossnets.geometry.filled_holes import without_filling
from crossnets.geometry.lens import lens_table
from crossnets.inference.articulation import Gesture
from crossnets.inference.detector import Detection, Finder
from crossnets.inference.estimator import CropEstimator, Estimates
from crossnets.inference.hand import Hand, Side, side_in_image
from crossnets.inference.hands import (
    SAME_HAND_MM,
    DepthWatch,
    SizeWatch,
    SurroundingsWatch,
    estimate_cubes,
    estimate_hands,
    hand_of,
    hand_of_side,
    hands_among,
    unsure_share,
)
from crossnets.inference.smoothing import OneEuro, OneEuroConfig
from crossnets.types import DepthImage, HandCrop, LensCamera, Pinhole

Camera: TypeAlias = str | Pinhole | LensCamera | CameraPreset | Sequence[float] | np.ndarray | Any | None
"""Any argument of `geometry.camera.as_camera`."""
FINDS_EVERY = 15
"""Frames between two searches of the whole image while all hands are followed."""
_LOST_SHARE = 0.15
"""Mean deviation of the joints over the hand's length above which a followed hand is lost."""
_MISSES = 2
"""Number of consecutive searches without a followed hand after which it is dropped."""
_SIDE_KEPT = 0.9
"""Weight of the frames before in the vote on the side of a followed hand."""
_MOST_SIDE_ODDS = 3.0
"""Largest log-odds of one frame in that vote. A side with such odds is settled, and one with less is a guess."""
_CHANGE_SIDE_ODDS = 10.0
"""Log-odds that change a settled side. After many sure frames, eleven sure ones of the other side reach it. A guess
changes as soon as the other side would be settled."""
_DEFAULT_STEP_S = 1 / 30
_LONG_STEP_S = 10.0
_LONG_STEPS = 3
"""Several consecutive steps that are longer than this show that times are in milliseconds."""
_USELESS_STEP_S = 0.5
_USELESS_STEPS = 10
"""After a longer step a new joint has a weight of 0.86 or more, so smoothing hardly does anything. A pause has one or
two such steps. More of them show a source that is that slow, or times that are not in seconds."""


class Image(NamedTuple):
    """A depth image with its camera."""

    depth_mm: Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]
    camera: Pinhole | LensCamera


@dataclass
class _Followed:
    """A hand that is followed."""

    number: int
    joints_mm: Float32[np.ndarray, "J 3"]
    """The estimate before smoothing."""
    cube_mm: float
    filter: OneEuro | None
    misses: int = 0
    side_odds: float = 0.0
    """Log-odds of a right hand over the last frames, weighted towards the newest."""
    right: bool | None = None
    """The side. None if the model does not estimate sides."""
    settled: bool = False
    """Whether the side is settled."""
    gesture: Gesture | None = None
    """Gesture in the last image."""

    def vote(self, right: float) -> None:
        """Count one frame's probability of a right hand. A settled side changes on strong evidence only."""
        odds = math.log(max(right, 1e-6) / max(1 - right, 1e-6))
        self.side_odds = _SIDE_KEPT * self.side_odds + min(max(odds, -_MOST_SIDE_ODDS), _MOST_SIDE_ODDS)
        says_right = self.side_odds >= 0
        changes_beyond = _CHANGE_SIDE_ODDS if self.settled else _MOST_SIDE_ODDS
        if self.right is None or (says_right != self.right and abs(self.side_odds) > changes_beyond):
            self.right = says_right
        if says_right == self.right and abs(self.side_odds) >= _MOST_SIDE_ODDS:
            self.settled = True


class Tracker:
    """Detects hands in depth images and estimates their joints. `crossnets.load` returns a tracker.

    `predict` treats images as independent. `track` starts from the hands of the image before. It searches the whole
    image when a hand is lost, and in every 15th image.
    """

    def __init__(
        self,
        estimator: CropEstimator,
        finder: Finder,
        *,
        hands: int = 2,
        smooth: bool | OneEuroConfig = False,
        side: Side | None = None,
        mirrored: bool = False,
    ) -> None:
        """Combine an estimator and a finder. `crossnets.load()` does this for a model.

        Args:
            estimator: Estimates joints in crops.
            finder: Finds candidates for hands in images.
            hands: Largest number of hands in an image.
            smooth: Whether `track` filters joints over time (One-Euro).
            side: The side of all hands, if it is known.
            mirrored: Whether images are mirrored, as those of a selfie camera. `Hand.side` is then that of the real
                hand. Joints stay those of the image.

        Raises:
            ValueError: `hands` is not a whole number above 0, `smooth` is neither a bool nor a config, or `side` is
                neither left nor right.
        """
        if not isinstance(hands, Integral) or hands < 1:
            raise ValueError(f"hands={hands!r}: expected a whole number, 1 or more.")
        if not isinstance(smooth, bool | OneEuroConfig):
            raise ValueError(f"smooth={smooth!r}: expected True, False or a OneEuroConfig.")
        if side not in (None, "left", "right"):
            raise ValueError(f"side={side!r}: expected left, right or None.")
        self.estimator = estimator
        self.finder = finder
        self.hands = hands
        self.side: Side | None = side
        self.mirrored = mirrored
        self._smooth = OneEuroConfig() if smooth is True else smooth or None
        self._sizes = SizeWatch()
        self._depths = DepthWatch()
        self._surroundings = SurroundingsWatch()
        self._reload: Callable[[], Tracker] | None = None
        self._warned_of_times = False
        self.stages_ms: dict[str, float] = {}
        """Milliseconds of the last call: find, crop, network, joints."""
        self.reset()

    def reloaded_by(self, reload: "Callable[[], Tracker]") -> "Tracker":
        """Return the tracker after setting how other processes load it: by calling `reload`, which can be pickled."""
        self._reload = reload
        return self

    def __reduce__(self) -> "tuple[Callable[[], Tracker], tuple[()]]":
        """Pickle how the tracker was loaded. Another process loads it again, without the hands that are followed.

        Raises:
            TypeError: the tracker was not made by `crossnets.load`.
        """
        if self._reload is None:
            raise TypeError(
                "This tracker was not made by crossnets.load(), so another process cannot load it. Pickle a tracker of "
                "crossnets.load(), or make one in each process."
            )
        return self._reload, ()

    def reset(self) -> None:
        """Forget the followed hands."""
        self._followed: list[_Followed] = []
        self._holes_filled = False
        self._since_search = FINDS_EVERY
        self._next_number = 0
        self._time_s: float | None = None
        self._long_steps = 0
        self._useless_steps = 0

    def check_scale(self) -> None:
        """Warn of a wrong camera or unit that the images since the last check show, however few they are.

        `predict` and `track` warn by themselves after ten images. Call this after the last image of a shorter source.
        """
        self._sizes.finish()
        self._depths.finish()
        self._surroundings.finish()

    @property
    def scale_faults(self) -> list[str]:
        """Faults of the camera, the depth unit or the kind of image that the tracker has warned about."""
        watches = self._depths, self._sizes, self._surroundings
        return [watch.fault for watch in watches if watch.fault is not None]

    def __repr__(self) -> str:
        """Model, joints and hands in one line."""
        model = self.estimator.model
        skeleton = self.estimator.skeleton
        return (
            f"<Tracker: preset {model.preset}, {len(skeleton)} joints ({skeleton.name}), up to {self.hands} hands, "
            f"{len(self._followed)} followed>"
        )

    def predict(self, depth_mm: np.ndarray | DepthImage, camera: Camera = None) -> list[Hand]:
        """Detect the hands in one image and estimate their joints, independent of other images.

        Args:
            depth_mm: (H, W) depth in mm, uint16 or float. Missing depth is 0. A frame of a camera or data set is
                accepted as well, and contains its camera.
            camera: Name of a preset, such as realsense-d435, or the intrinsics for images of this size: a `Pinhole`,
                four numbers, a 3 x 3 matrix, or pyrealsense2's intrinsics. OpenCV's coefficients of a lens follow the
                four numbers, or form a pair with the matrix: `camera=(matrix, coefficients)`.

        Returns:
            At most `hands` hands, the likeliest first.

        Raises:
            ValueError: the image is not a depth image in mm or has not the camera's size, or the camera is invalid.
        """
        image = depth_image(depth_mm, camera)
        self._check_depths(image)
        image = self._unfilled(image)
        found = self._search(image)
        if not found:
            self._depths.no_hand()
            return []
        estimated = estimate_hands(self.estimator, image, found, self.stages_ms)
        return [self._hand(image, estimated.estimates, estimated.crops, row) for row in estimated.hands[: self.hands]]

    def track(
        self, depth_mm: np.ndarray | DepthImage, camera: Camera = None, time_s: float | None = None
    ) -> list[Hand]:
        """Follow the hands in the next image of one camera. A hand keeps its number while it is followed.

        Args:
            depth_mm: Depth image or frame, as for `predict`.
            camera: Camera, as for `predict`.
            time_s: Time of the image in seconds. By default images are 1/30 s apart. Only smoothing uses it, and warns
                once if ten images with a hand are more than 0.5 s apart, where it has hardly an effect.

        Raises:
            ValueError: as for `predict`, or the time is not after that of the last image.
        """
        image = depth_image(depth_mm, camera)
        self._check_depths(image)
        now = self._now(getattr(depth_mm, "time_s", None) if time_s is None else time_s)
        self._since_search += 1
        searches = not self._followed or self._since_search >= FINDS_EVERY
        # The kit's filters hardly change while hands are followed. Once holes were filled, each image is checked.
        unfills = searches or self._holes_filled
        if unfills:
            image = self._unfilled(image)
        rows = self._follow(image)
        if searches or len(rows) < len(self._followed):
            rows = self._search_and_follow(image if unfills else self._unfilled(image), rows)
        self._followed = [followed for followed, _ in rows]
        return [_with_gesture(followed, self._smoothed(followed, hand, now)) for followed, hand in rows]

    def _now(self, time_s: float | None) -> float:
        last = self._time_s
        now = time_s if time_s is not None else (0.0 if last is None else last + _DEFAULT_STEP_S)
        if not isinstance(now, Real) or not math.isfinite(now):
            raise ValueError(f"Found the time {now!r}, expected a finite number of seconds.")
        if last is not None and (told := self._unlikely_times(now, last)) is not None and not self._warned_of_times:
            self._warned_of_times = True
            warnings.warn(told, stacklevel=3)
        if last is not None and not now > last:
            raise ValueError(
                f"An image at {now} s follows one at {last} s. Times must increase. Call reset() to start again."
            )
        self._time_s = now
        return now

    def _unlikely_times(self, now: float, last: float) -> str | None:
        """Describe times that are hardly in seconds. None if they may be."""
        self._long_steps = self._long_steps + 1 if now - last > _LONG_STEP_S else 0
        # Steps without a hand smooth nothing, and say nothing about the others.
        if not now - last > _USELESS_STEP_S:
            self._useless_steps = 0
        elif self._smooth is not None and self._followed:
            self._useless_steps += 1
        if self._long_steps >= _LONG_STEPS:
            return (
                f"An image at {now:g} s follows one at {last:g} s, and several others are as far apart. Times are in "
                "seconds. Divide milliseconds by 1000, else smoothing has no effect."
            )
        if self._useless_steps >= _USELESS_STEPS:
            return (
                f"An image at {now:g} s follows one at {last:g} s, and {_USELESS_STEPS} images are more than "
                f"{_USELESS_STEP_S:g} s apart, so smoothing has hardly an effect. Times are in seconds. Divide "
                "milliseconds by 1000, and numbers of images by the images in a second. A source that is this slow "
                "needs no smoothing."
            )
        return None

    def _follow(self, image: Image) -> list[tuple[_Followed, Hand]]:
        """Estimate the followed hands near their last places. Return those that are not lost."""
        if not self._followed:
            return []
        cubes = [(followed.joints_mm.mean(axis=0), followed.cube_mm) for followed in self._followed]
        estimates, crops = estimate_cubes(self.estimator, image, cubes, self.stages_ms)
        kept = []
        odds = np.where(unsure_share(estimates) < _LOST_SHARE, 1.0, -1.0)
        for row in hands_among(estimates, crops, odds):
            self._update(self._followed[row], estimates, row)
            kept.append((self._followed[row], self._hand(image, estimates, crops, row, self._followed[row])))
        return kept

    def _search_and_follow(self, image: Image, rows: list[tuple[_Followed, Hand]]) -> list[tuple[_Followed, Hand]]:
        """Search the whole image. Return `rows` without hands that several searches missed, and with new hands."""
        self._since_search = 0
        new = self._search(image)
        for followed, _ in rows:
            middle = followed.joints_mm.mean(axis=0)
            near = [d for d in new if np.linalg.norm(d.center_mm - middle) < SAME_HAND_MM]
            new = [d for d in new if not any(d is n for n in near)]
            followed.misses = 0 if near else followed.misses + 1
        begun = self._begin(image, new, [followed for followed, _ in rows])
        kept = [(followed, hand) for followed, hand in rows if followed.misses < _MISSES]
        if any(followed.misses for followed, _ in kept):
            self._since_search = FINDS_EVERY  # search the next image too
        return [*kept, *begun]

    def _begin(
        self, image: Image, found: Sequence[Detection], others: Sequence[_Followed]
    ) -> list[tuple[_Followed, Hand]]:
        """Estimate new hands, the likeliest first. One of `others` that is found again does not count as missed."""
        if not found:
            return []
        estimated = estimate_hands(self.estimator, image, found, self.stages_ms)
        estimates = estimated.estimates
        crops = estimated.crops
        new = []
        for row in estimated.hands:
            middle = estimates.joints_mm[row].mean(axis=0)
            same = [o for o in others if np.linalg.norm(o.joints_mm.mean(axis=0) - middle) < SAME_HAND_MM]
            for other in same:
                other.misses = 0
            if not same:
                new.append(row)
        begun = []
        for row in new[: self.hands - sum(other.misses < _MISSES for other in others)]:
            smooth = OneEuro(self._smooth) if self._smooth else None
            followed = _Followed(self._next_number, estimates.joints_mm[row], crops[row].cube_mm, smooth)
            self._next_number += 1
            self._update(followed, estimates, row)
            begun.append((followed, self._hand(image, estimates, crops, row, followed)))
        return begun

    def _update(self, followed: _Followed, estimates: Estimates, row: int) -> None:
        followed.joints_mm = estimates.joints_mm[row]
        if estimates.size_mm is not None:
            followed.cube_mm = self.estimator.cube_for(float(estimates.size_mm[row]))
        if estimates.right is not None:
            followed.vote(float(estimates.right[row]))

    def _smoothed(self, followed: _Followed, hand: Hand, now: float) -> Hand:
        if followed.filter is None:
            return hand
        return replace(hand, joints_mm=followed.filter(hand.joints_mm, now).astype(np.float32))

    def _check_depths(self, image: Image) -> None:
        """Check the depths of an image. This takes the first part of the time of `find`."""
        started = time.perf_counter()
        self._depths.see(image.depth_mm)
        self.stages_ms = dict.fromkeys(("find", "crop", "network", "joints"), 0.0)
        self.stages_ms["find"] = 1e3 * (time.perf_counter() - started)

    def _unfilled(self, image: Image) -> Image:
        """Remove filled holes from an image. Return the same image if it shows none."""
        started = time.perf_counter()
        depth_mm = without_filling(image.depth_mm)
        if depth_mm is not image.depth_mm:
            self._holes_filled = True
            image = image._replace(depth_mm=depth_mm)
        self.stages_ms["find"] += 1e3 * (time.perf_counter() - started)
        return image

    def _search(self, image: Image) -> list[Detection]:
        started = time.perf_counter()
        found = list(self.finder(image.depth_mm, image.camera))
        self.stages_ms["find"] += 1e3 * (time.perf_counter() - started)
        return found

    def _hand(
        self,
        image: Image,
        estimates: Estimates,
        crops: Sequence[HandCrop],
        row: int,
        followed: _Followed | None = None,
    ) -> Hand:
        """Convert one row to a hand. A followed hand has its settled side. Votes count sides as in the image."""
        hand = hand_of(self.estimator, image.camera, estimates, row, None if followed is None else followed.number)
        side = side_in_image(self.side, mirrored=self.mirrored)
        if side is None and followed is not None and followed.settled:
            side = "right" if followed.right else "left"
        hand = hand_of_side(self.estimator, image, crops[row], hand, side)
        self._sizes.see(hand.size_mm)
        self._depths.hand()
        self._surroundings.see(image.depth_mm, hand)
        if followed is not None and followed.right is not None:
            odds = followed.side_odds if followed.right else -followed.side_odds
            probability = 1 / (1 + math.exp(-max(odds, 0.0)))
            hand = replace(hand, side="right" if followed.right else "left", side_probability=probability)
        return hand.with_known(side=self.side, mirrored=self.mirrored)


def _with_gesture(followed: _Followed, hand: Hand) -> Hand:
    """Return the hand with the gesture of the image before, which is kept until it clearly ends."""
    hand = replace(hand, gesture_before=followed.gesture)
    followed.gesture = hand.gesture
    return hand


def _array_of(depth_mm: Any) -> np.ndarray:
    """Convert the caller's depth to an array. Masked pixels are invalid."""
    if isinstance(depth_mm, np.ma.MaskedArray):
        return depth_mm.filled(0)
    try:
        return np.asarray(depth_mm)
    except ValueError:
        raise ValueError(
            f"Found a {type(depth_mm).__name__} whose rows differ in length, expected a depth image: (height, width), "
            "uint16 or float, in millimetres."
        ) from None


def depth_image(depth_mm: np.ndarray | DepthImage, camera: Camera = None) -> Image:
    """Check the caller's image and camera, and combine them.

    Raises:
        ValueError: the image is not a depth image in mm or has not the camera's size, the camera has a depth unit, or
            the lens folds the image over.
    """
    if isinstance(depth_mm, DepthImage):
        camera = depth_mm.camera if camera is None else camera
        depth_mm = depth_mm.depth_mm
    if camera is None:
        raise ValueError("The image has no camera. Give camera=, such as camera='realsense-d435'.")
    preset = as_camera(camera)
    if isinstance(camera, str) and "," in camera and preset.depth_unit_mm != 1:
        raise ValueError(
            f"Found a depth unit of {preset.depth_unit_mm:g} mm per count in the camera {camera!r}, but depth is "
            "expected in mm here. Multiply the counts by the unit, and leave it out."
        )
    depth = _array_of(depth_mm)
    if depth.ndim != 2 or not depth.size or depth.dtype.kind not in "uif":
        raise ValueError(
            f"Found an array of shape {depth.shape} and type {depth.dtype}, expected a depth image: (height, width), "
            "uint16 or float, in millimetres."
        )
    if depth.itemsize == 1:
        raise ValueError(
            f"Found depth of type {depth.dtype}, whose 8 bits cannot hold millimetres, expected uint16 or float. "
            "OpenCV reads 16-bit PNGs as uint16 with cv2.imread(path, cv2.IMREAD_UNCHANGED)."
        )
    size = preset.height_px, preset.width_px
    if all(size) and depth.shape != size:
        raise ValueError(
            f"The image is {depth.shape[1]} x {depth.shape[0]} pixels, but the camera has {size[1]} x {size[0]}, "
            "and its intrinsics belong to that size. Give camera=Pinhole(fx, fy, cx, cy) of your images."
        )
    if depth.dtype not in (np.uint16, np.float32):
        depth = depth.astype(np.float32)
    if depth.dtype == np.float32 and in_metres(depth):  # integers are never metres
        raise ValueError(
            "Nearly all depths are below 20, which looks like metres. Expected millimetres: multiply by 1000."
        )
    if preset.lens is not None and not all(size):
        preset = preset._replace(width_px=depth.shape[1], height_px=depth.shape[0])
    seen_by = preset.camera
    told = unlikely(seen_by, depth.shape[1], depth.shape[0])
    if told is not None:
        warnings.warn(told, stacklevel=3)
    if isinstance(seen_by, LensCamera):
        lens_table(seen_by)  # impossible coefficients are rejected at the first image, even if it shows no hand
    return Image(np.ascontiguousarray(depth), seen_by)
