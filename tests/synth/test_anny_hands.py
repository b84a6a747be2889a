import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crossnets.cli import main
from crossnets.geometry.camera import project
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.skeleton import MSRA21
from crossnets.synth.casting.raster import pixel_slopes, render
from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.casting.triangles import TriangleMesh, draw_triangles
from crossnets.synth.hand import anny_hands
from crossnets.synth.hand.anny_hands import anny_model, draw_anny, faces_of, hidden_spheres, pose_skins
from crossnets.synth.hand.anthropometry import People, hand_length, sample_shape
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import ANGLES, FLEXION, PALM, PIP, HandFrames, HandPose, bone, forward
from crossnets.synth.hand.sampler import mirror, sample_angles
from crossnets.synth.hand.surface import TOPOLOGY, spheres
from crossnets.synth.scenes import PRESENT, SceneConfig, SyntheticScenes
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter
from crossnets.types import Pinhole

from .anny_stand_in import HALF_MM, LABELS, VERTICES, stand_in

INSTALLED = importlib.util.find_spec("anny") is not None
CAMERA = Pinhole(300.0, 300.0, 100.0, 100.0)
SIZE = 200
PALM_VIEW = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])


@pytest.fixture(
    params=["stand-in", pytest.param("anny", marks=pytest.mark.skipif(not INSTALLED, reason="needs the extra anny"))]
)
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "stand-in":
        described = stand_in()
        monkeypatch.setattr(anny_hands, "anny_model", lambda: described)
    return request.param


@pytest.fixture
def boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    described = stand_in()
    monkeypatch.setattr(anny_hands, "anny_model", lambda: described)


def posed(shape: object, angles: np.ndarray) -> HandFrames:
    n = len(angles)
    return forward(shape, HandPose(np.tile(PALM_VIEW, (n, 1, 1)), np.tile([0.0, 60, 500], (n, 1)), angles))


def right_hands(n: int) -> tuple:
    return draw_anny(np.random.default_rng(1), sample_shape(np.random.default_rng(0), n, left_share=0.0))


def test_hands_have_the_given_lengths_sides_and_forearms(model: str) -> None:
    given = sample_shape(np.random.default_rng(0), 20)
    drawn, _ = draw_anny(np.random.default_rng(1), given)
    assert_allclose(hand_length(drawn), hand_length(given), rtol=1e-6)
    assert_array_equal(drawn.side, given.side)
    assert_array_equal(drawn.forearm_mm, given.forearm_mm)
    proportions = drawn.bones_mm[:, 1, 2] / hand_length(drawn)
    assert proportions.std() > 1e-4 * proportions.mean()


def test_the_same_seed_draws_the_same_hands(model: str) -> None:
    (first, _), (second, _) = right_hands(3), right_hands(3)
    assert_array_equal(first.bones_mm, second.bones_mm)


def test_the_skin_of_bones_at_rest_does_not_move(model: str) -> None:
    shape, skins = right_hands(3)
    straight = posed(shape, np.zeros((3, len(ANGLES))))
    rest = replace(straight, origins_mm=skins.origins_mm, axes=skins.axes)
    assert_allclose(pose_skins(skins, rest), skins.vertices_mm, atol=1e-3)


def test_boxes_follow_the_bones_of_any_pose(boxes: None) -> None:
    shape, skins = right_hands(10)
    frames = posed(shape, sample_angles(np.random.default_rng(3), shape))
    vertices = pose_skins(skins, frames)
    for label in LABELS:
        # Knuckles and the first two joints of the thumb are moved from the ends of their boxes.
        if label.startswith("finger") and not label.endswith("-1.R") and label != "finger1-2.R":
            box = vertices[:, VERTICES * LABELS.index(label) :][:, :VERTICES]
            number = bone(int(label[6]) - 1, int(label[8]))
            # The box starts at the joint and ends at the next one or at the tip.
            base = box[:, :4].mean(axis=1)
            top = box[:, -4:].mean(axis=1)
            # Joints lie in the middle of the vertices near them, some of which are those of the next box.
            assert_allclose(base, frames.origins_mm[:, number], atol=1.5, err_msg=label)
            ends = frames.origins_mm[:, number] + frames.axes[:, number, :, 1] * frames.lengths_mm[:, number, None]
            assert_allclose(top, ends, atol=1.5, err_msg=label)
    wrist = vertices[:, VERTICES * LABELS.index("wrist.R") :][:, :4].mean(axis=1)
    assert_allclose(wrist, frames.origins_mm[:, PALM], atol=0.02)


