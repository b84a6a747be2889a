from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossnets.datasets.cvar import CVAR
from crossnets.datasets.dataset import HandDataset
from crossnets.geometry.camera import CAMERAS
from crossnets.geometry.crop import crop_hand, normalise
from crossnets.geometry.localise import find_center
from crossnets.geometry.pose import NormalisedPose, denormalise_pose
from crossnets.geometry.skeleton import CVAR21
from crossnets.training.crops import CropConfig, TrainingFrames, choose_labelled, prepare, seed_of, shuffled
from tests.datasets.make import Made, edit_word, make_cvar, write_png16

CROP = CropConfig(cube_mm=250.0, normalisation="per-frame", centers="image")
CAMERA = CAMERAS["cvar-senz3d"]


def prepared(
    labelled: HandDataset,
    cache: Path,
    unlabelled: Sequence[HandDataset] = (),
    *,
    labels: str = "all",
    crop: CropConfig = CROP,
    seed: int = 1,
    source: str = "here",
) -> TrainingFrames:
    return prepare(labelled, unlabelled, crop, labels=labels, seed=seed, cache=cache, sources=(source,))


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 0.8}, frames=3)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "run" / "crops"


ROWS = np.arange(10, 60, dtype=np.int64)


@pytest.mark.parametrize(
    ("labels", "count"),
    [("all", 50), ("100%", 50), ("2%", 1), ("50%", 25), ("12.4%", 6), ("1", 1), ("7", 7), ("50", 50)],
)
def test_a_part_of_the_labels_is_chosen(labels: str, count: int) -> None:
    found = choose_labelled(ROWS, labels, 3)
    assert len(found) == len(set(found)) == count
    assert set(found) <= set(ROWS)
    assert (np.diff(found) > 0).all()


def test_two_percent_of_nyu_are_the_papers_number_of_frames() -> None:
    assert len(choose_labelled(np.arange(72_757, dtype=np.int64), "2%", 42)) == 1_455


