"""Frames of the preset `crossing`: labelled and unlabelled ones that each step changes anew, and poses for the VAE."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64

from crossnets.datasets.dataset import FrameError, HandDataset, Problem
from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.cube import into_cubes, views_at
from crossnets.geometry.pose import NormalisedPose, pose_in_crop
from crossnets.geometry.skeleton import Skeleton
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import forward
from crossnets.synth.hand.sampler import sample_views
from crossnets.training.augment import RealConfig, RealHands, draw_changes, turned
from crossnets.training.config import CrossingConfig
from crossnets.training.crops import KeptCrops, TrainingFrames, identity, keep_crops, prepare, seed_of
from crossnets.training.kept_frames import Reach, keep_patches
from crossnets.training.real_frames import Labels, patches_of_labels, sizes_of
from crossnets.types import HandFrame, Pinhole

POSES = 8192
"""Poses of the pose VAE's training."""
_CAMERA = CAMERAS["realsense-sr300"]
"""Camera in front of which poses are sampled. Crop coordinates depend little on it."""


def crossing_frames(
    labelled: HandDataset,
    unlabelled: Sequence[HandDataset],
    config: CrossingConfig,
    *,
    labels: str,
    cache: Path,
    sources: Sequence[str],
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainingFrames:
    """Crop every frame, and keep the patches that changed crops are cut from, in `cache`.

    Raises:
        ValueError: no labelled frame is left, or more labels are asked for than there are.
    """
    skeleton = labelled.skeleton
    assert skeleton is not None
    frames = prepare(
        labelled, unlabelled, config.crop, labels=labels, seed=config.seed, cache=cache, sources=sources,
        on_progress=on_progress,
    )  # fmt: skip
    crops = keep_crops(labelled, unlabelled, config.crop, cache, sources)  # those that `prepare` has just cut
    problems = list(frames.problems)
    weights = np.eye(len(skeleton), dtype=np.float32)
    taught = Labels(labelled, labels, config.seed, config.real, weights)
    real = RealHands(patches_of_labels(taught, crops, cache, sources, problems, on_progress), weights, config.real)
    others = None
    if config.terms.unlabelled and len(frames.unlabelled):
        others = _others([labelled, *unlabelled], frames, crops, config, cache, sources, problems, on_progress)
    rng = np.random.default_rng(seed_of(config.seed, "poses"))
    poses = _poses(rng, real, skeleton, sampled=config.terms.sampled_poses)
    return replace(frames, problems=tuple(problems), real=real, others=others, poses=poses)


def _others(
    datasets: Sequence[HandDataset],
    frames: TrainingFrames,
    crops: KeptCrops,
    config: CrossingConfig,
    cache: Path,
    sources: Sequence[str],
    problems: list[Problem],
    on_progress: Callable[[int, int], None],
) -> RealHands:
    """Cut patches of the frames without a label, around the centres that were found in them."""

    def cut() -> Iterator[tuple[HandFrame, Reach, float]]:
        for row in frames.unlabelled.tolist():
            dataset = datasets[int(crops.datasets[row])]
            center_mm = crops.centers_mm[row]
            try:
                frame = dataset[int(crops.numbers[row])]
            except FrameError as error:  # it could be read a moment ago
                problems.append(error.problem)
                continue
            yield replace(frame, joints_mm=center_mm[None]), config.real.reach(center_mm[None], 1.0), 1.0

    asked = {"sources": list(sources), "labels": frames.labelled.tolist(), "real": asdict(config.real)}
    request = {**asked, "data": [identity(dataset) for dataset in datasets]}
    patches = keep_patches(cut(), len(frames.unlabelled), cache, request, problems, on_progress, name="others")
    return RealHands(patches, np.eye(1, dtype=np.float32), config.real)


def _poses(rng: np.random.Generator, real: RealHands, skeleton: Skeleton, *, sampled: bool) -> NormalisedPose:
    """Draw poses in changed crops, those of labels and, if they are asked for, as many of sampled hands."""
    many = POSES // 2 if sampled else POSES
    rows = rng.integers(0, len(real.patches), many)
    cameras = [Pinhole(*map(float, camera)) for camera in real.patches.cameras[rows]]
    found = [_in_crops(rng, real.patches.joints_mm[rows], real.patches.sizes[rows], cameras, real.config)]
    if sampled:
        scene = sample_views(rng, many, _CAMERA)
        hands = np.asarray(joints(forward(scene.shape, scene.pose), skeleton)).astype(np.float32)
        found.append(_in_crops(rng, hands, sizes_of(hands, skeleton), [_CAMERA.pinhole], real.config))
    y, t = pose_in_crop(np.concatenate(found), skeleton.reference)
    return NormalisedPose(y.astype(np.float32), t.astype(np.float32))


def _in_crops(
    rng: np.random.Generator,
    joints_mm: Float32[np.ndarray, "B K 3"],
    sizes: Float64[np.ndarray, "B"],
    cameras: Sequence[Pinhole],
    config: RealConfig,
) -> Float64[np.ndarray, "B K 3"]:
    """Return the joints in crop coordinates of crops that are changed at random."""
    changes = draw_changes(rng, joints_mm, sizes, config)
    views = views_at(cameras, changes.centers_mm, changes.cube_mm)
    return into_cubes(turned(joints_mm, changes.turn).astype(np.float64), views)