def test_joints_lie_in_the_middle_of_the_skin_around_them(boxes: None) -> None:
    described = anny_hands.anny_model()
    shifted = described.model._vertices.clone()
    # Boxes of fingers move 5 mm out of the palm (Anny's -x), while the joints stay.
    fingers = [k for k, label in enumerate(LABELS) if label.startswith("finger")]
    for k in fingers:
        shifted[VERTICES * k : VERTICES * (k + 1), 0] -= 0.005
    given = sample_shape(np.random.default_rng(0), 3, left_share=0.0)
    described.model._vertices = shifted
    _, skins = draw_anny(np.random.default_rng(1), given)
    middle_pip = VERTICES * LABELS.index("finger3-2.R")
    ring = skins.vertices_mm[:, middle_pip : middle_pip + 4].mean(axis=1)
    assert_allclose(skins.origins_mm[:, bone(2, 2)], ring, atol=0.8)


def test_joints_lie_within_the_silhouette_and_behind_the_surface(model: str) -> None:
    shape, skins = right_hands(10)
    frames = posed(shape, sample_angles(np.random.default_rng(3), shape))
    places = np.asarray(joints(frames, MSRA21))
    x, y = pixel_slopes(CAMERA, SIZE, SIZE)
    behind = []
    for vertices, points in zip(pose_skins(skins, frames), places, strict=True):
        depth = np.zeros((SIZE, SIZE), np.float32)
        draw_triangles(TriangleMesh(vertices, faces_of(1.0)), x, y, depth)
        u, v = np.rint(project(points[1:], CAMERA)[:, :2]).astype(int).T
        behind.append((depth[v, u] > 0) & (depth[v, u] < points[1:, 2] + 1))
    # Palms of the stand-in have gaps between the bones, and knuckles lie a little beside their boxes.
    assert np.mean(behind) > (0.99 if model == "anny" else 0.85)


def test_bent_fingers_close_towards_the_palm(model: str) -> None:
    shape, skins = right_hands(2)
    angles = np.zeros((2, len(ANGLES)))
    angles[:, FLEXION] = angles[:, PIP] = np.deg2rad(80.0)
    straight, bent = (
        pose_skins(skins, posed(shape, a))[:, anny_hands.anny_model().tips[2]] for a in (0 * angles, angles)
    )
    # The palm faces the camera, and fingers point up.
    assert (bent[..., 2] < straight[..., 2] - 15).all()
    assert (bent[..., 1] > straight[..., 1] + 50).all()


def test_a_left_hand_is_the_mirror_image_of_a_right_one(model: str) -> None:
    given = sample_shape(np.random.default_rng(0), 2, left_share=0.0)
    x, y = pixel_slopes(CAMERA, SIZE + 1, SIZE)
    images = []
    for side in (1.0, -1.0):
        shape, skins = draw_anny(np.random.default_rng(1), replace(given, side=np.full(2, side)))
        angles = sample_angles(np.random.default_rng(3), replace(shape, side=np.ones(2)))
        pose = HandPose(np.tile(PALM_VIEW, (2, 1, 1)), np.tile([20.0, 60, 500], (2, 1)), angles)
        vertices = pose_skins(skins, forward(shape, mirror(pose, shape.side)))
        images.append(np.zeros((SIZE, SIZE + 1), np.float32))
        draw_triangles(TriangleMesh(vertices[0], faces_of(side)), x, y, images[-1])
    assert (images[0] > 0).sum() > 500
    differing = np.abs(images[0][:, ::-1] - images[1]) > 0.01
    assert differing.mean() < 0.001


def test_the_stream_renders_crops_as_it_renders_frames(model: str) -> None:
    hands = SyntheticHands(SyntheticConfig(anny=1.0, noise=(0.0, 0.0), seed=4))
    crops = hands.crops([0, 1, 2])
    for index in range(3):
        frame = hands.frame(index)
        crop = crop_hand(frame.depth_mm, frame.camera, crops.centers_mm[index], float(crops.cube_mm[index]))
        assert (np.abs(crop.depth_mm - crops.depth_mm[index]) < 0.01).mean() > 0.99
        assert (crop.depth_mm > 0).mean() > 0.03


