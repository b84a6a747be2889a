"""What the estimator says of whether something is a hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from crossnets.datasets.depth_checks import repeated_share
from crossnets.geometry.skeleton import SKELETONS
from crossnets.inference.detector import Detection
from crossnets.inference.estimator import CropEstimator, CropModel, Estimates, Raw
from crossnets.inference.hand import Hand
from crossnets.inference.hands import DepthWatch, SizeWatch, SurroundingsWatch, hand_odds, surroundings_of, unsure_share
from crossnets.inference.loading import Candidates
from crossnets.inference.predict import predict_frames
from crossnets.synth.sensor.hole_filling import FARTHEST, LEFT, WAYS, fill_holes
from crossnets.types import HandFrame, Pinhole, PredictedFrame

CAMERA = Pinhole(240.0, 240.0, 160.0, 120.0)


def estimates(std_mm: float, size_mm: float = 180.0, joint: float = 1.0) -> Estimates:
    joints = np.full((1, 21, 3), joint, np.float32)
    return Estimates(joints, np.full((1, 21), std_mm, np.float32), None, np.array([size_mm], np.float32))


@pytest.mark.parametrize(
    ("score", "std_mm", "size_mm", "is_hand"),
    [
        (0.8, 7.0, 180.0, True),
        (0.3, 4.0, 180.0, True),  # the detector doubts, the estimator does not
        (0.3, 14.0, 180.0, False),
        (0.6, 18.0, 180.0, False),
        (0.6, 12.0, 280.0, True),  # as sure, for a hand of that size
        (0.6, 12.0, 120.0, False),
    ],
)
def test_a_hand_is_what_both_networks_agree_on(score: float, std_mm: float, size_mm: float, is_hand: bool) -> None:
    assert (hand_odds(estimates(std_mm, size_mm), [score])[0] > 0) == is_hand


def test_joints_that_are_no_numbers_are_no_hand() -> None:
    assert hand_odds(estimates(1.0, joint=np.nan), [0.99])[0] == -np.inf
    assert unsure_share(estimates(1.0, joint=np.nan))[0] == np.inf


def test_without_deviations_the_score_decides_alone() -> None:
    joints = np.zeros((2, 21, 3), np.float32)
    assert (hand_odds(Estimates(joints), [0.4, 0.5]) > 0).tolist() == [False, True]
    assert np.isfinite(hand_odds(Estimates(joints), [0.0, 1.0])).all()


class NearIsSure:
    """A network that is sure of what lies in the nearer half of its crop."""

    def __call__(self, images: np.ndarray) -> Raw:
        count = len(images)
        nearest = images.min(axis=(1, 2, 3))
        spread = np.where(nearest < -0.5, np.log(0.02), np.log(0.5))[:, None] * np.ones((1, 21))
        joints = np.zeros((count, 21, 3), np.float32)
        return Raw(joints, spread.astype(np.float32), np.zeros(count), np.full(count, np.log(0.75)))


FAR_AT, NEAR_AT = (90, 600.0, 0.0), (230, 500.0, 100.0)
"""Column, depth and how far behind its surface a candidate is; the network is sure of the second one alone."""


def candidate(at: tuple[int, float, float], score: float) -> Detection:
    u, z, behind = at
    center = np.array([(u - 160) / 240 * z, (90 - 120) / 240 * z, z + behind], np.float32)
    return Detection(center, score, 0.5, 180.0)


def two_surfaces() -> np.ndarray:
    """An image of two rough surfaces before nothing."""
    depth = np.zeros((240, 320), np.float32)
    depth[60:120, 60:120] = 600
    depth[60:120, 200:260] = 500
    return np.where(depth > 0, depth + np.random.default_rng(0).random(depth.shape, np.float32), 0)


def predicted(*found: Detection, more: Sequence[Detection] = (), force: bool = False) -> PredictedFrame:
    frame = HandFrame("one", "", two_surfaces(), CAMERA, None)
    model = CropModel(preset="crossnets", skeleton="msra21", normalisation="metric")
    places = Candidates("detector", lambda _: found, lambda _: more)
    (answer,) = predict_frames(CropEstimator(model, NearIsSure()), [frame], places, force=force)
    return answer


@pytest.mark.parametrize("force", [True, False])
def test_the_likeliest_candidate_is_predicted_whatever_the_scores(force: bool) -> None:
    answer = predicted(candidate(FAR_AT, 0.7), candidate(NEAR_AT, 0.6), force=force)
    assert answer.center_mm is not None
    assert answer.center_mm[0] > 0
    assert not answer.forced


@pytest.mark.parametrize("force", [True, False])
def test_an_unlikely_candidate_is_predicted_only_where_an_answer_is_wanted(force: bool) -> None:
    answer = predicted(candidate(FAR_AT, 0.7), force=force)
    assert (answer.joints_mm is not None) == force
    assert answer.forced == force


def test_more_candidates_are_tried_only_where_no_hand_is_found() -> None:
    far, near = candidate(FAR_AT, 0.7), candidate(NEAR_AT, 0.6)
    answer = predicted(far, more=[near], force=True)
    assert answer.forced
    assert answer.center_mm is not None
    assert answer.center_mm[0] > 0, "the likelier one of both"
    assert predicted(near, more=[far], force=True).center_mm[0] > 0  # pyright: ignore[reportOptionalSubscript]
    assert predicted(far, more=[near]).joints_mm is None
    assert predicted(force=True).joints_mm is None, "no candidate at all"


class NearIsRight:
    """A network that is sure of all crops, and takes what lies in the nearer half of its crop for a right hand."""

    def __call__(self, images: np.ndarray) -> Raw:
        count = len(images)
        right = np.where(images.min(axis=(1, 2, 3)) < -0.5, 1.0, -1.0)
        spread = np.full((count, 21), np.log(0.02), np.float32)
        return Raw(np.zeros((count, 21, 3), np.float32), spread, right, np.full(count, np.log(0.75)))


@pytest.mark.parametrize("key", ["h2o/test/subject4/h1/0/cam4/000000/left", "h2o/test/subject4/h1/0/cam4/000000/right"])
def test_a_frame_about_one_of_two_hands_gets_the_hand_of_its_side(key: str) -> None:
    depth = two_surfaces()
    model = CropModel(preset="crossnets", skeleton="msra21", normalisation="metric")
    found = [candidate(FAR_AT, 0.7), candidate(NEAR_AT, 0.7)]
    places = Candidates("detector", lambda _: found, lambda _: ())
    frame = HandFrame(key, "", depth, CAMERA, None)
    (answer,) = predict_frames(CropEstimator(model, NearIsRight()), [frame], places, force=True)
    assert answer.center_mm is not None
    assert (answer.center_mm[0] > 0) == key.endswith("right")
    (one,) = answer.hands
    assert one.side == key.rpartition("/")[2]


def warned_at_the_tenth(length: float, says: str) -> SizeWatch:
    """A watch that saw ten hands of this length, the last of which gave this warning."""
    sizes = SizeWatch()
    for _ in range(9):
        sizes.see(length)
    with pytest.warns(UserWarning, match=rf"hands are {length:.0f} mm long.*{says}"):
        sizes.see(length)
    return sizes


@pytest.mark.parametrize(("length", "cause"), [(118.0, "a larger image"), (290.0, "a smaller image")])
def test_hands_of_no_person_are_warned_about_once(length: float, cause: str) -> None:
    sizes = warned_at_the_tenth(length, f"130 to 240 mm.*{cause}")
    for _ in range(30):
        sizes.see(length)  # warnings are errors in these tests


@pytest.mark.parametrize(("length", "says"), [(140.0, "few adults' are shorter"), (230.0, "few adults' are longer")])
def test_lengths_that_few_adults_have_are_warned_about_after_many_hands(length: float, says: str) -> None:
    warned_at_the_tenth(length, f"expected 150 to 220 mm: {says}")
    few = SizeWatch()
    few.see(length)
    few.finish()  # warnings are errors in these tests


def test_hands_of_people_are_not_warned_about() -> None:
    sizes = SizeWatch()
    for length in (140.0, 300.0, 185.0, 210.0, None, 100.0, 190.0, 180.0) * 5:
        sizes.see(length)


def test_a_single_hand_of_no_person_is_warned_about_at_the_end() -> None:
    sizes = SizeWatch()
    sizes.see(105.0)
    with pytest.warns(UserWarning, match=r"hands are 105 mm long"):
        sizes.finish()
    sizes.finish()


@pytest.mark.parametrize(
    ("around_mm", "nearer", "farther", "warned"),
    [(300.0, True, False, True), (900.0, False, True, False), (0.0, False, False, False)],
)
def test_hands_behind_their_surroundings_are_warned_about_once(
    around_mm: float, nearer: bool, farther: bool, warned: bool
) -> None:
    joints_mm = np.random.default_rng(0).uniform([-60, -60, 480], [60, 60, 520], (21, 3)).astype(np.float32)
    hand = Hand(joints_mm, SKELETONS["msra21"], CAMERA, size_mm=180.0)
    depth_mm = np.full((240, 320), around_mm, np.float32)
    depth_mm[95:145, 135:185] = 500
    found = surroundings_of(depth_mm, hand)
    assert found is not None
    assert (found.nearer > 0.3, found.farther > 0.3) == (nearer, farther)
    watch = SurroundingsWatch()
    for _ in range(9):
        watch.see(depth_mm, hand)
    if warned:
        with pytest.warns(UserWarning, match="a disparity image"):
            watch.see(depth_mm, hand)
    for _ in range(12):
        watch.see(depth_mm, hand)  # warnings are errors in these tests
    watch.finish()
    assert surroundings_of(depth_mm, replace(hand, size_mm=None)) is None


@pytest.mark.parametrize(
    ("depth", "says"),
    [
        (0.7, "median depth is 0.7 mm, expected 150 mm or more.*looks like metres"),
        (75.0, "median depth is 75 mm.*a disparity image"),
        (2800.0, "Hands found: 1 in 10 frames.*counts are smaller than 1 mm"),
    ],
)
def test_depths_that_are_not_in_mm_are_warned_about_once(depth: float, says: str) -> None:
    depths = DepthWatch()
    image = np.full((240, 320), depth, np.float32)
    image[:8] = 65535  # a code for missing depth
    for _ in range(10):
        depths.see(image)
    depths.hand()
    with pytest.warns(UserWarning, match=says):
        depths.see(image)
    depths.see(image)  # warnings are errors in these tests
    depths.finish()


def test_raw_values_of_a_kinect_are_warned_about_at_the_first_frame() -> None:
    raw = np.full((480, 640), 700, np.uint16)
    raw[:, :40] = 2047
    depths = DepthWatch()
    with pytest.warns(UserWarning, match="raw values of a Kinect v1"):
        depths.see(raw)
    depths.see(raw)  # warnings are errors in these tests
    clipped = raw.copy()
    clipped[7, 7] = 0
    DepthWatch().see(clipped)


@pytest.mark.parametrize(("depth", "hands"), [(500.0, False), (2800.0, True)])
def test_depths_in_mm_are_not_warned_about(depth: float, hands: bool) -> None:
    depths = DepthWatch()
    noise = np.random.default_rng(0).random((240, 320), np.float32)
    for _ in range(12):
        depths.see(depth + noise)
        if hands:
            depths.hand()
    depths.finish()


@pytest.mark.parametrize(("way", "step"), [(LEFT, 1), (FARTHEST, 1), *((way, 8) for way in WAYS)])
def test_filled_holes_are_warned_about_once(way: int, step: int) -> None:
    """The holes are every row of a rectangle, or every eighth one. The nearest neighbour fills a rectangle with one
    depth, as a wall has."""
    noise = np.random.default_rng(0)
    image = noise.normal(600, 3, (240, 320)).astype(np.float32)
    image[44:200:step, 100:180] = 0
    depths = DepthWatch()
    whole = DepthWatch()
    for _ in range(10):
        filled = image.copy()
        fill_holes(filled, way)
        depths.see(filled)
        whole.see(image)
    with pytest.warns(UserWarning, match="% of the pixels repeat the depth of their neighbours"):
        depths.finish()
    depths.see(filled)  # warnings are errors in these tests
    whole.finish()


def test_holes_that_were_filled_in_part_are_warned_about() -> None:
    noise = np.random.default_rng(0)
    image = noise.normal(600, 3, (240, 320)).astype(np.float32)
    image[40:200, 100:180] = 0
    filled = image.copy()
    filled[40:200, 100:108] = image[40:200, 99:100]
    depths = DepthWatch()
    whole = DepthWatch()
    for _ in range(10):
        depths.see(filled)
        whole.see(image)
    with pytest.warns(UserWarning, match="100% of the holes begin after 8 equal depths or more"):
        depths.finish()
    whole.finish()


def test_runs_that_follow_each_other_are_all_counted() -> None:
    image = np.zeros((17, 160), np.float32)
    image[:, :40] = 500
    image[:, 40:80] = 600
    image[:, 120:] = 700
    image += np.arange(17, dtype=np.float32)[:, None] * (image > 0)
    assert repeated_share(image) == 1


def test_a_wall_of_one_depth_is_not_taken_for_filled_holes() -> None:
    image = np.full((240, 320), 900, np.float32)
    image[:, 150:] = 0
    depths = DepthWatch()
    for _ in range(12):
        depths.see(image)
    depths.finish()  # warnings are errors in these tests


def test_predictions_in_metres_are_warned_about() -> None:
    frame = HandFrame("one", "", np.full((240, 320), 0.5, np.float32), CAMERA, None)
    model = CropModel(preset="crossnets", skeleton="msra21", normalisation="metric")
    places = Candidates("detector", lambda _: [], lambda _: [])
    with pytest.warns(UserWarning, match="looks like metres"):
        list(predict_frames(CropEstimator(model, NearIsSure()), [frame], places))
