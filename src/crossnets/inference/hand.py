"""One hand in one frame."""

import json
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import erf, exp, pi, sqrt
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

from crossnets.draw import depth_to_rgb, draw_skeleton
from crossnets.geometry.camera import project
from crossnets.geometry.lens import pinhole_of
from crossnets.geometry.skeleton import SKELETONS, Skeleton, find_skeleton
from crossnets.inference.articulation import Articulated, Gesture, Palm, has_articulation
from crossnets.types import LensCamera, Pinhole

Side: TypeAlias = Literal["left", "right"]
_OTHER: dict[Side, Side] = {"left": "right", "right": "left"}

SURE_MM = 20.0
"""`Hand.confidence` is the probability that a joint is within this distance of the truth: about a finger's width."""
HAND_LENGTHS_MM = (130, 240)
"""Lengths of hands from six years of age on, with a margin."""
USUAL_LENGTHS_MM = (150, 220)
"""Lengths of the hands of nearly all adults. The model's median is 187 mm on the frames of an SR305, and 196 and 197 on
CVAR's P4 and P5. A focal length that is 1.3 times too long or too short leads out of this range."""
_MEAN_LENGTH_MM = 185.0
_SKIN_MM = 10.0
"""The box reaches this far beyond the joints, which lie under the skin."""


