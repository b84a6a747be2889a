"""Pictures and films of predicted frames, for the command `predict`."""

import math
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from crossnets.atomic import make_folder
from crossnets.draw import depth_to_rgb, draw_skeleton
from crossnets.geometry.camera import project
from crossnets.geometry.localise import FAR_MM
from crossnets.geometry.skeleton import Skeleton
from crossnets.inference.hand import Hand
from crossnets.inference.predict import PredictedHands
from crossnets.types import HandFrame, PredictedFrame

if TYPE_CHECKING:
    from PIL import Image

_OVERLAY_PX = 480
"""Smaller images are enlarged by a whole number to about this height, so that fingers can be told apart."""
_TEXT_RGB = (235, 235, 235)
_SMALL_SHARE = 0.3
_INSET_SHARE = 0.4
"""A hand that is lower than this share of the picture is shown again in an inset of this share of the height."""
_GIF_PX = 480
_MOST_GIF = 600
"""Largest width of a GIF, and its largest number of frames. All of them are held in memory."""

Picture: TypeAlias = UInt8[np.ndarray, "_ _ 3"]


def overlay(frame: HandFrame, found: PredictedFrame, skeleton: Skeleton) -> Picture:
    """The frame's depth up to 1.5 m, shaded, with the predicted skeletons; enlarged by a whole number.

    Each hand has its side and mean confidence beside it. The likeliest hand is enlarged in a corner if it is small.
    """
    plain = depth_to_rgb(np.where(frame.depth_mm <= FAR_MM, frame.depth_mm, np.float32(0)))
    times = max(1, round(_OVERLAY_PX / plain.shape[0]))
    picture = np.asarray(cv2.resize(plain, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR), np.uint8)
    if found.joints_mm is None:
        return _written(picture, "no hand found", (12.0, 28.0), 0.7)
    hands = found.hands if isinstance(found, PredictedHands) else ()
    everyone = [hand.joints_px for hand in hands] or [project(found.joints_mm, frame.camera)[:, :2]]
    for points_px in everyone:
        picture = draw_skeleton(picture, times * (points_px + 0.5) - 0.5, skeleton)
    for hand in hands:
        left, top, _, bottom = (times * edge for edge in hand.box)
        below = top < 20
        picture = _written(picture, _caption(hand), (float(left), float(bottom + 16 if below else top - 6)), 0.5)
    return _with_inset(picture, plain, everyone[0], skeleton, times)


def _caption(hand: Hand) -> str:
    side = "hand" if hand.side is None else f"{hand.side} {100 * (hand.side_probability or 0):.0f} %"
    confidence = hand.confidence
    return side if confidence is None else f"{side}, joints {100 * float(confidence.mean()):.0f} %"


def _written(picture: Picture, text: str, at: tuple[float, float], size: float) -> Picture:
    """The picture with a text that is moved until it is inside."""
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    u = int(min(max(at[0], 2), max(picture.shape[1] - width - 2, 2)))
    v = int(min(max(at[1], height + 2), picture.shape[0] - 4))
    for colour, thickness in (((20, 20, 20), 3), (_TEXT_RGB, 1)):
        cv2.putText(picture, text, (u, v), cv2.FONT_HERSHEY_SIMPLEX, size, colour, thickness, cv2.LINE_AA)
    return picture


