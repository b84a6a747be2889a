"""Rendered frames are reproducible, have exact labels, and are readable in every format."""

import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crossnets.cli import main
from crossnets.datasets.cvar import CVAR
from crossnets.datasets.dataset import HandDataset
from crossnets.datasets.icvl import ICVL
from crossnets.datasets.msra import MSRA
from crossnets.datasets.nyu import NYU
from crossnets.datasets.opening import open_dataset
from crossnets.geometry.camera import project
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.skeleton import ICVL16, MSRA21, NYU36
from crossnets.synth.sensor.noise import SENSORS
from crossnets.synth.stream import BLOCK, SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter
from crossnets.synth.writing import FORMAT_DEFAULTS, WITH_SPLIT, Format, config_of
from crossnets.synth.writing import write_dataset as synthesize

EXACT = SyntheticConfig(noise=(0.0, 0.0))
VARIED = SyntheticConfig(seed=3, noise=(0.0, 1.5), cube_mm=(220.0, 300.0))
CLUTTERED = replace(VARIED, clutter=Clutter())
INDICES = [5, 3 * BLOCK + 1, 70, 5, 0, 10**9]


@pytest.mark.parametrize("config", [VARIED, CLUTTERED])
def test_crops_do_not_depend_on_their_batch(config: SyntheticConfig) -> None:
    together = SyntheticHands(config).crops(INDICES, 48)
    other = pickle.loads(pickle.dumps(SyntheticHands(config)))  # workers receive a pickled copy
    for k in reversed(range(len(INDICES))):
        for name, part in other.crops([INDICES[k]], 48)._asdict().items():
            assert_array_equal(part[0], getattr(together, name)[k], err_msg=name)
    assert_array_equal(together.depth_mm[0], together.depth_mm[3])
    assert len(np.unique(together.cube_mm)) == 5


def test_frames_do_not_depend_on_their_order_and_seeds_differ() -> None:
    hands, others = (SyntheticHands(replace(VARIED, camera="cvar-senz3d")) for _ in range(2))
    for index in (0, BLOCK):
        hands.frame(index)
    for index in (BLOCK, 7, 0):
        first, second = hands.frame(index), others.frame(index)
        assert (first.key, first.sequence) == (second.key, second.sequence)
        assert_array_equal(first.depth_mm, second.depth_mm)
        assert_array_equal(first.joints_mm, second.joints_mm)
    third = SyntheticHands(replace(VARIED, camera="cvar-senz3d", seed=4)).frame(0)
    assert not np.array_equal(third.joints_mm, hands.frame(0).joints_mm)


def test_evicted_blocks_are_drawn_again() -> None:
    hands = SyntheticHands(EXACT)
    first = hands.crops([1], 16)
    hands.crops([BLOCK * k for k in range(1, 20)], 16)
    assert_array_equal(hands.crops([1], 16).depth_mm, first.depth_mm)


@pytest.mark.parametrize("camera", ["realsense-sr300", "nyu-kinect"])
def test_labels_project_onto_the_hand(camera: str) -> None:
    hands = SyntheticHands(replace(EXACT, camera=camera, distance_mm=(350.0, 800.0)))
    for index in range(12):
        frame = hands.frame(index)
        assert frame.joints_mm is not None
        uvd = project(frame.joints_mm, frame.camera)
        u, v = np.rint(uvd[:, :2]).astype(int).T
        surface_mm = frame.depth_mm[v, u]
        assert (surface_mm > 0).all()
        assert (surface_mm <= frame.joints_mm[:, 2] + 0.5).all()


@pytest.mark.parametrize("camera", SENSORS)
def test_noise_of_each_sensor_does_not_change_labels(camera: str) -> None:
    distance = (450.0, 800.0)
    noisy = SyntheticHands(SyntheticConfig(camera=camera, distance_mm=distance)).crops(range(8))
    exact = SyntheticHands(replace(EXACT, camera=camera, distance_mm=distance)).crops(range(8))
    assert_array_equal(noisy.joints_mm, exact.joints_mm)
    both = (noisy.depth_mm > 0) & (exact.depth_mm > 0)
    assert both.sum() > 0.5 * (exact.depth_mm > 0).sum()
    assert np.median(np.abs(noisy.depth_mm - exact.depth_mm)[both]) < 6
    assert not np.array_equal(noisy.depth_mm, exact.depth_mm)


@pytest.mark.parametrize(("clutter", "count"), [(None, 6), (Clutter(), 24)])
def test_crops_equal_crops_of_the_frames(clutter: Clutter | None, count: int) -> None:
    hands = SyntheticHands(replace(EXACT, cube_mm=(200.0, 300.0), clutter=clutter))
    crops = hands.crops(range(count))
    for k in range(count):
        frame = hands.frame(k)
        expected = crop_hand(frame.depth_mm, frame.camera, crops.centers_mm[k], float(crops.cube_mm[k]))
        assert (np.abs(expected.depth_mm - crops.depth_mm[k]) < 0.01).mean() > 0.99
        assert_array_equal(frame.joints_mm, crops.joints_mm[k])
        assert (crops.depth_mm[k] > 0).mean() > 0.03


