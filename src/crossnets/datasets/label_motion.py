"""Do the labels of a video move when the hand in its images does, or some frames earlier or later?

In a slow video the label of a neighbouring frame still lies on the hand, so its place tells nothing. Its motion does:
from one image to the next the hand moves by a millimetre or two, and the label of the same two frames moves alike.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from crossnets.types import HandFrame, Pinhole

_SHIFTS = (-3, -2, -1, 1, 2, 3)
_MARGIN_MM = 15.0
"""Points count as the hand if they are at most so much farther from the mean of the joints than the farthest joint."""
_MOST_FRAMES = 4000
"""Frames that are compared, so that memory and time do not grow with a large data set."""
_MOST_RADIUS_MM = 500.0
"""Joints that are farther apart are not in mm."""
_LEAST_POINTS = 50
_MOST_ROWS = 60
"""Pixels are left out, evenly, so that about so many rows and columns remain. Their mean is as exact."""
_MOST_MM = 60.0
"""A label that moves farther than this in one frame is of another pose, or begins another part of a video."""
_NEAREST_MM = 50.0
_CLIP = 3.0
"""Motions are cut at this many deviations, so that a few wrong ones do not decide."""
_LEAST_PAIRS = 48
_LEAST_CORRELATION = 0.35
_LEAST_GAIN = 0.08
_LEAST_DEVIATIONS = 2.0
"""A shift is named if the motions of images and shifted labels correlate so well, so much better than without the
shift, and if the mean of this gain is so many of its standard deviations above zero. Right labels of CVAR's videos
correlate with 0.52 to 0.68, labels of a neighbouring frame with 0.24 to 0.39, at least 2.3 deviations below."""


class ShiftedLabels(NamedTuple):
    """Labels that move as the images of other frames do."""

    shift: int
    """The label of frame n + shift moves as the image of frame n."""
    correlation: float
    own_correlation: float
    """Correlation without the shift."""
    deviations: float
    """Mean gain by the shift, in standard deviations of this mean."""


class LabelMotion:
    """Collects the motions of labels and images, frame by frame."""

    def __init__(self) -> None:
        self._labels_mm: dict[tuple[str, int], np.ndarray] = {}
        """Mean of the joints (3,), by sequence and place in the data set."""
        self._images_mm: dict[tuple[str, int], np.ndarray] = {}
        """Motion (3,) of the hand's points from the image at this place to the next one."""
        self._before: tuple[int, HandFrame] | None = None

    def add(self, index: int, frame: HandFrame) -> None:
        """Add the next labelled frame. After some thousand frames more are passed over.

        Args:
            index: Place of the frame in the data set.
            frame: A frame with joints.
        """
        assert frame.joints_mm is not None
        if len(self._labels_mm) >= _MOST_FRAMES:
            return
        center = np.asarray(frame.joints_mm, np.float64).mean(axis=0)
        self._labels_mm[frame.sequence, index] = center
        before = self._before
        self._before = (index, frame)
        if before is None or before[0] != index - 1 or before[1].sequence != frame.sequence:
            return
        middle = (center + self._labels_mm[frame.sequence, index - 1]) / 2
        radius = float(np.linalg.norm(frame.joints_mm - center, axis=1).max()) + _MARGIN_MM
        if radius > _MOST_RADIUS_MM or middle[2] <= 0:
            return
        first = _center_of_points(before[1], middle, radius)
        second = _center_of_points(frame, middle, radius)
        if first is not None and second is not None:
            self._images_mm[frame.sequence, index - 1] = second - first

    def shifted(self) -> ShiftedLabels | None:
        """Return the shift after which labels move as the images do. None if they do without a shift, or if too few
        frames follow each other to tell."""
        compared = [self._compared(shift) for shift in _SHIFTS]
        best = max((one for one in compared if one is not None), key=lambda one: one.correlation, default=None)
        if (
            best is None
            or best.correlation < _LEAST_CORRELATION
            or best.correlation - best.own_correlation < _LEAST_GAIN
            or best.deviations < _LEAST_DEVIATIONS
        ):
            return None
        return best

    def _compared(self, shift: int) -> ShiftedLabels | None:
        """Compare this shift with none, on the pairs of frames that have both labels. None if they are few."""
        images: list[np.ndarray] = []
        own: list[np.ndarray] = []
        others: list[np.ndarray] = []
        for (sequence, index), image in self._images_mm.items():
            label = self._label_motion(sequence, index)
            other = self._label_motion(sequence, index + shift)
            if label is not None and other is not None:
                images.append(image)
                own.append(label)
                others.append(other)
        if len(images) < _LEAST_PAIRS:
            return None
        moved = _standard(np.array(images))
        as_they_are = moved * _standard(np.array(own))
        as_shifted = moved * _standard(np.array(others))
        gains = (as_shifted - as_they_are).sum(axis=1)
        deviations = gains.mean() / max(gains.std() / np.sqrt(len(gains)), 1e-9)
        return ShiftedLabels(shift, float(as_shifted.mean()), float(as_they_are.mean()), float(deviations))

    def _label_motion(self, sequence: str, index: int) -> Float[np.ndarray, "3"] | None:
        """Motion of the label from this frame to the next one. None if one has no label, or if they are far apart."""
        first = self._labels_mm.get((sequence, index))
        second = self._labels_mm.get((sequence, index + 1))
        if first is None or second is None or np.linalg.norm(second - first) > _MOST_MM:
            return None
        return second - first


