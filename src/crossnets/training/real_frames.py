"""Real frames beside rendered ones: labelled crops that are changed anew in each step, and images for the GAN."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64

from crossnets.datasets.dataset import FrameError, HandDataset, Problem
from crossnets.geometry.crop import CUBE_MM, HAND_IN_CUBE
from crossnets.geometry.cube import into_cubes
from crossnets.geometry.skeleton import Skeleton, weights_between
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.skeleton_maps import reference_frames
from crossnets.tensors import RealBatch, RenderedBatch, View, ViewPairs
from crossnets.training.augment import Changes, RealConfig, RealHands, changed_crops
from crossnets.training.config import RenderedConfig
from crossnets.training.crops import CropConfig, KeptCrops, TrainingFrames, identity, keep_crops, labelled_rows
from crossnets.training.kept_frames import Patches, Reach, keep_patches
from crossnets.types import HandFrame

_SIZES = (0.4, 2.0)
"""Bounds of a hand's size over the rendered ones' mean. Labels beyond them are clamped."""


def real_config(rendered: RenderedConfig, crop: CropConfig) -> RealConfig:
    """Real crops that are cut as the rendered ones are."""
    least, most = zip(*(source.cube_mm for source in rendered.sources), strict=True)
    spread_mm = max(source.center_spread_mm for source in rendered.sources)
    return RealConfig(cube_mm=(min(least), max(most)), center_spread_mm=spread_mm, first_mm=crop.cube_mm)


def label_weights(
    skeleton: Skeleton, own: Skeleton, maps: Mapping[str, Float32[np.ndarray, "_ J"]]
) -> Float32[np.ndarray, "K J"]:
    """The joints of labels as weighted means of a network's own.

    Raises:
        ValueError: the network does not know the skeleton.
    """
    if skeleton == own:
        return np.eye(len(own), dtype=np.float32)
    weights = weights_between(own, skeleton, maps)
    if weights is None:
        known = ", ".join([own.name, *maps])
        raise ValueError(
            f"The labels of --data have the skeleton {skeleton.name}, which the network cannot say. It knows {known}. "
            "Give the frames as --unlabelled, or take --preset paper."
        )
    return weights


def bones_mm(joints_mm: Float[np.ndarray, "B K 3"], skeleton: Skeleton) -> Float[np.ndarray, "B"]:
    """Length of all bones together."""
    parents, children = np.array(skeleton.bones).T
    return np.linalg.norm(joints_mm[:, children] - joints_mm[:, parents], axis=-1).sum(axis=1)


def sizes_of(joints_mm: Float32[np.ndarray, "B K 3"], skeleton: Skeleton) -> Float64[np.ndarray, "B"]:
    """Sizes of labelled hands by their bones, over the rendered hands' mean."""
    mean_mm = bones_mm(np.asarray(joints(reference_frames(), skeleton)), skeleton).mean()
    return np.clip(bones_mm(joints_mm, skeleton) / mean_mm, *_SIZES).astype(np.float64)


class Labels(NamedTuple):
    """Labelled real frames, and how they are learned from."""

    dataset: HandDataset
    share: str
    """Share of the frames that keep their label, see `choose_labelled`."""
    seed: int
    """Seed of that choice."""
    config: RealConfig
    weights: Float32[np.ndarray, "K J"]
    """Weights of `label_weights`."""


