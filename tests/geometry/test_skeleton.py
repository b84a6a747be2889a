import pytest

from crossnets.geometry.skeleton import COLOURS, CVAR21, ICVL16, MSRA21, NYU14, NYU36, SKELETONS, Skeleton

every_skeleton = pytest.mark.parametrize("skeleton", [*SKELETONS.values()], ids=[*SKELETONS])


@every_skeleton
def test_bones_make_one_tree(skeleton: Skeleton) -> None:
    assert skeleton.parents.count(-1) == 1
    assert len(skeleton.bones) == len(skeleton) - 1
    for joint in range(len(skeleton)):
        steps, at = 0, joint
        while skeleton.parents[at] >= 0:
            at, steps = skeleton.parents[at], steps + 1
            assert steps < len(skeleton), f"{skeleton.joints[joint]} is on a cycle"


@every_skeleton
def test_indices_are_joints(skeleton: Skeleton) -> None:
    named = (skeleton.reference, skeleton.center, *skeleton.evaluation, *(skeleton.palm_frame or ()))
    assert all(0 <= joint < len(skeleton) for joint in named)
    assert len(set(skeleton.evaluation)) == len(skeleton.evaluation)


@every_skeleton
def test_each_finger_keeps_its_colour(skeleton: Skeleton) -> None:
    assert len(skeleton.colours) == len(skeleton)
    for name, colour in zip(skeleton.joints, skeleton.colours, strict=True):
        assert colour == COLOURS.get(name.split("_")[0], COLOURS["palm"])


def test_counts_of_the_field() -> None:
    assert [len(s) for s in (NYU36, NYU14, ICVL16, MSRA21, CVAR21)] == [36, 14, 16, 21, 21]
    assert NYU36.evaluation == (0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32)


def test_nyu_names() -> None:
    assert NYU36.joints[0] == "little_tip"
    assert NYU36.joints[24] == "thumb_tip"
    assert NYU36.joints[32] == "palm"


def test_joints_of_poses_and_angles_agree_with_the_paper() -> None:
    assert [s.reference for s in (ICVL16, MSRA21)] == [0, 0]
    assert MSRA21.palm_frame == (0, 5, 13)
    centres = [s.joints[s.center] for s in (NYU36, NYU14, ICVL16, MSRA21, CVAR21)]
    assert centres == ["palm", "palm", "palm", "middle_mcp", "middle_mcp"]


def test_evaluated() -> None:
    assert NYU36.evaluated() is NYU14
    assert MSRA21.evaluated() is MSRA21
    assert NYU14.joints == tuple(NYU36.joints[i] for i in NYU36.evaluation)


def test_shared_joints_have_equal_names() -> None:
    here, there = MSRA21.shared_with(CVAR21)
    assert [MSRA21.joints[i] for i in here] == [CVAR21.joints[i] for i in there]
    assert len(here) == 20  # all but wrist and palm
    assert NYU36.shared_with(NYU36) == (tuple(range(36)), tuple(range(36)))


def test_skeletons_without_a_shared_joint_raise() -> None:
    alien = Skeleton("alien", ("beak",), (-1,), reference=0, center=0)
    with pytest.raises(ValueError, match="msra21 and alien have no joint"):
        MSRA21.shared_with(alien)
