import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from crossnets.geometry.camera import CAMERAS, project, unproject
from crossnets.geometry.localise import center_of, find_center, find_center_slices
from crossnets.geometry.skeleton import CVAR21
from crossnets.types import HandFrame, Pinhole

CAMERA = Pinhole(241.0, 241.0, 160.0, 120.0)
PALM = np.array([10.0, -20.0, 450.0])
both = pytest.mark.parametrize("find", [find_center, find_center_slices])


def arm(camera: Pinhole, shape: tuple[int, int], palm: np.ndarray = PALM, forearm: bool = True) -> np.ndarray:
    """Draw a palm with five fingers upwards, and a forearm of the same depth down to the border of the image."""
    depth = np.zeros(shape, np.float32)
    mm = camera.fx_px / palm[2]
    u, v, _ = project(palm, camera)

    def line(start: tuple[float, float], end: tuple[float, float], radius_mm: float) -> None:
        ends = [(round(u + x * mm), round(v + y * mm)) for x, y in (start, end)]
        cv2.line(depth, *ends, float(palm[2]), max(1, round(2 * radius_mm * mm)))

    line((0, -10), (0, 10), 38)
    for x in (-30, -10, 10, 30):
        line((x, 0), (1.3 * x, -100), 8)
    line((20, 20), (75, -20), 9)
    if forearm:
        line((0, 20), (20, 1000), 28)
    return depth


@both
@pytest.mark.parametrize("name", ["icvl-senz3d", "nyu-kinect", "realsense-d435", "azure-kinect-wfov"])
def test_hand_without_arm(find, name: str) -> None:
    preset = CAMERAS[name]
    depth = arm(preset.pinhole, (preset.height_px, preset.width_px), forearm=False)
    center = find(depth, preset.pinhole)
    assert center.dtype == np.float32
    assert np.linalg.norm(center - PALM) < 50
    assert abs(center[2] - PALM[2]) < 1


@pytest.mark.parametrize("name", ["icvl-senz3d", "nyu-kinect", "realsense-d435", "azure-kinect-wfov"])
def test_the_arm_does_not_pull(name: str) -> None:
    preset = CAMERAS[name]
    shape = preset.height_px, preset.width_px
    alone = find_center(arm(preset.pinhole, shape, forearm=False), preset.pinhole)
    with_arm = find_center(arm(preset.pinhole, shape), preset.pinhole)
    assert np.linalg.norm(with_arm - alone) < 20
    assert np.linalg.norm(with_arm - PALM) < 50


@pytest.mark.parametrize("side", range(4))
def test_the_arm_may_come_from_any_side(side: int) -> None:
    square = Pinhole(241.0, 241.0, 159.5, 159.5)
    palm = np.array([0.0, 0.0, 450.0])
    upright = find_center(arm(square, (320, 320), palm), square)
    turned = find_center(np.ascontiguousarray(np.rot90(arm(square, (320, 320), palm), side)), square)
    x, y, z = upright
    for _ in range(side):
        x, y = y, -x
    np.testing.assert_allclose(turned, [x, y, z], atol=12)


def test_a_forearm_nearer_than_its_hand() -> None:
    depth = arm(CAMERA, (240, 320))
    below_palm = np.clip(np.arange(240) - 120, 0, None)[:, None]
    tilted = np.where(depth > 0, depth - 1.2 * below_palm, 0).astype(np.float32)
    assert np.linalg.norm(find_center(tilted, CAMERA) - find_center(depth, CAMERA)) < 30


@both
def test_background_and_specks_do_not_count(find) -> None:
    depth = arm(CAMERA, (240, 320), forearm=False)
    wanted = find(depth, CAMERA)
    behind = np.where(depth > 0, depth, np.float32(1200))
    random = np.random.default_rng(0)
    v, u = random.integers(0, 240, 60), random.integers(0, 320, 60)
    behind[v, u] = 200
    behind[:, 319] = 1499
    np.testing.assert_allclose(find(behind, CAMERA), wanted, atol=12)


