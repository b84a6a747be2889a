"""Hands in continuous motion, and data sets of it."""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from crossnets.datasets.opening import open_dataset
from crossnets.datasets.recording import Recording
from crossnets.datasets.writers import MSRAWriter
from crossnets.geometry.camera import camera_named
from crossnets.geometry.skeleton import MSRA21
from crossnets.inference.articulation import Articulated
from crossnets.synth import motion
from crossnets.synth.clips import NYU_TEST, Clip, MotionSet, MotionSetConfig, clips_of
from crossnets.synth.hand.anthropometry import sample_shape
from crossnets.synth.hand.gestures import MSRA_GESTURES, Held
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import HandPose, forward
from crossnets.synth.hand.sampler import Views, take
from crossnets.synth.writing import Format, config_of, moving, write_dataset

SR300 = camera_named("realsense-sr300")
SHAPE = sample_shape(np.random.default_rng(1), 1, 0.0)
MOVES = motion.MotionConfig(
    distance_mm=(300.0, 500.0), views=Views(front=1.0, above=0.0, egocentric=0.0, uniform=0.0), pace_spread=0.3
)


def joints_of(config: motion.MotionConfig, frames: int, seed: int = 0) -> np.ndarray:
    moving = motion.poses(np.random.default_rng(seed), SHAPE, SR300, config)
    drawn = list(islice(moving, frames))
    parts = [np.stack([getattr(pose, name) for pose in drawn]) for name in ("rotation", "translation_mm", "angles_rad")]
    shapes = take(SHAPE, np.zeros(frames, int))
    return np.asarray(joints(forward(shapes, HandPose(*parts)), MSRA21)).astype(np.float32)


def test_joints_move_at_human_speeds() -> None:
    steps_mm = np.linalg.norm(np.diff(joints_of(MOVES, 150), axis=0), axis=-1)
    assert steps_mm.max() < 45  # 1.35 m/s at 30 frames/s
    assert (steps_mm.max(axis=1) < 1e-3).any()  # a pose is held
    assert steps_mm.mean() > 1


def test_half_a_turn_is_a_rotation() -> None:
    pose = motion.MovingPose(np.eye(3), np.zeros(3), np.zeros(26))
    half = motion._between(pose, replace(pose, rotation=np.diag([1.0, -1.0, -1.0])), 0.5).rotation
    assert np.allclose(half @ half.T, np.eye(3))
    assert np.linalg.det(half) == pytest.approx(1)


@pytest.mark.parametrize(("name", "straight"), [("L", "index"), ("I", "little"), ("RP", "ring little"), ("4", None)])
def test_held_gestures_keep_their_fingers_while_the_hand_turns(name: str, straight: str | None) -> None:
    held = replace(MOVES, gesture=MSRA_GESTURES[name])
    fingers = ("index", "middle", "ring", "little")
    up = set(fingers if straight is None else straight.split())
    for joints_mm in joints_of(held, 90)[::10]:
        angles = Articulated(joints_mm, MSRA21).angles_deg()
        assert {finger for finger in fingers if angles[f"{finger}_pip"] < 40} == up


def test_every_folder_of_msra_has_its_gesture() -> None:
    assert tuple(MSRA_GESTURES) == MSRAWriter.GESTURES == tuple(sorted(MSRAWriter.GESTURES))
    assert len(set(MSRA_GESTURES.values())) == 17


def small(**changes: object) -> MotionSet:
    config = MotionSetConfig(camera="realsense-sr300", skeleton=MSRA21, clips=(Clip(0, 4), Clip(1, 3), Clip(0, 3)))
    return MotionSet(replace(config, **changes))


def test_a_frame_does_not_depend_on_the_frames_before() -> None:
    hands = small()
    in_order = [hands.frame(index) for index in range(10)]
    for index in (9, 2, 3, 5, 0):
        alone = small().frame(index)
        np.testing.assert_array_equal(alone.depth_mm, in_order[index].depth_mm)
        again = hands.frame(index)
        np.testing.assert_array_equal(again.depth_mm, in_order[index].depth_mm)
        assert again.key == in_order[index].key
    with pytest.raises(IndexError, match="10 frames"):
        hands.frame(10)


def bones_mm(hands: MotionSet, index: int) -> np.ndarray:
    joints_mm = hands.frame(index).joints_mm
    assert joints_mm is not None
    return np.linalg.norm(joints_mm[1:] - joints_mm[list(MSRA21.parents[1:])], axis=1)[1::4]


def test_a_person_has_one_hand_and_other_people_have_others() -> None:
    hands = small()
    first, second, again = bones_mm(hands, 0), bones_mm(hands, 4), bones_mm(hands, 7)
    np.testing.assert_allclose(first, again, atol=0.01)
    assert np.abs(first - second).max() > 0.5
    joints_mm = [hands.frame(index).joints_mm for index in (0, 7)]
    assert np.abs(joints_mm[0] - joints_mm[1]).max() > 5