def test_a_share_of_the_stream_is_of_anny_and_a_share_of_zero_changes_nothing(boxes: None) -> None:
    config = SyntheticConfig(seed=4, clutter=Clutter())
    mixed = SyntheticHands(replace(config, anny=0.3))
    share = np.mean([mixed.picture(index).skin is not None for index in range(256)])
    assert 0.2 < share < 0.4
    assert SyntheticHands(config).picture(0).skin is None
    with pytest.raises(ValueError, match=r"anny=1\.5.*expected shares from 0 to 1"):
        SyntheticConfig(anny=1.5)


@pytest.mark.skipif(not INSTALLED, reason="needs the extra anny")
def test_spheres_of_the_hand_hide_inside_the_skin() -> None:
    shape, skins = right_hands(6)
    shape = replace(shape, forearm_mm=np.full(6, 10.0))
    frames = posed(shape, sample_angles(np.random.default_rng(3), shape))
    hidden = hidden_spheres(spheres(frames, shape), skins, frames)
    x, y = pixel_slopes(CAMERA, SIZE, SIZE)
    for k, vertices in enumerate(pose_skins(skins, frames)):
        skin = np.zeros((SIZE, SIZE), np.float32)
        draw_triangles(TriangleMesh(vertices, faces_of(1.0)), x, y, skin)
        bare = render(SphereMesh(hidden.centers_mm[k], hidden.radii_mm[k], TOPOLOGY), CAMERA, SIZE, SIZE)
        seen = skin > 0
        # Up to 4.4 % of the skin of these hands is covered.
        assert ((bare[seen] > 0) & (bare[seen] < skin[seen] - 3)).mean() < 0.045


def test_pixels_of_the_skin_count_as_pixels_of_the_hand(model: str) -> None:
    hands = SyntheticHands(SyntheticConfig(anny=1.0, noise=(0.0, 0.0), seed=4, people=People(cut_share=1.0)))
    for index in range(3):
        skin = hands.picture(index).skin
        assert skin is not None
        alone = np.zeros((hands.preset.height_px, hands.preset.width_px), np.float32)
        draw_triangles(skin, *pixel_slopes(hands.camera, *alone.shape[::-1]), alone)
        assert hands.scene(index).hands[0].pixels > 0.8 * (alone > 0).sum()


def test_scenes_turn_and_scale_the_skin_with_the_picture(boxes: None) -> None:
    hands = SyntheticConfig(anny=1.0, clutter=Clutter(), seed=4, noise=(0.0, 0.0))
    scenes = SyntheticScenes(SceneConfig(hands=hands, empty=0.0))
    drawn = scenes.draw(np.arange(24))
    present = np.flatnonzero(drawn.state[:, 0] == PRESENT)
    assert len(present) > 8
    near = []
    for b in present:
        u, v, z = drawn.uvd[b, 0]
        window = drawn.depth_mm[b, max(int(v) - 6, 0) : int(v) + 7, max(int(u) - 6, 0) : int(u) + 7]
        near.append(np.min(np.abs(window - z)) < 40)
    assert np.mean(near) > 0.9


@pytest.mark.skipif(INSTALLED, reason="Anny is installed")
def test_a_missing_package_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModuleNotFoundError, match=r"needs anny, which is not installed.*\[anny\]"):
        anny_model()
    words = ["train", "--preset", "crossnets", "--anny", "0.5", "--out", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", ["crossnets", *words])
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")  # else `main` starts the process again
    with pytest.raises(SystemExit):
        main()
    assert "[anny]" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("preset", ["crossnets", "detector"])
def test_the_command_hands_the_share_to_the_stream(
    preset: str, tmp_path: Path, boxes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr("crossnets.training.session.train_command", lambda config, **_: started.append(config))
    words = ["train", "--preset", preset, "--anny", "0.25", "--out", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", ["crossnets", *words])
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    main()
    (config,) = started
    sources = config.rendered.sources if preset == "crossnets" else [scene.hands for scene in config.scenes.sources]
    assert [source.anny for source in sources] == [0.25] * 4
    monkeypatch.setattr("sys.argv", ["crossnets", *words[:4], "2.0", *words[5:]])
    with pytest.raises(SystemExit):
        main()


def test_boxes_are_as_thick_as_their_radii(boxes: None) -> None:
    shape, _ = right_hands(4)
    thick = np.sqrt(2) * HALF_MM * hand_length(shape)[:, None, None] / 181
    # Radii are those of the corners times 0.85. Boxes are stretched along the hand alone.
    assert_allclose(shape.radii_mm[:, 1:, 1:] / thick, 0.85, atol=0.15)
