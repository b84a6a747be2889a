"""Joints of one skeleton as weighted means of another's, so that one network speaks them all."""

import numpy as np
from jaxtyping import Float32

from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import SKELETONS, Skeleton
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import HandFrames, forward
from crossnets.synth.hand.sampler import sample_scene

_HANDS = 2000
_SEED = 20


def reference_frames() -> HandFrames:
    """2,000 sampled hands, always the same."""
    shape, pose = sample_scene(np.random.default_rng(_SEED), _HANDS, CAMERAS["realsense-sr300"])
    return forward(shape, pose)


def skeleton_maps(own: Skeleton) -> dict[str, Float32[np.ndarray, "K J"]]:
    """For every skeleton with other joints, (K, J) weights that sum to 1 in each row: least squares over sampled hands.

    From MSRA's joints the others are reached to 0.1 to 0.2 mm in the mean. The farthest is a point on NYU's palm (1 to
    3 mm), which no straight combination of joints follows when the hand closes.
    """
    frames = reference_frames()
    known = np.asarray(joints(frames, own))
    middle = known.mean(axis=1, keepdims=True)
    # Relative to the mean joint; a weight of each joint in the mean then makes the sum 1.
    inputs = (known - middle).transpose(0, 2, 1).reshape(-1, len(own))
    maps = {}
    for skeleton in SKELETONS.values():
        if own.order_of(skeleton) is None:
            wanted = (np.asarray(joints(frames, skeleton)) - middle).transpose(0, 2, 1).reshape(-1, len(skeleton))
            weights = np.linalg.lstsq(inputs, wanted, rcond=None)[0].T
            maps[skeleton.name] = (weights + (1 - weights.sum(axis=1, keepdims=True)) / len(own)).astype(np.float32)
    return maps