@dataclass(frozen=True, repr=False)
class Hand:
    """Joints of one hand in the camera frame (x right, y down, z forward), with their deviations."""

    joints_mm: Float32[np.ndarray, "J 3"]
    skeleton: Skeleton
    """Names and parents of the joints."""
    camera: Pinhole | LensCamera
    """Camera of the image that shows the hand."""
    std_mm: Float32[np.ndarray, "J"] | None = None
    """Standard deviation of each joint in each axis. None if the model does not estimate it."""
    side: Side | None = None
    """Side of the real hand. None if the model does not estimate sides."""
    side_probability: float | None = None
    """Probability that the side is right, 0.5 to 1."""
    size_mm: float | None = None
    """Length of the straightened hand from the wrist to the tip of the middle finger."""
    track: int | None = None
    """Number of the hand while it is followed from frame to frame. None if frames are independent."""

    gesture_before: Gesture | None = None
    """Gesture of the followed hand in the image before. `gesture` keeps it until it clearly ends."""
    mirrored: bool = False
    """Whether the image is mirrored. The joints are those of the image and have the shape of the other side."""

    def __getitem__(self, joint: str) -> Float32[np.ndarray, "3"]:
        """Return one joint in mm by its name, such as `index_tip`.

        Raises:
            KeyError: the skeleton has no joint of this name. The message lists its joints.
            TypeError: the joint is not named by a text.
        """
        if not isinstance(joint, str):
            raise TypeError(
                f"Found hand[{joint!r}], expected a name such as hand['index_tip']. hand.joints_mm has rows."
            )
        names = self.skeleton.joints if joint in self.skeleton.joints else self.skeleton.places
        if joint not in names:
            near = get_close_matches(joint.replace("pinky", "little"), self.skeleton.joints, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            raise KeyError(
                f"Found {joint!r}, expected a joint of {self.skeleton.name}: {', '.join(self.skeleton.joints)}.{meant}"
            )
        return self.joints_mm[names.index(joint)]

    def joints(self, skeleton: str) -> Float32[np.ndarray, "J 3"]:
        """Return the joints in mm in the order of another skeleton with the same joints.

        Args:
            skeleton: `mediapipe` or `mediapipe21` (thumb first), `msra21`, another skeleton's name, or the path of a
                JSON file that declares one.

        Raises:
            FileNotFoundError: the JSON file does not exist.
            ValueError: the skeleton is unknown, or it has joints at other places of the hand.
        """
        name = "mediapipe21" if skeleton == "mediapipe" else skeleton
        declared = name.endswith(".json")
        order = self.skeleton.order_of(find_skeleton(name)) if declared or name in SKELETONS else None
        if order is None:
            fitting = [one.name for one in SKELETONS.values() if self.skeleton.order_of(one) is not None]
            raise ValueError(f"Found the skeleton {skeleton!r}, expected one with these joints: {', '.join(fitting)}.")
        return self.joints_mm[list(order)]

    def __repr__(self) -> str:
        """Side, place and size in one line."""
        x, y, z = self.joints_mm.mean(axis=0)
        side = "hand" if self.side is None else f"{self.side} hand ({100 * (self.side_probability or 0):.0f} %)"
        size = "" if self.size_mm is None else f", {self.size_mm:.0f} mm long"
        followed = "" if self.track is None else f", track {self.track}"
        gesture = "" if self.gesture is None else f", {self.gesture}"
        joints = f"{len(self.joints_mm)} joints ({self.skeleton.name})"
        return f"<{side} at ({x:.0f}, {y:.0f}, {z:.0f}) mm{size}{gesture}{followed}, {joints}>"

    @property
    def angles_deg(self) -> dict[str, float]:
        """Flexion of each finger joint (`index_pip`, 0 if straight) and spread of neighbouring fingers, in degrees.

        Raises:
            ValueError: the skeleton lacks the wrist or finger joints.
        """
        return Articulated(self.joints_mm, self.skeleton).angles_deg()

    @property
    def palm(self) -> Palm | None:
        """Position, normal and direction of the palm in the camera frame. None if the side is not known.

        Raises:
            ValueError: the skeleton lacks the wrist or finger joints.
        """
        if self.side is None:
            return None
        return Articulated(self.joints_mm, self.skeleton).palm((self.side == "right") != self.mirrored)

    @property
    def pinch_mm(self) -> dict[str, float]:
        """Distance in mm of the thumb's tip from the tip of the index, middle, ring and little finger.

        Raises:
            ValueError: the skeleton lacks the wrist or finger joints.
        """
        return Articulated(self.joints_mm, self.skeleton).pinch_mm()

    @property
    def gesture(self) -> Gesture | None:
        """open, fist, point, pinch, thumb_up, victory or ok. None for others, and if the skeleton lacks joints."""
        if not has_articulation(self.skeleton):
            return None
        return Articulated(self.joints_mm, self.skeleton).gesture(self.gesture_before)

    @property
    def joints_px(self) -> Float32[np.ndarray, "J 2"]:
        """(u, v) of each joint in the image."""
        return project(self.joints_mm, self.camera)[:, :2].astype(np.float32)

    @property
    def confidence(self) -> Float32[np.ndarray, "J"] | None:
        """Probability, 0 to 1, that each joint is within 20 mm of the truth, if errors are Gaussian.

        An impossible length of the hand shows that the camera or the depth unit is wrong. The joints are then assumed
        to be wrong by the same factor as the length.
        """
        if self.std_mm is None:
            return None
        std_mm = self.std_mm
        if self.size_mm is not None and not HAND_LENGTHS_MM[0] <= self.size_mm <= HAND_LENGTHS_MM[1]:
            wrong_share = abs(1 - _MEAN_LENGTH_MM / self.size_mm)
            std_mm = np.maximum(std_mm, wrong_share * np.linalg.norm(self.joints_mm, axis=1))
        return np.array([_within(SURE_MM / float(std)) for std in std_mm], np.float32)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in pixels, around the joints and the skin on them. The box may leave the image."""
        points = self.joints_px
        z = self.joints_mm[:, 2]
        margin = _SKIN_MM * np.array(pinhole_of(self.camera)[:2]) / z[:, None]
        left, top = (points - margin).min(axis=0)
        right, bottom = (points + margin).max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    def with_known(self, *, side: Side | None = None, mirrored: bool = False) -> "Hand":
        """Return the hand with facts that the user knows.

        Args:
            side: The side of the real hand, if it is known.
            mirrored: Whether the image is mirrored. The real hand then has the other side.
        """
        hand = self
        if mirrored:
            hand = replace(hand, side=side_in_image(hand.side, mirrored=True), mirrored=True)
        if side is not None:
            hand = replace(hand, side=side, side_probability=1.0)
        return hand

    def to_dict(self) -> dict[str, Any]:
        """Return the hand as plain Python values with units in their names."""
        confidence = self.confidence
        return {
            "skeleton": self.skeleton.name,
            "joints": list(self.skeleton.joints),
            "joints_mm": np.round(self.joints_mm.astype(float), 2).tolist(),
            "joints_px": np.round(self.joints_px.astype(float), 2).tolist(),
            "std_mm": None if self.std_mm is None else np.round(self.std_mm.astype(float), 2).tolist(),
            "confidence": None if confidence is None else np.round(confidence.astype(float), 4).tolist(),
            "side": self.side,
            "side_probability": None if self.side_probability is None else round(self.side_probability, 4),
            "size_mm": None if self.size_mm is None else round(self.size_mm, 1),
            "box_px": [round(edge, 1) for edge in self.box],
            "track": self.track,
            "mirrored": self.mirrored,
        }

    def to_json(self) -> str:
        """Return `to_dict` as one line of strict JSON."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def draw(
        self, image: UInt8[np.ndarray, "H W 3"] | Float32[np.ndarray, "H W"] | UInt16[np.ndarray, "H W"]
    ) -> UInt8[np.ndarray, "H W 3"]:
        """Draw the skeleton over an RGB image, or over a shaded depth image in mm."""
        if image.ndim == 2:
            rgb = depth_to_rgb(np.where(np.isfinite(image), image, 0).astype(np.float32))
        else:
            rgb = image.astype(np.uint8)
        return draw_skeleton(rgb, self.joints_px, self.skeleton)


def side_in_image(side: Side | None, *, mirrored: bool) -> Side | None:
    """Side that a real hand of this side seems to have in an image, and the reverse. None if it is not known."""
    return _OTHER[side] if side is not None and mirrored else side


def _within(sigmas: float) -> float:
    """Probability that a three-dimensional Gaussian is within so many deviations of its mean (Maxwell's
    distribution)."""
    return erf(sigmas / sqrt(2)) - sqrt(2 / pi) * sigmas * exp(-(sigmas**2) / 2)