def _standard(motions_mm: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 2"]:
    """x and y of motions without their medians, in units of their deviations after cutting outliers. 0 where nothing
    moves. Depth is left out, because the mean depth of a surface changes when a hand turns."""
    aside = motions_mm[:, :2] - np.median(motions_mm[:, :2], axis=0)
    scale = 1.4826 * np.median(np.abs(aside), axis=0)
    cut = np.clip(aside / np.maximum(scale, 1e-6), -_CLIP, _CLIP)
    cut -= cut.mean(axis=0)
    return cut / np.maximum(cut.std(axis=0), 1e-6)


def _center_of_points(frame: HandFrame, middle: Float[np.ndarray, "3"], radius: float) -> Float[np.ndarray, "3"] | None:
    """Mean of the points that the image shows within a sphere. None if they are few."""
    camera = frame.camera
    rows, columns = _box(frame.depth_mm.shape, camera, middle, radius)
    step = max(1, round(max(rows.stop - rows.start, columns.stop - columns.start) / _MOST_ROWS))
    u = np.arange(columns.start, columns.stop, step)
    v = np.arange(rows.start, rows.stop, step)
    z = frame.depth_mm[v[:, None], u].astype(np.float64)
    x = (u - camera.cx_px) / camera.fx_px * z
    y = ((v - camera.cy_px) / camera.fy_px)[:, None] * z
    squared = (x - middle[0]) ** 2 + (y - middle[1]) ** 2 + (z - middle[2]) ** 2
    inside = (z > 0) & (squared < radius**2)
    if inside.sum() < _LEAST_POINTS:
        return None
    return np.array([x[inside].mean(), y[inside].mean(), z[inside].mean()])


def _box(shape: tuple[int, ...], camera: Pinhole, middle: Float[np.ndarray, "3"], radius: float) -> tuple[slice, slice]:
    """Rows and columns that can show points of a sphere."""
    nearest = max(float(middle[2]) - radius, _NEAREST_MM)

    def span(place: float, focal_px: float, center_px: float, size: int) -> slice:
        ends = [
            (place + sign * radius) * focal_px / depth for sign in (-1, 1) for depth in (nearest, middle[2] + radius)
        ]
        first, last = (int(np.clip(center_px + end, 0, size)) for end in (min(ends), max(ends) + 1))
        return slice(first, last)

    return span(middle[1], camera.fy_px, camera.cy_px, shape[0]), span(middle[0], camera.fx_px, camera.cx_px, shape[1])
