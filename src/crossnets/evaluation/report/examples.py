"""Pictures of the worst and the median frames, with the labelled and the predicted skeleton."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8

from crossnets import draw, metrics
from crossnets.datasets.dataset import FrameError, HandDataset
from crossnets.evaluation.evaluation import Compared
from crossnets.geometry.camera import project
from crossnets.geometry.crop import crop_hand, image_to_crop_px
from crossnets.types import HandFrame

SHOWN = 6
_SIZE_PX = 320
_CUBE_MM = 300.0
"""Slightly larger than the cube of most models, so that joints outside their crops are visible."""
_WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Example:
    """Picture of one frame and its errors."""

    key: str
    mean_mm: float
    worst_mm: float
    png_base64: str
    outside: bool
    """Whether all predicted joints lie outside of the picture, which shows the labels."""


def worst_and_median(compared: Compared) -> tuple[Int[np.ndarray, "worst"], Int[np.ndarray, "median"]]:
    """Rows of the frames with the largest mean errors, worst first, and of the frames around the median."""
    predicted = np.flatnonzero(np.isfinite(compared.predicted_mm).all(axis=(1, 2)))
    errors = metrics.joint_errors_mm(compared.predicted_mm[predicted], compared.labels_mm[predicted]).mean(axis=1)
    order = predicted[np.argsort(errors, kind="stable")]
    start = max(len(order) // 2 - SHOWN // 2, 0)
    return order[::-1][:SHOWN], order[start : start + SHOWN]


def pictures(compared: Compared, dataset: HandDataset, rows: Sequence[int]) -> list[Example]:
    """Draw the given frames. Unreadable frames are left out."""
    assert compared.indices is not None
    examples = []
    for row in rows:
        try:
            frame = dataset[compared.indices[row]]
        except FrameError:
            continue
        errors = metrics.joint_errors_mm(compared.predicted_mm[row, None], compared.labels_mm[row, None])[0]
        picture, outside = _picture(compared, frame, row)
        examples.append(Example(frame.key, float(errors.mean()), float(errors.max()), _png(picture), outside))
    return examples


def _picture(compared: Compared, frame: HandFrame, row: int) -> tuple[UInt8[np.ndarray, "S S 3"], bool]:
    """Draw the depth around the labels, then the prediction in colours, then the labels as a thin white skeleton.

    Returns:
        The picture, and whether the prediction is wholly outside of it.
    """
    center_mm = (compared.labels_mm[row].min(axis=0) + compared.labels_mm[row].max(axis=0)) / 2
    crop = crop_hand(frame.depth_mm, frame.camera, center_mm, _CUBE_MM, _SIZE_PX)

    def pixels(joints_mm: Float[np.ndarray, "J 3"]) -> Float[np.ndarray, "J 2"]:
        in_front = np.where(joints_mm[:, 2:] > 1, joints_mm, np.nan)
        return image_to_crop_px(project(in_front, frame.camera)[:, :2], crop)

    picture = draw.depth_to_rgb(crop.depth_mm)
    predicted_px = pixels(compared.predicted_mm[row])
    inside = ((predicted_px >= 0) & (predicted_px < _SIZE_PX)).all(axis=1).any()
    picture = draw.draw_skeleton(picture, predicted_px, compared.skeleton, None, 3, 4.0)
    picture = draw.draw_skeleton(picture, pixels(compared.labels_mm[row]), compared.skeleton, _WHITE, 1, 2.0)
    return picture, not bool(inside)


def _png(picture: UInt8[np.ndarray, "S S 3"]) -> str:
    _, encoded = cv2.imencode(".png", picture[..., ::-1])
    return base64.b64encode(encoded.tobytes()).decode("ascii")