@both
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 50), (240, 320)])
def test_images_without_a_hand_give_none(find, shape: tuple[int, int]) -> None:
    empty = np.zeros(shape, np.float32)
    assert find(empty, CAMERA) is None
    for depth_mm in (5.0, 600.0, 3000.0):
        one = empty.copy()
        one[-1, -1] = depth_mm
        assert find(one, CAMERA) is None


@pytest.mark.parametrize("depth_mm", [10.0, 80.0, 600.0, 1500.0])
def test_a_wall_is_not_detected_as_a_hand(depth_mm: float) -> None:
    assert find_center(np.full((240, 320), depth_mm, np.float32), CAMERA) is None


@both
@pytest.mark.parametrize("seed", range(6))
def test_nothing_crashes(find, seed: int) -> None:
    """Noise, coarse noise and random sizes: a centre inside the range of depths, or None."""
    random = np.random.default_rng(seed)
    height, width = (int(n) for n in random.integers(1, 200, 2))
    coarse = random.uniform(0, 1600, (1 + height // 30, 1 + width // 30)).astype(np.float32)
    depth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR if seed % 2 else cv2.INTER_NEAREST)
    depth[random.random(depth.shape) < 0.1] = 0
    for camera in (CAMERA, Pinhole(30.0, 35.0, 10.0, 5.0), Pinhole(900.0, 900.0, 80.0, 60.0)):
        center = find(depth, camera)
        assert center is None or (np.isfinite(center).all() and 10 <= center[2] <= 1500)


def test_center_of_follows_the_choice() -> None:
    joints = np.arange(63, dtype=np.float32).reshape(21, 3)
    frame = HandFrame("made/0", "made", arm(CAMERA, (240, 320)), CAMERA, joints)
    np.testing.assert_array_equal(center_of(frame, CVAR21, "label"), joints[CVAR21.center])
    np.testing.assert_array_equal(center_of(frame, None, "image"), find_center(frame.depth_mm, CAMERA))
    np.testing.assert_array_equal(center_of(frame, None, "image-paper"), find_center_slices(frame.depth_mm, CAMERA))


def test_label_centres_need_a_label_and_a_skeleton() -> None:
    depth = np.zeros((4, 4), np.float32)
    with pytest.raises(ValueError, match=r"made/1 on its label: it has no label\..*image"):
        center_of(HandFrame("made/1", "made", depth, CAMERA, None), CVAR21, "label")
    with pytest.raises(ValueError, match="no skeleton was given"):
        center_of(HandFrame("made/1", "made", depth, CAMERA, np.ones((21, 3), np.float32)), None, "label")


def test_fast_enough_for_a_live_camera() -> None:
    preset = CAMERAS["nyu-kinect"]
    depth = arm(preset.pinhole, (480, 640))
    depth[depth == 0] = 1100
    start = time.process_time()
    for _ in range(5):
        find_center(depth, preset.pinhole)
    assert (time.process_time() - start) / 5 < 0.05  # it takes about 1.5 ms, and the limit allows for slow machines


@pytest.mark.real
@pytest.mark.parametrize(("subject", "inside"), [("P1", 0.9), ("P4", 1.0), ("P5", 1.0)])
def test_cvar_hands_lie_in_the_cube(real_data: Path, subject: str, inside: float) -> None:
    camera = CAMERAS["cvar-senz3d"].pinhole
    lines = (real_data / "cvar" / subject / "joint.txt").read_text().splitlines()[1::8]
    within, offsets = [], []
    for path, *numbers in map(str.split, filter(None, lines)):
        file = real_data / "cvar" / subject / Path(path).name
        if not file.is_file():
            continue
        depth = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[:, :320].astype(np.float32)
        joints = unproject(np.array(numbers, float).reshape(21, 3), camera)
        center = find_center(np.where(depth == 32001, np.float32(0), depth), camera)
        assert center is not None
        within.append((np.abs(joints - center) <= 125).all())
        offsets.append(joints.mean(axis=0) - center)
    assert len(within) > 30
    assert np.mean(within) >= inside
    assert np.std(offsets, axis=0).max() < 25