def test_the_whole_sets_have_the_sizes_of_the_real_ones() -> None:
    counts = {
        name: {split: sum(clip.frames for clip in clips) for split, clips in clips_of(name).items()}
        for name in ("nyu", "icvl", "msra", "hands17", "ho3d", "h2o", "cvar")
    }
    assert counts["nyu"] == {"train": 72_757, "test": 8_252}
    assert counts["icvl"] == {"train": 22_059, "test": 1_596}
    assert counts["msra"] == {"frames": 76_500}
    assert counts["hands17"] == {"train": 957_032, "test": 295_510}
    assert counts["ho3d"] == {"train": 83_325, "test": 20_137}
    assert counts["h2o"] == {"train": 55_742, "test": 23_391}
    assert counts["cvar"] == {"frames": 1_800}
    sixth = clips_of("nyu", 1 / 6)
    assert sixth["train"] == (Clip(0, 12_126),)
    assert sixth["test"] == NYU_TEST
    people = [{clip.person for clip in clips} for clips in clips_of("icvl").values()]
    assert not people[0] & people[1]


def test_fewer_test_frames_keep_both_subjects() -> None:
    assert clips_of("nyu", frames=7, test_frames=27)["test"] == (Clip(0, 8), Clip(1, 19))
    assert "test" not in clips_of("nyu", frames=7, test_frames=0)
    assert sum(clip.frames for clip in clips_of("hands17", frames=120)["test"]) == 12


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nyu", 2.0), "expected more than 0"),
        (("nyu", 0.5, 10), "Give one of them"),
        (("nyu", 1.0, 0), "at least one frame"),
        (("msra", 1.0, 153, 3), "no test split"),
        (("msra", 1.0, 200), "multiple of 153"),
        (("recording",), "Give --frames"),
    ],
)
def test_invalid_sizes_raise(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clips_of(*arguments)


@pytest.mark.parametrize("name", ["nyu", "icvl", "cvar", "hands17", "fpha", "dexycb", "ho3d"])
def test_sets_of_motion_are_read_by_their_readers(name: Format, tmp_path: Path) -> None:
    tests = None if name == "cvar" else 4
    counts = write_dataset(name, 10, tmp_path, motion=True, test_frames=tests, progress=False)
    assert counts == ({"frames": 10} if tests is None else {"train": 10, "test": 4})
    data = open_dataset(f"{name}:{tmp_path}", "train")
    assert len(data) == 10
    expected = MotionSet(moving(config_of(name), next(iter(clips_of(name, frames=10).values())))).frame(0)
    frame = data[0]
    assert frame.joints_mm is not None
    assert expected.joints_mm is not None
    np.testing.assert_allclose(frame.joints_mm, expected.joints_mm, atol=0.1)


def test_each_folder_of_msra_gets_its_clip(tmp_path: Path) -> None:
    writer = MSRAWriter(tmp_path, 306, every_folder=True)
    nothing = np.zeros((240, 320), np.float32)
    for number in range(4):
        writer.add(nothing, np.full((21, 3), float(number), np.float32))
    writer.close()
    folders = sorted(str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("joint.txt"))
    clips = clips_of("msra", frames=306)["frames"][:2]
    gestures = [MSRA_GESTURES[folder.removeprefix("P0/")] for folder in folders]
    assert [(clip.person, clip.frames, clip.gesture) for clip in clips] == [(0, 2, held) for held in gestures]
    assert folders == ["P0/1", "P0/2"]


def test_a_recording_of_motion_is_continuous(tmp_path: Path) -> None:
    write_dataset("recording", 12, tmp_path / "film", camera="realsense-d435", motion=True, progress=False)
    data = Recording(tmp_path / "film")
    joints_mm = np.stack([data[index].joints_mm for index in range(len(data))])
    assert np.linalg.norm(np.diff(joints_mm, axis=0), axis=-1).max() < 45


def test_moving_surroundings_raise(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--clutter with --motion"):
        write_dataset("nyu", 3, tmp_path, motion=True, clutter=True)
    with pytest.raises(ValueError, match=r"scale 0\.5 without --motion"):
        write_dataset("nyu", 3, tmp_path, scale=0.5)
    with pytest.raises(ValueError, match="Give --frames, or --motion"):
        write_dataset("nyu", None, tmp_path)


def test_a_pinch_is_held() -> None:
    held = replace(MOVES, gesture=Held(pinch=0))
    distance = [Articulated(one, MSRA21).pinch_mm()["index"] for one in joints_of(held, 60)[::6]]
    assert np.median(distance) < 35
