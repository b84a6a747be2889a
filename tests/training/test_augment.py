"""A real crop that is turned, moved and scaled is the crop of a scene that is."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from crossnets.geometry.camera import project
from crossnets.geometry.crop import crop_hand, image_to_crop_px, normalise
from crossnets.geometry.cube import into_cubes, out_of_cubes, views_of
from crossnets.geometry.skeleton import MSRA21
from crossnets.synth.casting.raster import render
from crossnets.synth.casting.spheremesh import SphereMesh
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.training.augment import MOST_DEVIATIONS, Changes, RealConfig, changed_crops, draw_changes, turned
from crossnets.training.kept_frames import Patches, keep_patches
from crossnets.types import HandFrame, Pinhole

CAMERA = Pinhole(700.0, 560.0, 801.3, 640.8)  # its pixels are no squares
WIDTH, HEIGHT = 1600, 1300
HANDS = SyntheticHands(SyntheticConfig(camera="realsense-sr300", seed=11, noise=(0.0, 0.0), distance_mm=(350.0, 500.0)))
CONFIG = RealConfig()
ROWS = np.arange(4)


class Seen(NamedTuple):
    meshes: list[SphereMesh]
    frames: list[HandFrame]
    patches: Patches


def frame_of(mesh: SphereMesh, joints_mm: np.ndarray) -> HandFrame:
    return HandFrame("k", "s", render(mesh, CAMERA, WIDTH, HEIGHT), CAMERA, joints_mm.astype(np.float32))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    pictures = [HANDS.picture(int(k)) for k in ROWS]
    frames = [frame_of(picture.mesh, picture.hands[0][0]) for picture in pictures]
    patches = keep(frames, tmp_path_factory.mktemp("patches"))
    return Seen([picture.mesh for picture in pictures], frames, patches)


def keep(frames: list[HandFrame], cache: Path, config: RealConfig = CONFIG) -> Patches:
    joints = [frame.joints_mm for frame in frames]
    assert all(label is not None for label in joints)
    reached = [(f, config.reach(label, 1.0), 1.0) for f, label in zip(frames, joints, strict=True) if label is not None]
    return keep_patches(reached, len(frames), cache, {}, [])


def changes(seen: Seen, seed: int = 0, config: RealConfig = CONFIG) -> Changes:
    return draw_changes(np.random.default_rng(seed), seen.patches.joints_mm[ROWS], seen.patches.sizes[ROWS], config)


def turned_mesh(mesh: SphereMesh, turn: np.ndarray) -> SphereMesh:
    centers = mesh.centers_mm.copy()
    centers[:, :2] = centers[:, :2] @ turn.T
    return SphereMesh(centers, mesh.radii_mm, mesh.topology)


@pytest.mark.parametrize("seed", range(3))
def test_a_changed_crop_is_one_of_the_changed_scene(seed: int, seen: Seen) -> None:
    drawn = changes(seen, seed)
    found = changed_crops(seen.patches, ROWS, drawn)
    for k, (turn, center_mm, cube_mm) in enumerate(zip(*drawn, strict=True)):
        truth = frame_of(turned_mesh(seen.meshes[k], turn), found.joints_mm[k])
        crop = crop_hand(truth.depth_mm, CAMERA, center_mm, float(cube_mm))
        expected, image = normalise(crop, "metric"), found.image[k]
        hand, shown = expected < 1, image < 1
        assert (hand & shown).sum() > 0.96 * (hand | shown).sum()
        both = hand & shown
        assert np.median(np.abs(expected[both] - image[both])) * cube_mm / 2 < 0.4
        assert np.mean(np.abs(expected[both] - image[both]) * cube_mm / 2 < 3) > 0.93
        mine = into_cubes(found.joints_mm[k : k + 1], found.views._replace(**view(found.views, k)))
        np.testing.assert_allclose(mine, into_cubes(found.joints_mm[k : k + 1], views_of([crop])), atol=1e-9)


def view(views: object, row: int) -> dict[str, np.ndarray]:
    return {name: part[row : row + 1] for name, part in views._asdict().items()}  # pyright: ignore


def depth_at(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    column, row = np.rint(points[:, :2]).astype(int).T
    return image[row.clip(0, len(image) - 1), column.clip(0, image.shape[1] - 1)]


def test_joints_lie_on_the_pixels_that_they_lay_on(seen: Seen) -> None:
    config = replace(CONFIG, center_spread_mm=0.0, cube_mm=(280.0, 280.0))
    for seed in range(4):
        drawn = changes(seen, seed, config)
        found = changed_crops(seen.patches, ROWS, drawn)
        points = into_cubes(found.joints_mm, found.views)
        for k, frame in enumerate(seen.frames):
            assert frame.joints_mm is not None
            before = depth_at(frame.depth_mm, project(frame.joints_mm, CAMERA))
            after = depth_at(found.image[k], (points[k] + 1) * 64 - 0.5)
            inside = (before > 0) & (np.abs(points[k]).max(axis=1) < 0.97)
            assert inside.sum() >= 15
            same = np.abs(after * drawn.cube_mm[k] / 2 + drawn.centers_mm[k, 2] - before) < 2.5
            assert same[inside].mean() > 0.8  # the others are at an edge, where a pixel more or less is a finger
    np.testing.assert_allclose(out_of_cubes(points, found.views), found.joints_mm, atol=1e-3)


def test_a_mirror_is_one(seen: Seen) -> None:
    """About a principal point in the middle between two pixels, where the mirror image has the same pixels."""
    frame = seen.frames[0]
    camera = CAMERA._replace(cx_px=(WIDTH - 1) / 2)
    assert frame.joints_mm is not None
    center_mm = frame.joints_mm.mean(axis=0)
    flip = np.array([-1.0, 1.0])
    found = crop_hand(frame.depth_mm, camera, np.append(flip * center_mm[:2], center_mm[2]), turn=np.diag(flip))
    mirrored = np.ascontiguousarray(frame.depth_mm[:, ::-1])
    expected = crop_hand(mirrored, camera, np.append(flip * center_mm[:2], center_mm[2]))
    assert (found.depth_mm > 0).sum() > 1000
    assert np.mean(found.depth_mm == expected.depth_mm) > 0.99
    joints = turned(frame.joints_mm[None], np.diag(flip)[None])[0]
    np.testing.assert_allclose(joints, frame.joints_mm * [-1, 1, 1])
    px = image_to_crop_px(project(joints, camera)[:, :2], found)
    np.testing.assert_allclose((px + 0.5) / 64 - 1, into_cubes(joints[None], views_of([found]))[0, :, :2], atol=1e-5)


@pytest.mark.parametrize("deviation", [-1.0, 1.0])
@pytest.mark.parametrize("roll_deg", [0.0, 45.0, 130.0])
def test_a_patch_holds_all_that_is_drawn(deviation: float, roll_deg: float, seen: Seen) -> None:
    angle = np.deg2rad(roll_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = deviation * MOST_DEVIATIONS * CONFIG.center_spread_mm
    for k, frame in enumerate(seen.frames):
        assert frame.joints_mm is not None
        joints = turned(frame.joints_mm[None], turn[None])
        center_mm, cube_mm = joints[0].mean(axis=0, dtype=np.float64) + moved, CONFIG.cubes_mm(np.ones(1))[0, 1]
        drawn = Changes(turn[None], center_mm[None], np.array([cube_mm]))
        found = changed_crops(seen.patches, np.array([k]), drawn).image[0]
        expected = normalise(crop_hand(frame.depth_mm, CAMERA, center_mm, cube_mm, turn=turn), "metric")
        close = np.abs(found - expected) <= 0.0626 / (cube_mm / 2)  # depths are kept in eighths of a millimetre
        assert close.mean() > 0.9995  # OpenCV rounds pixels between two to either side


def test_without_a_change_the_patch_gives_the_crop_of_the_frame(seen: Seen) -> None:
    labels = seen.patches.joints_mm
    centers, cubes = labels.mean(axis=1, dtype=np.float64), np.full(len(ROWS), 250.0)
    found = changed_crops(seen.patches, ROWS, Changes(np.tile(np.eye(2), (len(ROWS), 1, 1)), centers, cubes))
    crops = [crop_hand(f.depth_mm, CAMERA, c, 250.0) for f, c in zip(seen.frames, centers, strict=True)]
    expected = np.stack([normalise(crop, "metric") for crop in crops])
    assert (np.abs(found.image - expected) < 1e-3).mean() > 0.9999
    np.testing.assert_array_equal(found.joints_mm, labels)
    ours, theirs = found.views, views_of(crops)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9)


def test_changes_are_those_that_are_asked_for(seen: Seen) -> None:
    joints, sizes = np.repeat(seen.patches.joints_mm[:1], 4000, 0), np.repeat(np.array([0.7, 1.0, 1.4, 1.0]), 1000)
    config = RealConfig(roll_deg=30.0, mirrored=0.25, center_spread_mm=10.0)
    drawn = draw_changes(np.random.default_rng(1), joints, sizes, config)
    np.testing.assert_allclose(drawn.turn @ drawn.turn.swapaxes(1, 2), np.tile(np.eye(2), (4000, 1, 1)), atol=1e-12)
    flipped = np.linalg.det(drawn.turn) < 0
    assert flipped.mean() == pytest.approx(0.25, abs=0.03)
    angle = np.degrees(np.arctan2(-drawn.turn[:, 0, 1], drawn.turn[:, 1, 1]))
    assert -30 <= angle.min() < -29
    assert 29 < angle.max() <= 30
    moved = drawn.centers_mm - turned(joints, drawn.turn).mean(axis=1)
    np.testing.assert_allclose(moved.std(axis=0), 9.9, atol=0.5)
    assert np.abs(moved).max() <= 30.01
    for k, (least, most) in enumerate([(133, 250), (190, 290), (250, 406), (190, 290)]):
        cubes = drawn.cube_mm[1000 * k : 1000 * k + 1000]
        assert cubes.min() == pytest.approx(least, abs=2)
        assert cubes.max() == pytest.approx(most, abs=2)


def test_changes_depend_on_the_seed_alone(seen: Seen) -> None:
    one, again, other = (changes(seen, seed) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not np.array_equal(one.turn, other.turn)


@pytest.mark.parametrize("wrong", [{"crops": 0}, {"mirrored": 1.5}, {"cube_mm": (290.0, 190.0)}])
def test_impossible_changes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected crops, a share from 0 to 1"):
        RealConfig(**wrong)  # pyright: ignore


def test_patches_are_kept_once_and_for_what_they_were_asked_for(seen: Seen, tmp_path: Path) -> None:
    frame, calls = seen.frames[0], []
    assert frame.joints_mm is not None
    reach = CONFIG.reach(frame.joints_mm, 1.0)

    def ask(name: str) -> Patches:
        calls.clear()
        note = lambda done, total: calls.append((done, total))  # noqa: E731
        return keep_patches([(frame, reach, 1.0)], 1, tmp_path, {"of": name}, [], note)

    first = ask("a")
    assert calls == [(0, 1), (1, 1)]
    again = ask("a")
    assert not calls
    np.testing.assert_array_equal(first.image(0)[0], again.image(0)[0])
    ask("b")
    assert calls
    assert first.boxes[0, 2] < WIDTH / 2  # a part of the image
    with pytest.raises(ValueError, match="read-only"):
        again.pixels[0] = 0


def test_a_label_at_the_camera_is_left_out_and_listed(seen: Seen, tmp_path: Path) -> None:
    frame, problems = seen.frames[0], []
    assert frame.joints_mm is not None
    near = replace(frame, key="near", joints_mm=frame.joints_mm * np.float32(0.02))
    far = replace(frame, key="far")
    wanted = [(f, CONFIG.reach(f.joints_mm, 1.0), 1.0) for f in (near, far) if f.joints_mm is not None]
    for _ in range(2):  # from the file too
        problems.clear()
        assert len(keep_patches(wanted, 2, tmp_path, {}, problems)) == 1
        (problem,) = problems
        assert str(problem).startswith("near: the joints are ")
    with pytest.raises(ValueError, match="No frame of --data has a label that a crop can be cut about"):
        keep_patches(wanted[:1], 1, tmp_path / "other", {}, [])


def test_a_frame_that_shows_nothing_there_is_no_crash(seen: Seen, tmp_path: Path) -> None:
    empty = replace(seen.frames[0], depth_mm=np.zeros((HEIGHT, WIDTH), np.float32))
    patches = keep([empty, seen.frames[1]], tmp_path)
    drawn = Changes(np.eye(2)[None], patches.joints_mm[:1].mean(axis=1, dtype=np.float64), np.array([250.0]))
    assert (changed_crops(patches, np.array([0]), drawn).image == 1).all()
    np.testing.assert_array_equal(patches.image(1)[0], seen.patches.image(1)[0])
    assert len(MSRA21) == patches.joints_mm.shape[1]