def test_crops_of_a_second_pass_fit_the_hand() -> None:
    hands = SyntheticHands(replace(EXACT, cube_mm=(200.0, 300.0), again_share=1.0, distance_mm=(400.0, 800.0)))
    crops = hands.crops(range(200), 8)
    chain = crops.joints_mm[:, [MSRA21.joints.index(name) for name in ("wrist", "middle_mcp", "middle_pip")]]
    ratio = np.linalg.norm(np.diff(chain, axis=1), axis=-1).sum(axis=1) / crops.cube_mm
    assert np.log(ratio).std() < 0.12  # the error of the estimated length, and the spread of bones
    off_mm = crops.centers_mm - crops.joints_mm.mean(axis=1)
    assert off_mm.std() == pytest.approx(5.0, rel=0.1)


def test_clutter_does_not_change_the_hands() -> None:
    bare, full = (SyntheticHands(config).crops(range(20), 32) for config in (VARIED, CLUTTERED))
    for name in ("joints_mm", "centers_mm", "cube_mm", "side"):
        assert_array_equal(getattr(bare, name), getattr(full, name))
    assert ((bare.depth_mm > 0) != (full.depth_mm > 0)).any(axis=(1, 2)).mean() > 0.5


def test_noise_of_cluttered_crops_resembles_that_of_frames() -> None:
    """Crops compute no noise far behind the cube. This changes only few of their pixels."""
    config = SyntheticConfig(camera="azure-kinect-nfov", clutter=Clutter(wall=1.0), distance_mm=(400.0, 600.0))
    noisy = SyntheticHands(config)
    crops = noisy.crops(range(6))
    ideal = SyntheticHands(replace(config, noise=(0.0, 0.0))).crops(range(6))
    for k in range(6):
        frame = noisy.frame(k)
        cut = crop_hand(frame.depth_mm, frame.camera, crops.centers_mm[k], float(crops.cube_mm[k])).depth_mm
        assert (cut > 0).mean() == pytest.approx((crops.depth_mm[k] > 0).mean(), abs=0.02)
        assert np.median(np.abs(cut - ideal.depth_mm[k])[cut > 0]) < 6


def test_scenes_label_every_hand() -> None:
    hands = SyntheticHands(replace(EXACT, clutter=Clutter(second_hand=1.0)))
    scenes = [hands.scene(index) for index in range(20)]
    pairs = [scene.hands for scene in scenes if len(scene.hands) == 2]
    assert len(pairs) > 10
    for scene in scenes:
        assert_array_equal(scene.hands[0].joints_mm, scene.frame.joints_mm)
        assert scene.hands[0].pixels > 0
        assert scene.frame.sequence == ("right" if scene.hands[0].side > 0 else "left")
    for first, second in pairs:
        assert first.side == -second.side
        assert first.joints_mm.shape == second.joints_mm.shape
        assert second.joints_mm.dtype == np.float32
    shown = [(scene.frame, scene.hands[1]) for scene in scenes if len(scene.hands) == 2 and scene.hands[1].pixels > 500]
    assert shown
    for frame, second in shown:
        u, v = np.rint(project(second.joints_mm, frame.camera)[:, :2]).astype(int).T
        inside = (u >= 0) & (v >= 0) & (u < frame.depth_mm.shape[1]) & (v < frame.depth_mm.shape[0])
        assert (frame.depth_mm[v[inside], u[inside]] <= second.joints_mm[inside, 2] + 0.5).all()
    assert len(SyntheticHands(EXACT).scene(0).hands) == 1


def test_frames_without_hands() -> None:
    hands = SyntheticHands(CLUTTERED)
    for index in range(12):
        frame = hands.frame(index)
        empty = hands.empty_frame(index)
        assert empty.joints_mm is None
        assert empty.key != frame.key
        assert empty.sequence == "empty"
        assert empty.depth_mm.shape == frame.depth_mm.shape
        assert_array_equal(empty.depth_mm, SyntheticHands(CLUTTERED).empty_frame(index).depth_mm)
    with pytest.raises(ValueError, match="the configuration has no clutter"):
        SyntheticHands(VARIED).empty_frame(0)


def test_left_hands_mirror_right_hands() -> None:
    left, right = (SyntheticHands(replace(EXACT, left_share=share)) for share in (1.0, 0.0))
    mirrored = left.frame(2)
    frame = right.frame(2)
    assert (mirrored.sequence, frame.sequence) == ("left", "right")
    assert mirrored.joints_mm is not None
    assert_allclose(mirrored.joints_mm, frame.joints_mm * np.array([-1, 1, 1], np.float32), atol=1e-3)
    share = SyntheticHands(replace(EXACT, left_share=0.25)).crops(range(4 * BLOCK), 8).side
    assert (share < 0).mean() == pytest.approx(0.25, abs=0.09)