def with_real_frames(
    frames: TrainingFrames,
    labels: Labels | None,
    unlabelled: Sequence[HandDataset],
    crop: CropConfig,
    *,
    cache: Path,
    sources: Sequence[str],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainingFrames:
    """Put real frames beside the rendered ones. An epoch is still as long as the rendered frames.

    Every real frame, labelled or not, is an image for the GAN: none has a pose of the network's own joints. Crops and
    patches are in `cache`; what an earlier call of the same `sources` left there is taken.

    Raises:
        ValueError: no labelled frame is left, or more labels are asked for than there are.
    """
    dataset = None if labels is None else labels.dataset
    crops = keep_crops(dataset, unlabelled, crop, cache, sources, on_progress)
    problems, real = [*frames.problems, *crops.problems], None
    if labels is not None:
        patches = patches_of_labels(labels, crops, cache, sources, problems, on_progress)
        real = RealHands(patches, labels.weights, labels.config)
    first = len(frames.images)
    return replace(
        frames,
        keys=(*frames.keys, *crops.keys),
        unlabelled=np.arange(first, first + len(crops.images), dtype=np.int64),
        problems=tuple(problems),
        beside=crops.images,
        real=real,
    )


def patches_of_labels(
    labels: Labels,
    crops: KeptCrops,
    cache: Path,
    sources: Sequence[str],
    problems: list[Problem],
    on_progress: Callable[[int, int], None],
) -> Patches:
    """Patches of the frames that keep their label."""
    dataset, share, seed, config, _ = labels
    assert dataset.skeleton is not None
    rows = labelled_rows(crops, share, seed).tolist()
    joints_mm = np.stack([crops.joints_mm[row] for row in rows])
    sizes = sizes_of(joints_mm, dataset.skeleton)

    def frames() -> Iterator[tuple[HandFrame, Reach, float]]:
        for row, label_mm, size in zip(rows, joints_mm, sizes.tolist(), strict=True):
            try:
                yield dataset[int(crops.numbers[row])], config.reach(label_mm, size), size
            except FrameError as error:  # it could be read a moment ago
                problems.append(error.problem)

    asked = {"sources": list(sources), "labels": share, "seed": seed, "real": asdict(config)}
    request = {**asked, "data": identity(dataset)}
    return keep_patches(frames(), len(rows), cache, request, problems, on_progress)


def labelled_batch(
    hands: RealHands, rows: Int64[np.ndarray, "B"], changes: Changes, device: torch.device
) -> RenderedBatch:
    """Cut changed crops of labelled frames, as if they were rendered. Hands that are not mirrored count as right."""
    crops = changed_crops(hands.patches, rows, changes)
    size_mm = HAND_IN_CUBE * CUBE_MM * hands.patches.sizes[rows]
    parts = (
        crops.image[:, None],
        into_cubes(crops.joints_mm.astype(np.float64), crops.views),
        np.linalg.det(changes.turn),
        np.log(size_mm / changes.cube_mm),
    )
    return RenderedBatch(*(torch.from_numpy(part.astype(np.float32)).to(device) for part in parts))


def view_pairs(
    hands: RealHands, rows: Int64[np.ndarray, "B"], changes: Changes, cube_mm: float, device: torch.device
) -> ViewPairs:
    """Cut two crops of each of these frames: one as it is, and a changed one. The label of such a frame is the centre
    of its hand."""
    count = len(rows)
    centers_mm = hands.patches.joints_mm[rows, 0].astype(np.float64)
    none = Changes(np.tile(np.eye(2), (count, 1, 1)), centers_mm, np.full(count, cube_mm))
    one, other = (changed_crops(hands.patches, rows, change) for change in (none, changes))

    def tensor(values: Float[np.ndarray, "..."]) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(device)

    return ViewPairs(
        tensor(one.image[:, None]),
        View(*map(tensor, one.views)),
        tensor(other.image[:, None]),
        View(*map(tensor, other.views)),
        tensor(changes.turn),
    )


def real_batch(
    hands: RealHands, rng: np.random.Generator, rows: Int64[np.ndarray, "B"], device: torch.device
) -> RealBatch:
    """Crops of these labelled frames, changed anew."""
    crops = hands.draw(rng, rows)
    views, half_mm = crops.views, crops.views.half_mm[:, None]
    parts = (
        crops.image[:, None],
        crops.joints_mm / half_mm[:, :, None],
        views.focal_px,
        views.middle_px,
        views.center_mm / views.half_mm,
        hands.weights,
    )
    return RealBatch(*(torch.from_numpy(part.astype(np.float32)).to(device) for part in parts))