def test_the_choice_depends_on_the_seed_alone() -> None:
    first, again, other = (choose_labelled(ROWS, "10", seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_fewer_labels_are_some_of_the_more() -> None:
    assert set(choose_labelled(ROWS, "5", 3)) < set(choose_labelled(ROWS, "40%", 3))


@pytest.mark.parametrize(
    "labels", ["0", "-1", "51", "0%", "0.1%", "101%", "-5%", "nan%", "%", "", "half", "2.5", "none"]
)
def test_another_choice_is_refused(labels: str) -> None:
    with pytest.raises(
        ValueError, match=r"--labels .* expected (1 to 50|`all`, a share above 0 .* such as 2%, or a number)"
    ):
        choose_labelled(ROWS, labels, 3)


@pytest.mark.parametrize("count", [1, 3, 7, 20, 50])
def test_batches_are_one_shuffle_after_the_other(count: int) -> None:
    rows = np.array([4, 8, 15, 16, 23, 42, 99], np.int64)
    drawn = np.concatenate([shuffled(rows, count, step, 5, "x") for step in range(2 * len(rows))])
    rounds = drawn.reshape(-1, len(rows))
    assert all(sorted(one) == sorted(rows) for one in rounds.tolist())
    assert len({tuple(one) for one in rounds.tolist()}) > 1
    whole = shuffled(rows, len(drawn), 0, 5, "x")  # the same in one piece
    assert np.array_equal(drawn, whole)


def test_a_batch_depends_on_its_step_and_seed_alone() -> None:
    rows = np.arange(100, dtype=np.int64)
    assert np.array_equal(shuffled(rows, 8, 5, 1, "a"), shuffled(rows, 8, 5, 1, "a"))
    others = [shuffled(rows, 8, 6, 1, "a"), shuffled(rows, 8, 5, 2, "a"), shuffled(rows, 8, 5, 1, "b")]
    assert not any(np.array_equal(shuffled(rows, 8, 5, 1, "a"), other) for other in others)


def test_seeds_differ_where_their_parts_do() -> None:
    parts = [(1, 2), (2, 1), (12,), (1, "2"), ("1", 2), ("12",), (1, 2, 0)]
    assert len({seed_of(*some) for some in parts}) == len(parts)
    assert all(0 <= seed_of(*some) < 2**63 for some in parts)
    assert seed_of(42, "joint", 7) == 4748865686974616220  # an update must not change the batches of a run


def test_all_labels_come_back_from_the_pose(made: Made, cache: Path) -> None:
    frames = prepared(CVAR(made.root), cache)
    assert len(frames) == 6
    assert frames.problems == ()
    assert frames.keys[0].startswith("cvar/P1/")
    assert frames.labelled.tolist() == [0, 1, 2, 3, 4, 5]
    assert frames.unlabelled.tolist() == []
    assert (frames.y[:, CVAR21.reference] == 0).all()
    centers = [find_center(depth, CAMERA.pinhole) for depth in made.depth_mm]
    found = denormalise_pose(NormalisedPose(frames.y, frames.t), np.stack([c for c in centers if c is not None]))
    np.testing.assert_allclose(found, made.joints_mm, atol=2e-3)  # the file has four decimals of a pixel


def test_images_are_crops_about_the_centre_of_the_image(made: Made, cache: Path) -> None:
    frames = prepared(CVAR(made.root), cache)
    for image, depth in zip(frames.images, made.depth_mm, strict=True):
        center_mm = find_center(depth, CAMERA.pinhole)
        assert center_mm is not None
        expected = normalise(crop_hand(depth, CAMERA.pinhole, center_mm, 250.0), "per-frame")
        np.testing.assert_array_equal(image, expected)
        assert image.min() == -1
        assert image.max() == 1


def test_centres_can_be_those_of_the_labels(made: Made, cache: Path) -> None:
    frames = prepared(CVAR(made.root), cache, crop=replace(CROP, centers="label"))
    found = denormalise_pose(NormalisedPose(frames.y, frames.t), made.joints_mm[:, CVAR21.center])
    np.testing.assert_allclose(found, made.joints_mm, atol=2e-3)


def test_the_rest_stays_unlabelled(made: Made, cache: Path) -> None:
    data = CVAR(made.root)
    everything, frames = prepared(data, cache), prepared(data, cache, labels="2")
    assert len(frames.labelled) == len(frames.y) == len(frames.t) == 2
    assert sorted([*frames.labelled, *frames.unlabelled]) == list(range(6))
    np.testing.assert_array_equal(frames.y, everything.y[frames.labelled])
    np.testing.assert_array_equal(frames.t, everything.t[frames.labelled])
    np.testing.assert_array_equal(frames.images, everything.images)


def test_labels_of_unlabelled_sets_are_not_read(made: Made, cache: Path, tmp_path: Path) -> None:
    other = make_cvar(tmp_path / "other", {"P9": 1.1}, frames=2)
    frames = prepared(CVAR(made.root), cache, [CVAR(other.root)])
    assert len(frames) == 8
    assert frames.labelled.tolist() == [0, 1, 2, 3, 4, 5]
    assert frames.unlabelled.tolist() == [6, 7]
    assert [key.split("/")[1] for key in frames.keys[6:]] == ["P9", "P9"]
    few = prepared(CVAR(made.root), cache, [CVAR(other.root)], labels="1")
    assert set(few.unlabelled) == set(range(8)) - set(few.labelled)


def delete_images(root: Path) -> None:
    for path in root.rglob("*.png"):
        path.unlink()


def test_crops_are_made_once(made: Made, cache: Path) -> None:
    data = CVAR(made.root)
    first = prepared(data, cache)
    delete_images(made.root)
    again = prepared(data, cache, labels="3", seed=9)  # other labels need no other crops
    np.testing.assert_array_equal(again.images, first.images)
    assert again.keys == first.keys
    np.testing.assert_array_equal(again.y, first.y[again.labelled])
    assert again.problems == ()


@pytest.mark.parametrize(
    "crop", [replace(CROP, normalisation="metric"), replace(CROP, cube_mm=200.0), replace(CROP, centers="image-paper")]
)
def test_crops_of_other_settings_are_not_taken(crop: CropConfig, made: Made, cache: Path, tmp_path: Path) -> None:
    data = CVAR(made.root)
    first = np.array(prepared(data, cache).images)
    found = prepared(data, cache, crop=crop)
    np.testing.assert_array_equal(found.images, prepared(data, tmp_path / "fresh", crop=crop).images)
    assert not np.array_equal(found.images, first)


def test_crops_of_other_sequences_are_not_taken(made: Made, cache: Path) -> None:
    prepared(CVAR(made.root, ["P1"]), cache)
    frames = prepared(CVAR(made.root, ["P4"]), cache)
    assert {key.split("/")[1] for key in frames.keys} == {"P4"}


def test_crops_of_another_folder_are_not_taken(made: Made, cache: Path, tmp_path: Path) -> None:
    other = make_cvar(tmp_path / "other", {"P1": 1.2, "P4": 0.7}, frames=3)
    prepared(CVAR(made.root), cache)
    found = prepared(CVAR(other.root), cache, source="elsewhere")
    np.testing.assert_array_equal(found.images, prepared(CVAR(other.root), tmp_path / "fresh").images)


def test_a_cropping_that_was_interrupted_begins_anew(made: Made, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, read = CVAR(made.root), CVAR.__getitem__

    def stop(self: CVAR, index: int) -> object:
        if index == 3:
            raise KeyboardInterrupt
        return read(self, index)

    monkeypatch.setattr(CVAR, "__getitem__", stop)
    with pytest.raises(KeyboardInterrupt):
        prepared(data, cache)
    monkeypatch.undo()
    assert list(cache.iterdir()) == []
    assert len(prepared(data, cache)) == 6


def test_a_frame_without_a_hand_is_left_out_and_listed(made: Made, cache: Path) -> None:
    write_png16(made.root / "P1" / "000001_depth.png", np.full((240, 320), 32001))
    frames = prepared(CVAR(made.root), cache)
    assert len(frames) == len(frames.images) == 5
    (problem,) = frames.problems
    assert str(problem).endswith("cvar/P1/000001: no hand was found in the image, so the frame is left out")
    assert "cvar/P1/000001" not in frames.keys
    kept = [0, 2, 3, 4, 5]
    whole = made.joints_mm - made.joints_mm[:, :1]
    np.testing.assert_allclose(50 * frames.y, whole[kept], atol=2e-3)  # labels did not slip
    assert (frames.images.min((1, 2)) == -1).all()


def test_a_broken_image_and_a_broken_label_are_listed(made: Made, cache: Path) -> None:
    edit_word(made.root / "P1" / "joint.txt", 3, 5, "nan")
    (made.root / "P4" / "000002_depth.png").write_bytes(b"no image")
    frames = prepared(CVAR(made.root), cache)
    assert [key.split("/", 1)[1] for key in frames.keys] == ["P1/000000", "P1/000002", "P4/000000", "P4/000001"]
    listed = {(problem.path.name, problem.line) for problem in frames.problems}
    assert listed == {("joint.txt", 3), ("000002_depth.png", None)}
    assert prepared(CVAR(made.root), cache).problems == frames.problems  # from the cache too


def test_no_hand_at_all_is_refused(made: Made, cache: Path) -> None:
    data = CVAR(made.root)
    delete_images(made.root)
    with pytest.raises(ValueError, match="No frame of --data has a label and a hand that was found"):
        prepared(data, cache)


def test_progress_reaches_the_end(made: Made, cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    note = lambda done, total: seen.append((done, total))  # noqa: E731
    prepare(CVAR(made.root), [], CROP, labels="all", seed=1, cache=cache, on_progress=note)
    assert seen == [(i, 6) for i in range(7)]


def test_images_cannot_be_overwritten(made: Made, cache: Path) -> None:
    frames = prepared(CVAR(made.root), cache)
    with pytest.raises(ValueError, match="read-only"):
        frames.images[0] = 0


def test_a_set_without_a_sound_row_is_no_crash(made: Made, cache: Path, tmp_path: Path) -> None:
    empty = make_cvar(tmp_path / "empty", frames=1)
    delete_images(empty.root)
    frames = prepared(CVAR(made.root), cache, [CVAR(empty.root)])
    assert len(frames) == 6
    assert [problem.line for problem in frames.problems] == [2]
