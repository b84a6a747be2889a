import numpy as np

from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.skeleton import MSRA21, SKELETONS
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import forward
from crossnets.synth.hand.sampler import sample_views
from crossnets.synth.hand.skeleton_maps import skeleton_maps


def test_maps_reach_other_skeletons_on_new_hands() -> None:
    maps = skeleton_maps(MSRA21)
    assert set(maps) == set(SKELETONS) - {"msra21", "mediapipe21", "hands17-21", "ho3d-21"}
    frames = forward(*sample_views(np.random.default_rng(77), 300, CAMERAS["nyu-kinect"])[:2])
    msra_mm = np.asarray(joints(frames, MSRA21))
    for name, weights in maps.items():
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-4)
        mapped_mm = np.einsum("kj,bjc->bkc", weights, msra_mm)
        error = np.linalg.norm(mapped_mm - np.asarray(joints(frames, SKELETONS[name])), axis=-1)
        assert error.mean() < 0.6, name
        assert error.mean(axis=0).max() < 4, name