def _with_inset(
    picture: Picture, plain: Picture, points_px: Float[np.ndarray, "J 2"], skeleton: Skeleton, times: int
) -> Picture:
    """The picture with the hand enlarged in the corner that is farthest from it, if the hand is small."""
    height, width = plain.shape[:2]
    low = points_px.min(axis=0)
    high = points_px.max(axis=0)
    span = float((high - low).max())
    middle = (low + high) / 2
    inside = 0 <= middle[0] < width and 0 <= middle[1] < height
    if span > _SMALL_SHARE * height or span < 1 or not inside:
        return picture
    part_px = math.ceil(1.3 * span)
    inset_px = round(_INSET_SHARE * picture.shape[0])
    zoom = inset_px / part_px
    start = middle - part_px / 2
    # The affine map takes pixel centres of the image to those of the inset.
    move = np.array([[zoom, 0, zoom * (0.5 - start[0]) - 0.5], [0, zoom, zoom * (0.5 - start[1]) - 0.5]])
    part = cv2.warpAffine(plain, move, (inset_px, inset_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    part = draw_skeleton(np.asarray(part, np.uint8), points_px @ move[:, :2].T + move[:, 2], skeleton)
    part[[0, -1]] = part[:, [0, -1]] = _TEXT_RGB
    left = 0 if times * middle[0] > picture.shape[1] / 2 else picture.shape[1] - inset_px
    top = 0 if times * middle[1] > picture.shape[0] / 2 else picture.shape[0] - inset_px
    picture[top : top + inset_px, left : left + inset_px] = part
    return picture


class Film:
    """A film of pictures: `.mp4` (VP9, which browsers play) by OpenCV, or `.gif` by Pillow.

    It appears whole when the block ends, and not at all after an error or without a picture.
    """

    def __init__(self, path: Path, fps: float, replaces: bool = False) -> None:
        """Prepare the file. `replaces` says that it may take the place of an older one.

        Raises:
            FileExistsError: there is a file already.
            ModuleNotFoundError: a .gif needs Pillow.
            ValueError: the file is neither .mp4 nor .gif, or the rate is out of range.
        """
        if path.suffix.lower() not in (".mp4", ".gif"):
            raise ValueError(f"Found --video {path}, expected a name that ends in .mp4 or .gif.")
        if not 1 <= fps <= 120:
            raise ValueError(f"Found --video-fps {fps:g}, expected 1 to 120 frames a second.")
        if path.exists() and not replaces:
            raise FileExistsError(f"{path} is there already and is not overwritten. Give another --video.")
        if path.suffix.lower() == ".gif":
            import_module("PIL.Image")  # if it is missing, this says so before the first frame
        self.path = path
        self.left_out = 0
        """Pictures after the largest number of a GIF."""
        self._fps = fps
        self._part = path.with_name(f"{path.stem}.part{path.suffix}")
        self._size: tuple[int, int] | None = None
        self._writer: cv2.VideoWriter | None = None
        self._images: list[Image.Image] = []

    def __enter__(self) -> "Film":
        return self

    def add(self, picture: Picture) -> None:
        """Add a picture. Pictures of another size than the first are scaled into it, with a black border.

        Raises:
            OSError: this computer's OpenCV cannot write the film.
        """
        if self._size is None:
            self._size = self._size_for(picture)
        fitted = _fitted(picture, self._size)
        if self.path.suffix.lower() == ".gif":
            if len(self._images) == _MOST_GIF:
                self.left_out += 1
                return
            from PIL import Image

            self._images.append(Image.fromarray(fitted).quantize(128, dither=Image.Dither.NONE))
            return
        if self._writer is None:
            self._writer = self._open(self._size)
        self._writer.write(cv2.cvtColor(fitted, cv2.COLOR_RGB2BGR))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()
        try:
            if kind is None and self._images:
                make_folder(self.path.parent)
                pause_ms = max(20, round(1000 / self._fps))
                self._images[0].save(
                    self._part, format="GIF", save_all=True, append_images=self._images[1:], duration=pause_ms, loop=0
                )
            if kind is None and self._part.exists():
                self._part.replace(self.path)
        finally:
            self._part.unlink(missing_ok=True)

    def _size_for(self, picture: Picture) -> tuple[int, int]:
        """Width and height. Films need even ones."""
        height, width = picture.shape[:2]
        scale = min(1.0, _GIF_PX / width) if self.path.suffix.lower() == ".gif" else 1.0
        return 2 * max(1, round(scale * width / 2)), 2 * max(1, round(scale * height / 2))

    def _open(self, size: tuple[int, int]) -> cv2.VideoWriter:
        make_folder(self.path.parent)
        writer = cv2.VideoWriter(str(self._part), cv2.VideoWriter.fourcc(*"vp09"), self._fps, size)
        if not writer.isOpened():
            raise OSError(
                f"OpenCV {cv2.__version__} cannot write {self.path}: it has no VP9 encoder, or the folder is not "
                "writable. Give a name that ends in .gif, or another folder."
            )
        return writer


def _fitted(picture: Picture, size: tuple[int, int]) -> Picture:
    width, height = size
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = (min(width, max(1, round(scale * picture.shape[1]))), min(height, max(1, round(scale * picture.shape[0]))))
    if inner == (picture.shape[1], picture.shape[0]) == size:
        return picture
    page = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    page[top : top + inner[1], left : left + inner[0]] = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    return page