@pytest.mark.parametrize("change", [{"noise": (1.0, 0.5)}, {"cube_mm": (0.0, 1.0)}, {"left_share": 2.0}, {"seed": -1}])
def test_invalid_configurations_are_rejected(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(EXACT, **change)


def test_invalid_requests_are_rejected() -> None:
    hands = SyntheticHands(EXACT)
    with pytest.raises(IndexError, match="numbered from 0"):
        hands.frame(-1)
    with pytest.raises(ValueError, match="at least one index"):
        hands.crops([])
    with pytest.raises(ValueError, match="No camera is named"):
        SyntheticConfig(camera="webcam")


def check_written(dataset: HandDataset, as_format: Format, first: int, order: list[int], *, noise: float) -> None:
    """Check that frame i of the data set equals frame first + order[i] of the stream."""
    hands = SyntheticHands(config_of(as_format, seed=1, noise=noise))
    rounding = 1e-3 if as_format == "msra" else 0.5001
    assert dataset.problems == []
    assert len(dataset) == len(order)
    for i, place in enumerate(order):
        frame = dataset[i]
        made = hands.frame(first + place)
        assert frame.joints_mm is not None
        assert_allclose(frame.joints_mm, made.joints_mm, atol=0.01)
        expected = made.depth_mm
        if as_format == "icvl":
            expected = np.where(np.rint(expected) < 500, expected, 0)
        assert_allclose(frame.depth_mm, expected, atol=rounding)
        assert_array_equal(frame.depth_mm > 0, expected > 0)


@pytest.mark.parametrize("as_format", [name for name in FORMAT_DEFAULTS if name != "h2o3d"])  # two frames an image
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_readers_return_the_written_frames(tmp_path: Path, as_format: Format, noise: float) -> None:
    out = tmp_path / "out"
    counts = synthesize(as_format, 4, out, seed=1, noise=noise, progress=False)
    split = as_format in WITH_SPLIT
    assert counts == ({"train": 4, "test": 2} if split else {"frames": 4})
    assert not list(out.rglob("*.part*"))
    check_written(open_dataset(f"{as_format}:{out}"), as_format, 0, [0, 1, 2, 3], noise=noise)
    if split:
        check_written(open_dataset(str(out), "test"), as_format, 4, [0, 1], noise=noise)


def test_readers_select_subjects_and_sequences(tmp_path: Path) -> None:
    for as_format in ("nyu", "icvl", "msra", "cvar"):
        synthesize(as_format, 3, tmp_path / as_format, progress=False)
    assert ICVL(tmp_path / "icvl", "test", ["seq2"]).skeleton == ICVL16
    assert NYU(tmp_path / "nyu", "test").skeleton == NYU36
    assert len(MSRA(tmp_path / "msra", ["P2"])) == len(CVAR(tmp_path / "cvar", ["P3"])) == 1


def test_recordings_support_any_camera_and_skeleton(tmp_path: Path) -> None:
    synthesize("recording", 2, tmp_path / "r", camera="realsense-sr305", skeleton="nyu36", progress=False)
    dataset = open_dataset(str(tmp_path / "r"))
    assert dataset.skeleton == NYU36
    assert dataset[0].depth_mm.shape == (480, 640)


def test_data_sets_may_have_clutter(tmp_path: Path) -> None:
    for clutter in (False, True):
        out = tmp_path / str(clutter)
        synthesize("recording", 3, out, camera="realsense-sr305", noise=0.0, clutter=clutter, progress=False)
    bare, whole = (open_dataset(str(tmp_path / str(clutter))) for clutter in (False, True))
    pixels = [sum(np.count_nonzero(data[k].depth_mm) for k in range(3)) for data in (bare, whole)]
    assert pixels[1] > 1.2 * pixels[0]
    for k in range(3):
        one = bare[k].joints_mm
        other = whole[k].joints_mm
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(one, other)


def test_existing_folders_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    for as_format in FORMAT_DEFAULTS:
        with pytest.raises(FileExistsError, match="not an empty folder"):
            synthesize(as_format, 1, tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_invalid_options_are_rejected(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="recordings only: nyu always has nyu-kinect"):
        synthesize("nyu", 1, out, camera="realsense-d435", progress=False)
    with pytest.raises(ValueError, match="Unknown skeleton 'hand'"):
        synthesize("recording", 1, out, skeleton="hand", progress=False)
    with pytest.raises(ValueError, match="at least one frame"):
        synthesize("nyu", 0, out, progress=False)
    with pytest.raises(ValueError, match="cvar has no test split"):
        synthesize("cvar", 1, out, test_frames=1, progress=False)
    with pytest.raises(ValueError, match="two test sequences"):
        synthesize("icvl", 1, out, test_frames=1, progress=False)
    assert not out.exists()


def test_the_command_writes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    arguments = ["crossnets", "synthesize", "--as", "cvar", "--frames", "2", "--noise", "0", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    assert "2 frames" in capsys.readouterr().out
    assert len(open_dataset(f"cvar:{out}")) == 2
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
    assert "not an empty folder" in capsys.readouterr().err
