"""The tracker: each image by itself, and hands followed from image to image."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from crossnets import DepthFrame, Pinhole, Tracker, load
from crossnets.geometry.camera import CAMERAS, project
from crossnets.inference import tracker as track
from crossnets.inference.detector import Detection
from crossnets.inference.estimator import CropEstimator, CropModel, Raw
from crossnets.inference.tracker import FINDS_EVERY
from crossnets.synth.stream import SyntheticConfig, SyntheticHands

CAMERA = Pinhole(400.0, 400.0, 320.0, 240.0)
LEFT_MM, RIGHT_MM = np.array([-120.0, 0, 500], np.float32), np.array([120.0, 20, 600], np.float32)
TEMPLATE = np.random.default_rng(0).uniform(-0.3, 0.3, (21, 3))
TEMPLATE -= TEMPLATE.mean(axis=0)


class BlobNetwork:
    """Joints around the middle of the visible part of a crop. They are unsure if little is visible. Hands at the left
    are left hands."""

    def __init__(self) -> None:
        self.images_seen = 0
        self.spread = 0.03
        self.side = 2.0

    def __call__(self, images: np.ndarray) -> Raw:
        self.images_seen += len(images)
        at = (np.arange(128) + 0.5) / 64 - 1
        joints = []
        for image in images[:, 0]:
            seen = image < 1
            share = seen / max(seen.sum(), 1)
            middle = [(share.sum(0) * at).sum(), (share.sum(1) * at).sum(), (share * image).sum()]
            joints.append(TEMPLATE + np.array(middle))
        count = len(images)
        spread = np.full((count, 21), np.log(self.spread), np.float32)
        return Raw(
            np.array(joints, np.float32), spread, np.full(count, self.side, np.float32), np.full(count, np.log(0.75))
        )


class Blobs:
    """Images with discs as hands, and a finder that knows their places."""

    def __init__(self, *centers_mm: np.ndarray) -> None:
        self.centers_mm = list(centers_mm)
        self.searches = 0
        self.wrong_mm = np.zeros(3, np.float32)
        """How far off the finder is."""

    def image(self) -> np.ndarray:
        depth = np.zeros((480, 640), np.uint16)
        v, u = np.mgrid[:480, :640]
        for center in self.centers_mm:
            at = project(center[None], CAMERA)[0]
            near = (u - at[0]) ** 2 + (v - at[1]) ** 2 < (60 * CAMERA.fx_px / center[2]) ** 2
            depth[near] = round(float(center[2]))
        return depth

    def __call__(self, depth_mm: np.ndarray, camera: Pinhole) -> Sequence[Detection]:
        self.searches += 1
        return [Detection(center + self.wrong_mm, 0.9, 0.5, 190.0) for center in self.centers_mm]


def tracker(blobs: Blobs, **options: bool | int) -> tuple[Tracker, BlobNetwork]:
    network = BlobNetwork()
    model = CropModel(preset="crossnets", skeleton="msra21", normalisation="metric", passes=2)
    return Tracker(CropEstimator(model, network), blobs, **options), network  # pyright: ignore[reportArgumentType]


def test_no_hand_gives_an_empty_list() -> None:
    found, network = tracker(Blobs())
    assert found.predict(np.zeros((480, 640), np.uint16), CAMERA) == []
    assert found.track(np.zeros((480, 640), np.uint16), CAMERA) == []
    assert network.images_seen == 0


def test_two_hands_in_one_image() -> None:
    blobs = Blobs(LEFT_MM, RIGHT_MM)
    both, network = tracker(blobs)
    hands = both.predict(blobs.image(), CAMERA)
    assert len(hands) == 2
    for hand, center in zip(hands, blobs.centers_mm, strict=True):
        assert np.linalg.norm(hand.joints_mm.mean(axis=0) - center) < 5
        assert hand.side == "right"
        assert hand.std_mm is not None
        assert hand.confidence is not None
        assert hand.confidence.min() > 0.5
    assert network.images_seen == 4, "two passes over two hands"
    assert set(both.stages_ms) == {"find", "crop", "network", "joints"}
    one, _ = tracker(blobs, hands=1)
    assert len(one.predict(blobs.image(), CAMERA)) == 1


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_masked_pixels_are_invalid(kind: type) -> None:
    blobs = Blobs(LEFT_MM)
    depth = blobs.image().astype(kind)
    mask = np.zeros(depth.shape, bool)
    mask[:, :150] = True
    masked = np.ma.masked_array(np.where(mask, 420, depth).astype(kind), mask)
    expected = np.where(mask, 0, depth).astype(kind)
    for name in ("predict", "track"):
        (one,) = getattr(tracker(blobs)[0], name)(masked, CAMERA)
        (other,) = getattr(tracker(blobs)[0], name)(expected, CAMERA)
        np.testing.assert_array_equal(one.joints_mm, other.joints_mm)
    assert abs(one.joints_mm - tracker(blobs)[0].predict(masked.data, CAMERA)[0].joints_mm).max() > 1


def test_a_hand_that_is_found_twice_is_one() -> None:
    blobs = Blobs(LEFT_MM, LEFT_MM + 5)
    found, _ = tracker(blobs)
    assert len(found.predict(blobs.image(), CAMERA)) == 1


def test_followed_hands_are_searched_for_now_and_then_only() -> None:
    blobs = Blobs(LEFT_MM, RIGHT_MM)
    follow, _ = tracker(blobs)
    numbers = set()
    for _ in range(2 * FINDS_EVERY + 1):
        blobs.centers_mm = [center + np.float32([2, 1, 1]) for center in blobs.centers_mm]
        hands = follow.track(blobs.image(), CAMERA)
        numbers.add(tuple(hand.track for hand in hands))
        for hand, center in zip(hands, blobs.centers_mm, strict=True):
            assert np.linalg.norm(hand.joints_mm.mean(axis=0) - center) < 5
    assert numbers == {(0, 1)}
    assert blobs.searches == 3


def test_a_followed_hand_that_is_found_elsewhere_stays_one() -> None:
    """The detector is wrong about the depth, and the estimator places both candidates on the same hand."""
    blobs = Blobs(LEFT_MM)
    follow, _ = tracker(blobs)
    follow.track(blobs.image(), CAMERA)
    blobs.wrong_mm = np.float32([0, 0, 85])
    hands = [follow.track(blobs.image(), CAMERA) for _ in range(3 * FINDS_EVERY)]
    assert {tuple(hand.track for hand in found) for found in hands} == {(0,)}
    assert blobs.searches == 4


def test_joints_behind_the_camera_yield_no_hands() -> None:
    blobs = Blobs(np.float32([0, 0, 25]))
    follow, _ = tracker(blobs)
    assert follow.track(blobs.image(), CAMERA) == []
    assert follow.track(blobs.image(), CAMERA) == []


def test_a_lost_hand_is_searched_for_at_once() -> None:
    blobs = Blobs(LEFT_MM)
    follow, _ = tracker(blobs)
    follow.track(blobs.image(), CAMERA)
    blobs.centers_mm = [RIGHT_MM]
    hands = follow.track(blobs.image(), CAMERA)
    assert len(hands) == 1
    assert hands[0].track == 1, "another place, another number"
    blobs.centers_mm = []
    assert follow.track(blobs.image(), CAMERA) == []
    assert blobs.searches == 3


def test_an_unsure_estimate_yields_no_hands() -> None:
    blobs = Blobs(LEFT_MM)
    follow, network = tracker(blobs)
    network.spread = 1.0
    assert follow.predict(blobs.image(), CAMERA) == []
    assert follow.track(blobs.image(), CAMERA) == []


def test_a_followed_hand_that_is_no_longer_detected_is_dropped() -> None:
    """A followed hand whose place no longer shows a hand."""
    blobs = Blobs(LEFT_MM)
    follow, _ = tracker(blobs)
    image = blobs.image()
    follow.track(image, CAMERA)
    blobs.centers_mm = []
    counts = [len(follow.track(image, CAMERA)) for _ in range(FINDS_EVERY + 2)]
    assert counts[0] == 1
    assert counts[-1] == 0


def test_smoothing_is_steadier_and_off_by_default() -> None:
    rng = np.random.default_rng(1)
    found = {}
    for smooth in (False, True):
        blobs = Blobs(LEFT_MM)
        follow, _ = tracker(blobs, smooth=smooth)
        middles = []
        for number in range(40):
            blobs.centers_mm = [LEFT_MM + rng.normal(0, 2, 3).astype(np.float32)]
            middles.append(follow.track(blobs.image(), CAMERA, number / 30)[0].joints_mm.mean(axis=0))
        found[smooth] = np.diff(middles[10:], axis=0).std()
    assert found[True] < 0.6 * found[False]


def test_times_must_grow_until_reset() -> None:
    blobs = Blobs(LEFT_MM)
    follow, _ = tracker(blobs)
    follow.track(blobs.image(), CAMERA, 2.0)
    with pytest.raises(ValueError, match="Times must increase"):
        follow.track(blobs.image(), CAMERA, 1.0)
    follow.reset()
    assert follow.track(blobs.image(), CAMERA, 1.0)[0].track == 0


@pytest.mark.parametrize(
    ("depth", "camera", "says"),
    [
        (np.zeros((480, 640, 3), np.uint16), CAMERA, "expected a depth image"),
        (np.zeros((0, 640), np.uint16), CAMERA, "expected a depth image"),
        (np.zeros((480, 640), bool), CAMERA, "expected a depth image"),
        (np.full((480, 640), 80, np.uint8), CAMERA, "Found depth of type uint8.*IMREAD_UNCHANGED"),
        (np.full((480, 640), 0.5, np.float32), CAMERA, "looks like metres"),
        (np.zeros((240, 320), np.uint16), "realsense-d435", "320 x 240 pixels, but the camera has 640 x 480"),
        (np.zeros((480, 640), np.uint16), "kinect 9", "No camera is named"),
        (np.zeros((480, 640), np.uint16), Pinhole(0.0, 400.0, 320.0, 240.0), "focal lengths positive"),
    ],
)
def test_invalid_depth_images_raise(depth: np.ndarray, camera: str | Pinhole, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        tracker(Blobs())[0].predict(depth, camera)


@pytest.mark.parametrize("missing", [0.0, 25.0, 65.535, 1e6, np.nan])
def test_metres_raise_for_any_code_of_missing_depth(missing: float) -> None:
    depth = np.full((480, 640), 0.5, np.float32)
    depth[:300] = missing
    with pytest.raises(ValueError, match="looks like metres"):
        tracker(Blobs())[0].predict(depth, CAMERA)


def test_a_few_wrong_pixels_do_not_make_metres_of_millimetres() -> None:
    blobs = Blobs(LEFT_MM)
    depth = blobs.image().astype(np.float32)
    depth[::16, ::16] = 5.0
    assert len(tracker(blobs)[0].predict(depth, CAMERA)) == 1


def test_broken_pixels_change_nothing() -> None:
    blobs = Blobs(LEFT_MM)
    found, _ = tracker(blobs)
    depth = blobs.image().astype(np.float64)
    whole = found.predict(depth, CAMERA)[0].joints_mm
    depth[depth == 0] = np.nan
    depth[:5] = np.inf
    depth[5:9] = -3
    np.testing.assert_allclose(found.predict(depth, CAMERA)[0].joints_mm, whole, atol=1e-3)


def test_nan_and_0_are_the_same_at_the_edge_of_a_hand() -> None:
    hands = SyntheticHands(SyntheticConfig(camera="realsense-d435", seed=5))
    shipped = load()
    for index in range(3):
        frame = hands.frame(index)
        with_nan = np.where(frame.depth_mm == 0, np.nan, frame.depth_mm).astype(np.float32)
        for hand, same in zip(shipped.predict(frame), shipped.predict(with_nan, frame.camera), strict=True):
            np.testing.assert_array_equal(hand.joints_mm, same.joints_mm)


def test_a_camera_that_is_hardly_one_of_the_image_is_warned_about() -> None:
    blobs = Blobs(LEFT_MM)
    depth = blobs.image()
    with pytest.warns(UserWarning, match="principal point"):
        tracker(blobs)[0].predict(depth, CAMERA._replace(cx_px=0.5, cy_px=0.5))


@pytest.mark.filterwarnings("ignore:The lens of")
def test_every_preset_with_a_size_takes_images_of_that_size() -> None:
    for name, preset in CAMERAS.items():
        image = track.depth_image(np.zeros((preset.height_px, preset.width_px), np.uint16), name)
        assert image.camera == preset.camera


def test_a_frame_brings_its_camera_and_its_time() -> None:
    blobs = Blobs(LEFT_MM)
    follow, _ = tracker(blobs)
    expected = follow.predict(blobs.image(), CAMERA)[0].joints_mm
    frame = DepthFrame(blobs.image(), CAMERA, 5.0, 0)
    np.testing.assert_array_equal(follow.predict(frame)[0].joints_mm, expected)
    np.testing.assert_array_equal(follow.track(frame)[0].joints_mm, expected)
    assert follow._time_s == 5.0
    with pytest.raises(ValueError, match="Times must increase"):
        follow.track(replace(frame, time_s=4.0))
    with pytest.raises(ValueError, match="The image has no camera"):
        follow.predict(blobs.image())


def test_times_in_milliseconds_are_warned_about_and_a_pause_is_not() -> None:
    blobs = Blobs(LEFT_MM)
    follow, _ = tracker(blobs)
    for time_s in (0.0, 1.0, 60.0, 60.1, 120.0, 120.1):
        follow.track(blobs.image(), CAMERA, time_s)
    follow.reset()
    follow.track(blobs.image(), CAMERA, 0.0)
    follow.track(blobs.image(), CAMERA, 33.0)
    follow.track(blobs.image(), CAMERA, 66.0)
    with pytest.warns(UserWarning, match="Divide milliseconds by 1000"):
        follow.track(blobs.image(), CAMERA, 100.0)


@pytest.mark.parametrize("step_s", [1.0, 8.3])
def test_numbers_of_images_and_milliseconds_of_fast_cameras_are_warned_about_once(step_s: float) -> None:
    blobs = Blobs(LEFT_MM)
    follow, _ = tracker(blobs, smooth=True)
    times_s = step_s * np.arange(30)
    for time_s in times_s[:10]:
        follow.track(blobs.image(), CAMERA, time_s)
    with pytest.warns(UserWarning, match="10 images are more than 0.5 s apart, so smoothing has hardly an effect"):
        follow.track(blobs.image(), CAMERA, times_s[10])
    for time_s in times_s[11:]:
        follow.track(blobs.image(), CAMERA, time_s)


def test_times_that_smoothing_can_use_or_does_not_need_are_not_warned_about() -> None:
    blobs = Blobs(LEFT_MM)
    smooth, _ = tracker(blobs, smooth=True)
    for number in range(60):
        # A pause of 0.9 s follows each second or third image.
        smooth.track(blobs.image(), CAMERA, number / 10 + 0.9 * (number // 2) + 0.9 * (number // 3))
    empty, _ = tracker(Blobs(), smooth=True)
    plain, _ = tracker(blobs)
    for number in range(30):
        empty.track(np.zeros((480, 640), np.uint16), CAMERA, float(number))
        plain.track(blobs.image(), CAMERA, float(number))


@pytest.mark.parametrize("time_s", [float("nan"), float("inf")])
def test_a_time_that_is_not_finite_raises_and_is_ignored(time_s: float) -> None:
    blobs = Blobs(LEFT_MM)
    follow, _ = tracker(blobs)
    with pytest.raises(ValueError, match="expected a finite number of seconds"):
        follow.track(blobs.image(), CAMERA, time_s)
    assert len(follow.track(blobs.image(), CAMERA, 1.0)) == 1


def test_repr_of_a_tracker() -> None:
    follow, _ = tracker(Blobs(LEFT_MM))
    assert repr(follow) == "<Tracker: preset crossnets, 21 joints (msra21), up to 2 hands, 0 followed>"


def test_the_side_of_a_followed_hand_is_settled_by_vote() -> None:
    blobs = Blobs(LEFT_MM)
    follow, network = tracker(blobs)
    sides = []
    for step in range(40):
        network.side = -1.0 if step % 3 == 2 else 1.5  # wrong in a third of the frames
        sides.append(follow.track(blobs.image(), CAMERA)[0].side)
    assert set(sides) == {"right"}
    network.side = -2.0
    sides = [follow.track(blobs.image(), CAMERA)[0] for _ in range(20)]
    assert sides[0].side == "right", "one frame changes nothing"
    assert sides[-1].side == "left", "strong evidence does"
    assert sides[-1].side_probability is not None
    assert sides[-1].side_probability > 0.99
    assert follow.predict(blobs.image(), CAMERA)[0].side == "left"


def test_a_side_that_began_as_a_guess_changes_sooner() -> None:
    blobs = Blobs(LEFT_MM)
    follow, network = tracker(blobs)
    sides = []
    for logit in (0.2, -1.0, -2.0, -2.0, 1.0, 1.0, 1.0):
        network.side = logit
        sides.append(follow.track(blobs.image(), CAMERA)[0].side)
    assert sides == ["right", "right", "right", "left", "left", "left", "left"]


def test_a_mirrored_image_has_the_same_joints_and_palm_and_the_other_side() -> None:
    blobs = Blobs(LEFT_MM)
    model = CropModel(preset="crossnets", skeleton="msra21", normalisation="metric", passes=2)
    plain = Tracker(CropEstimator(model, BlobNetwork()), blobs)
    mirrored = Tracker(CropEstimator(model, BlobNetwork()), blobs, mirrored=True)
    for name in ("predict", "track"):
        (one,) = getattr(plain, name)(blobs.image(), CAMERA)
        (other,) = getattr(mirrored, name)(blobs.image(), CAMERA)
        assert (one.side, other.side) == ("right", "left")
        assert one.side_probability == other.side_probability
        np.testing.assert_array_equal(one.joints_mm, other.joints_mm)
        assert one.palm is not None
        assert other.palm is not None
        np.testing.assert_array_equal(one.palm.normal, other.palm.normal)
    known = Tracker(CropEstimator(model, BlobNetwork()), blobs, side="right", mirrored=True)
    assert known.track(blobs.image(), CAMERA)[0].side == "right", "the side that a user gives is that of the real hand"


@pytest.mark.parametrize("mirrored_hand", [True, False])
def test_joints_follow_the_side_that_is_known_if_the_mirrored_crop_has_it(mirrored_hand: bool) -> None:
    blobs = Blobs(LEFT_MM)
    model = CropModel(preset="crossnets", skeleton="msra21", normalisation="metric", passes=2)

    class Sided(BlobNetwork):
        """Takes hands for right hands. Mirrored ones, at the right, are left hands if it sees the difference."""

        def __call__(self, images: np.ndarray) -> Raw:
            self.side = 2.0 if mirrored_hand or self.images_seen < 2 else -2.0
            return super().__call__(images)

    (right,) = Tracker(CropEstimator(model, Sided()), blobs).predict(blobs.image(), CAMERA)
    (left,) = Tracker(CropEstimator(model, Sided()), blobs, side="left").predict(blobs.image(), CAMERA)
    (same,) = Tracker(CropEstimator(model, Sided()), blobs, side="right").predict(blobs.image(), CAMERA)
    np.testing.assert_array_equal(same.joints_mm, right.joints_mm)
    assert (right.side, left.side, left.side_probability) == ("right", "left", 1.0)
    if mirrored_hand:
        x, y, z = right.joints_mm.T
        x_middle, _, z_middle = right.joints_mm.mean(axis=0)
        expected = np.stack([z * (2 * x_middle / z_middle - x / z), y, z], axis=1)  # rays mirrored at the middle's
        np.testing.assert_allclose(left.joints_mm, expected, atol=3.0)  # a pixel of the crop has 2 mm
    else:  # the network takes the mirrored crop for a left hand, and so stays with its answer
        np.testing.assert_array_equal(left.joints_mm, right.joints_mm)


def test_joints_of_a_followed_hand_follow_its_settled_side() -> None:
    blobs = Blobs(LEFT_MM)
    follow, network = tracker(blobs)
    for _ in range(3):
        (right,) = follow.track(blobs.image(), CAMERA)
    network.side = -2.0
    seen = network.images_seen
    (kept,) = follow.track(blobs.image(), CAMERA)
    assert network.images_seen == seen + 2, "the crop and the mirrored crop"
    assert kept.side == "right"
    assert abs(kept.joints_mm - right.joints_mm).max() > 20, "joints of the mirrored crop, mirrored back"
    assert (kept.track, kept.size_mm) == (right.track, pytest.approx(right.size_mm, rel=0.05))


def test_a_side_that_is_known_is_kept() -> None:
    blobs = Blobs(LEFT_MM)
    model = CropModel(preset="crossnets", skeleton="msra21", normalisation="metric", passes=2)
    known = Tracker(CropEstimator(model, BlobNetwork()), blobs, side="left")
    for hand in (*known.predict(blobs.image(), CAMERA), *known.track(blobs.image(), CAMERA)):
        assert (hand.side, hand.side_probability) == ("left", 1.0)


def test_a_depth_unit_in_the_camera_is_refused() -> None:
    blobs = Blobs(LEFT_MM)
    one, _ = tracker(blobs)
    with pytest.raises(ValueError, match=r"depth unit of 0.125 mm per count .* expected in mm here. Multiply"):
        one.predict(blobs.image(), "400,400,320,240,0.125")
    assert len(one.predict(blobs.image(), "400,400,320,240,1")) == 1
