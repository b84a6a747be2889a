"""Joints of one skeleton as weighted sums of the joints of another, so that one network can output any skeleton."""

import numpy as np
from jaxtyping import Float32

from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import SKELETONS, Skeleton
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import HandFrames, forward
from crossnets.synth.hand.sampler import sample_views

_HANDS = 2000
_SEED = 20


def reference_frames() -> HandFrames:
    """Return 2,000 sampled hands, which are the same in every call."""
    shape, pose, _ = sample_views(np.random.default_rng(_SEED), _HANDS, CAMERAS["realsense-sr300"])
    return forward(shape, pose)


def skeleton_maps(source: Skeleton) -> dict[str, Float32[np.ndarray, "K J"]]:
    """Fit (K, J) weights for every skeleton with different joints, by least squares over sampled hands.

    Each row sums to 1. From MSRA's joints the mean error is 0.1 to 0.2 mm. The largest error is 1 to 3 mm, at a point
    on NYU's palm that does not follow a linear combination of joints when the hand closes.
    """
    frames = reference_frames()
    known = np.asarray(joints(frames, source))
    middle = known.mean(axis=1, keepdims=True)
    # The fit is relative to the mean joint. Spreading the missing weight evenly over all joints then adds that mean
    # joint back and makes each row sum to 1.
    inputs = (known - middle).transpose(0, 2, 1).reshape(-1, len(source))
    maps = {}
    for skeleton in SKELETONS.values():
        if source.order_of(skeleton) is None:
            wanted = (np.asarray(joints(frames, skeleton)) - middle).transpose(0, 2, 1).reshape(-1, len(skeleton))
            weights = np.linalg.lstsq(inputs, wanted, rcond=None)[0].T
            maps[skeleton.name] = (weights + (1 - weights.sum(axis=1, keepdims=True)) / len(source)).astype(np.float32)
    return maps
