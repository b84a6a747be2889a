"""The command `generate`: draw depth maps and poses that a model generates for frames of a data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from crossnets.datasets.dataset import FrameError, HandDataset
from crossnets.datasets.opening import open_dataset
from crossnets.datasets.png import save_png
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.crop import crop_hand, image_to_crop_px
from crossnets.geometry.localise import center_of
from crossnets.geometry.skeleton import Skeleton
from crossnets.inference import bundle
from crossnets.inference.torch_models import Estimator
from crossnets.latent.mappings import Generated, generate, joints_in_crop_px, latent_of_pose, sample, walk
from crossnets.latent.pictures import map_to_rgb, save_gif, save_walk_page, sheet, with_skeleton
from crossnets.types import HandCrop, HandFrame

Action: TypeAlias = Literal["pose-to-depth", "depth-to-pose", "walk", "sample"]

_LARGE = 3
"""Enlargement of crops in large pictures."""
_MOST_STEPS = 200
_SHOWN_KEYS = 5
_SAMPLE_CAMERA = CAMERAS["realsense-sr300"].pinhole
_SAMPLE_MM = 500.0
"""Camera and distance for which skeletons of random hands are projected."""


@dataclass(frozen=True)
class _Hand:
    """A frame with its crop, its latent and its pose."""

    frame: HandFrame
    crop: HandCrop
    image: Float32[np.ndarray, "S S"]
    """The crop as the input of the networks."""
    z: Float[Tensor, "1 Z"]
    points_px: Float[np.ndarray, "J 2"]
    """The encoded pose, or the pose decoded from an estimated latent, in pixels of the crop."""


def generate_command(
    action: Action,
    model: Path,
    *,
    data: str | None,
    split: Literal["train", "test"],
    frame: str | None,
    start: str | None,
    end: str | None,
    steps: int,
    by_image: bool,
    out: Path,
    count: int = 8,
    seed: int = 0,
) -> list[Path]:
    """Draw generated depth maps and poses, of frames of a data set or random ones. Return the files.

    Raises:
        OSError: the model or the data is missing.
        FrameError: the image of a frame is damaged.
        ValueError: the arguments do not fit the action, the frame does not exist, it has no label or no hand, or the
            model has no latent space.
    """
    _check(action, data, frame, start, end, steps, by_image)
    estimator = bundle.load(model)
    nets = estimator.latent_networks()  # raises before the data is opened if the model has no latent space
    if action == "sample":
        return [_draw_sample(estimator, sample(nets, count, seed), out / "sample.png")]
    assert data is not None
    dataset = open_dataset(data, split)
    if action == "walk":
        assert start is not None
        assert end is not None
        hands = [_hand(estimator, find_frame(dataset, name), dataset.skeleton, by_image) for name in (start, end)]
        return _draw_walk(estimator, hands[0], hands[1], steps, out)
    assert frame is not None
    by_image = action == "depth-to-pose"
    hand = _hand(estimator, find_frame(dataset, frame), dataset.skeleton, by_image)
    return [_draw_pair(estimator, hand, out / f"{action}.png")]


def _check(
    action: Action,
    data: str | None,
    frame: str | None,
    start: str | None,
    end: str | None,
    steps: int,
    by_image: bool,
) -> None:
    if action == "sample":
        if data is not None or frame is not None or start is not None or end is not None or by_image:
            raise ValueError("sample draws random hands. Leave --data, --frame, --from, --to and --by-image out.")
        return
    if data is None:
        raise ValueError(f"{action} needs frames. Give --data, such as cvar:PATH#P5.")
    if action == "walk":
        if frame is not None or start is None or end is None:
            raise ValueError("walk needs two frames. Give --from and --to, and leave --frame out.")
        if not 2 <= steps <= _MOST_STEPS:
            raise ValueError(f"Found --steps {steps}, expected 2 (both ends) to {_MOST_STEPS}.")
    elif frame is None or start is not None or end is not None or by_image:
        raise ValueError(f"{action} needs one frame. Give --frame, and leave --from, --to and --by-image out.")


def find_frame(dataset: HandDataset, name: str) -> HandFrame:
    """Find a frame by its key or its index.

    A key is known only after its frame was read. Frames are therefore read in an order that starts with the sequence
    and the number in the name.

    Raises:
        FrameError: the frame at the index is damaged.
        ValueError: the frame does not exist. The message lists some keys.
    """
    if name.isdecimal():
        if int(name) < len(dataset):
            return dataset[int(name)]
        raise ValueError(f"There is no frame {name}. The data set has {len(dataset)} frames from 0 on.{_keys(dataset)}")
    number = "".join(c for c in name.rpartition("/")[2] if c.isdecimal())
    wanted = int(number or 0)
    parts = name.split("/")
    places: dict[str, int] = {}
    order = []
    for index in range(len(dataset)):
        sequence = dataset.sequence_of(index)
        place = places[sequence] = places.get(sequence, -1) + 1
        order.append((sequence not in parts, abs(place - wanted), index))
    broken = []
    for _, _, index in sorted(order):
        try:
            frame = dataset[index]
        except FrameError as error:
            broken.append(error.problem)
            continue
        if frame.key == name:
            return frame
    unread = f" {len(broken)} could not be read, such as {broken[0]}." if broken else ""
    raise ValueError(f"There is no frame {name!r} among {len(dataset)}.{_keys(dataset)}{unread}")


def _keys(dataset: HandDataset) -> str:
    """List the first keys and the last one for a message."""
    found = []
    for index in (*range(min(len(dataset), _SHOWN_KEYS)), len(dataset) - 1):
        try:
            found.append(dataset[index].key)
        except (FrameError, IndexError):
            continue
    found = list(dict.fromkeys(found))
    dots = " ..." if len(dataset) > _SHOWN_KEYS + 1 else ""
    return f" Give a key ({', '.join(found[:-1])}{dots} {found[-1]}) or an index." if len(found) > 1 else ""


def _hand(estimator: Estimator, frame: HandFrame, skeleton: Skeleton | None, by_image: bool) -> _Hand:
    """Crop a frame and find its latent, from the image or from the label."""
    config = estimator.config
    if not by_image and (frame.joints_mm is None or skeleton is None):
        raise ValueError(
            f"{frame.key} has no label, so its pose is unknown. Give a labelled frame, or use the image with "
            "depth-to-pose or walk --by-image."
        )
    center_mm = center_of(frame, skeleton, config.centers)
    if center_mm is None:
        raise ValueError(f"No hand was found in {frame.key}, so it cannot be cropped. Give another frame.")
    crop = crop_hand(frame.depth_mm, frame.camera, center_mm, config.cube_mm)
    nets = estimator.latent_networks()
    image = estimator.images([crop])[0, 0].numpy()
    if by_image:
        z = estimator.latents([crop])
        points_px = joints_in_crop_px(estimator, generate(nets, z).pose, center_mm[None], frame.camera)[0]
    else:
        assert frame.joints_mm is not None
        assert skeleton is not None
        joints_mm = _converted(frame.joints_mm, skeleton, estimator.skeleton)
        z = latent_of_pose(estimator, joints_mm[None], [crop])
        points_px = image_to_crop_px(project(joints_mm, frame.camera)[:, :2], crop)
    return _Hand(frame, crop, image, z, points_px)


def _converted(joints_mm: Float32[np.ndarray, "K 3"], skeleton: Skeleton, own: Skeleton) -> Float32[np.ndarray, "J 3"]:
    """Convert labelled joints to those of the model, by weights that were fitted to rendered hands."""
    if skeleton == own:
        return joints_mm
    order = skeleton.order_of(own)
    if order is not None:
        return joints_mm[list(order)]
    from crossnets.synth.hand.skeleton_maps import skeleton_maps

    return (skeleton_maps(skeleton)[own.name] @ joints_mm).astype(np.float32)


def _draw_pair(estimator: Estimator, hand: _Hand, path: Path) -> Path:
    """Draw the real crop beside the map generated from its latent, with the same skeleton on both."""
    generated = generate(estimator.latent_networks(), hand.z)
    columns = []
    for caption, depth in ((hand.frame.key, hand.image), ("generated", generated.depth[0].numpy())):
        picture = map_to_rgb(depth, _LARGE)
        columns.append((caption, with_skeleton(picture, hand.points_px, estimator.skeleton), picture))
    save_png(path, sheet(columns))
    return path


def _draw_sample(estimator: Estimator, hands: Generated, path: Path) -> Path:
    """Draw each map with the skeleton of its pose, and without, in crops at half a metre."""
    centers_mm = np.tile(np.array([0, 0, _SAMPLE_MM], np.float32), (len(hands.z), 1))
    points_px = joints_in_crop_px(estimator, hands.pose, centers_mm, _SAMPLE_CAMERA)
    columns = []
    for number, (depth, points) in enumerate(zip(hands.depth.numpy(), points_px, strict=True), 1):
        picture = map_to_rgb(depth)
        columns.append((str(number), with_skeleton(picture, points, estimator.skeleton), picture))
    save_png(path, sheet(columns))
    return path


def _draw_walk(estimator: Estimator, a: _Hand, b: _Hand, steps: int, out: Path) -> list[Path]:
    """Draw `walk.png` with the real crops at both ends and the maps between them, and `walk.gif`, which also returns.

    The centre of the crop moves along a straight line, so that the skeletons at both ends lie in their real crops.
    """
    path = walk(estimator.latent_networks(), a.z[0], b.z[0], steps)
    share = np.linspace(0, 1, steps, dtype=np.float32)[:, None]
    centers_mm = (1 - share) * a.crop.center_mm + share * b.crop.center_mm
    points_px = joints_in_crop_px(estimator, path.pose, centers_mm, a.frame.camera)
    columns = []
    plain = []
    drawn = []
    for k, (depth, points) in enumerate(zip(path.depth.numpy(), points_px, strict=True)):
        small = map_to_rgb(depth)
        large = map_to_rgb(depth, _LARGE)
        columns.append((f"{k}/{steps - 1}", with_skeleton(small, points, estimator.skeleton), small))
        plain.append(large)
        drawn.append(with_skeleton(large, points, estimator.skeleton))
    ends = []
    for hand in (a, b):
        picture = map_to_rgb(hand.image)
        ends.append((hand.frame.key, with_skeleton(picture, hand.points_px, estimator.skeleton), picture))
    save_png(out / "walk.png", sheet([ends[0], *columns, ends[1]]))
    save_gif(out / "walk.gif", plain, drawn)
    save_walk_page(out / "walk.html", f"{a.frame.key} to {b.frame.key}", drawn, plain)
    return [out / "walk.png", out / "walk.gif", out / "walk.html"]
