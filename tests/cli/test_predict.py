import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from crossnets import cli
from crossnets.cli.doctor import doctor
from crossnets.cli.pictures import overlay
from crossnets.cli.predict import predict_command
from crossnets.datasets.image_sources import ImageFiles
from crossnets.datasets.opening import open_dataset
from crossnets.evaluation.predictions import read_predictions
from crossnets.geometry.camera import camera_named, project
from crossnets.geometry.skeleton import CVAR21
from crossnets.inference import bundle, predict
from crossnets.inference.loading import candidates_of, model_name
from crossnets.inference.torch_models import Estimator, EstimatorConfig
from crossnets.models.networks import build
from crossnets.training import presets
from crossnets.types import PredictedFrame
from tests.datasets.make import Made, make_cvar, make_recording

OPTIONS: dict[str, Any] = {"camera": None, "refinement": "none", "centers": "image", "split": "test", "draw": True}
MSRA = {"camera": "msra-senz3d"}


def save_model(folder: Path, shared_latent: bool = True, metric_learned: bool = False) -> Path:
    networks = presets.paper_networks(21, shared_latent=shared_latent)
    config = EstimatorConfig(preset="paper", skeleton="cvar21", networks=networks)
    built = build(networks, torch.Generator().manual_seed(3))
    if metric_learned:
        built.get_buffer("disc.met.convs.1.num_batches_tracked").fill_(1)
    bundle.save(Estimator(config, built), folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("model"))


def empty(path: Path) -> None:
    Image.fromarray(np.zeros((240, 320), np.uint16)).save(path)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def test_a_data_set_is_predicted_frame_by_frame(model: Path, tmp_path: Path) -> None:
    root = make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 0.9}, frames=40).root
    out = tmp_path / "out"
    predict_command(model, [f"cvar:{root}#P4"], out=out, **OPTIONS | {"draw": False})
    found = read_predictions(out / "predictions.jsonl")
    assert (found.header.skeleton, found.header.centers, found.header.model) == ("cvar21", "image", model_name(model))
    assert str(model.parent) not in found.header.model
    assert [frame.key for frame in found.frames] == [f"cvar/P4/{i:06d}" for i in range(40)]
    estimator = bundle.load(model)
    candidates = candidates_of("image", estimator)
    expected = predict.predict_dataset(estimator, open_dataset(f"cvar:{root}#P4"), candidates, [])
    for frame, one in zip(found.frames, expected, strict=True):
        assert frame.joints_mm is not None
        assert one.joints_mm is not None
        np.testing.assert_allclose(frame.joints_mm, one.joints_mm, atol=1e-3)
    assert [path.name for path in out.iterdir()] == ["predictions.jsonl"]


def test_files_folders_and_recordings_go_together(model: Path, images: Made, tmp_path: Path) -> None:
    recording = make_recording(tmp_path / "rec").root
    other = tmp_path / "other"
    shutil.copytree(images.root, other)
    given = [str(images.root), str(other / "000000.png"), str(recording)]
    out = tmp_path / "out"
    predict_command(model, given, out=out, **OPTIONS | MSRA)
    keys = [frame.key for frame in read_predictions(out / "predictions.jsonl").frames]
    expected = [f"{images.root}/{i:06d}.png" for i in range(4)] + [f"{other}/000000.png"]
    assert keys == expected + [f"recording/rec/{i:06d}" for i in range(3)]
    overlays = sorted(path.name for path in (out / "overlays").iterdir())
    assert len(overlays) == 8
    assert overlays[:3] == [f"recording_rec_{i:06d}.png" for i in range(3)]


def test_recordings_of_one_name_keep_their_frames_apart(model: Path, tmp_path: Path) -> None:
    roots = [str(make_recording(tmp_path / parent / "rec", frames=1).root) for parent in "ab"]
    predict_command(model, roots, out=tmp_path / "out", **OPTIONS)
    keys = [frame.key for frame in read_predictions(tmp_path / "out" / "predictions.jsonl").frames]
    assert keys == ["recording/rec/000000", "recording/rec/000000-2"]
    assert len(list((tmp_path / "out" / "overlays").iterdir())) == 2


def test_overlays_show_the_skeleton_over_the_depth(images: Made) -> None:
    path = images.root / "000000.png"
    frame = ImageFiles([path], camera_named("msra-senz3d"))[0]
    found = PredictedFrame(frame.key, "", np.zeros(3, np.float32), images.joints_mm[0])
    missed = PredictedFrame(frame.key, "", None, None)
    with_skeleton, without = overlay(frame, found, CVAR21), overlay(frame, missed, CVAR21)
    assert with_skeleton.shape == without.shape == (480, 640, 3)
    assert (without[:40] > 200).any()  # the words "no hand found"
    for joint, name in enumerate(CVAR21.joints):
        if name.endswith("tip"):
            u, v = np.round(2 * project(images.joints_mm[0], frame.camera)[joint, :2] + 0.5).astype(int)
            np.testing.assert_allclose(with_skeleton[v, u], 255 * np.array(CVAR21.colours[joint]), atol=2)
            assert images.depth_mm[0, v // 2, u // 2] > 0
            assert np.ptp(without[v, u].astype(int)) < 70  # surfaces are nearly grey


def test_frames_without_a_hand_and_broken_ones_are_told(
    model: Path, images: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty(images.root / "000001.png")
    truncate(images.root / "000002.png")
    out = tmp_path / "out"
    predict_command(model, [str(images.root)], out=out, **OPTIONS | MSRA)
    frames = read_predictions(out / "predictions.jsonl").frames
    assert [Path(frame.key).stem for frame in frames] == ["000000", "000001", "000003"]
    assert [frame.joints_mm is None for frame in frames] == [False, True, False]
    assert len(list((out / "overlays").iterdir())) == 3
    told = capsys.readouterr().err
    assert "3 frames, 2 with a hand" in told
    assert f"No hand found in 1, whose joints are null: {images.root}/000001.png" in told
    assert f"  {images.root}/000002.png: the PNG is truncated" in told
    (problem,) = (out / "problems.jsonl").read_text().splitlines()
    assert json.loads(problem)["path"] == f"{images.root}/000002.png"


def test_a_single_frame_is_told_in_the_singular(
    model: Path, images: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predict_command(model, [str(images.root / "000000.png")], out=tmp_path / "out", **OPTIONS | MSRA)
    assert "predictions.jsonl: 1 frame, 1 with a hand." in capsys.readouterr().err


@pytest.mark.parametrize(("command", "given"), [(cli.predict.predict, ("realsens",)), (doctor, "realsens")])
def test_a_mistyped_camera_is_guessed(command: Callable[[Any], None], given: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"realsens.*Did you mean realsense\?"):
        command(given)


def test_nothing_is_written_when_no_frame_can_be_read(model: Path, images: Made, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"None of the 4 frames.*found an image of 320x240 pixels, expected 640x480"):
        predict_command(model, [str(images.root)], out=tmp_path / "out", **OPTIONS | {"camera": "nyu-kinect"})
    assert not list((tmp_path / "out").iterdir())


def test_long_names_in_any_script_are_drawn(model: Path, images: Made, tmp_path: Path) -> None:
    long = tmp_path / f"{'手' * 80}.png"
    shutil.copy(images.root / "000000.png", long)
    predict_command(model, [str(long)], out=tmp_path / "out", **OPTIONS | MSRA)
    (picture,) = (tmp_path / "out" / "overlays").iterdir()
    assert picture.name == f"{'手' * 50}.png"


def test_numbers_of_a_camera_are_of_one_image_size(model: Path, images: Made, tmp_path: Path) -> None:
    """Its middle would be the corner of smaller ones."""
    small = images.root / "small.png"
    Image.fromarray(np.full((120, 160), 600, np.uint16)).save(small)
    files = [str(path) for path in sorted(images.root.glob("0*.png"))]
    predict_command(model, [*files, str(small)], out=tmp_path / "out", **OPTIONS | {"camera": "241,241,160,120"})
    assert len(read_predictions(tmp_path / "out/predictions.jsonl").frames) == 4
    (line,) = (tmp_path / "out/problems.jsonl").read_text().splitlines()
    assert "160x120" in line
    assert "320x240" in line


def test_predictions_are_not_overwritten(model: Path, images: Made, tmp_path: Path) -> None:
    predict_command(model, [str(images.root)], out=tmp_path / "out", **OPTIONS | MSRA)
    before = (tmp_path / "out" / "predictions.jsonl").read_bytes()
    with pytest.raises(FileExistsError, match=r"predictions\.jsonl is there already and is not overwritten"):
        predict_command(model, [str(images.root)], out=tmp_path / "out", **OPTIONS | MSRA)
    assert (tmp_path / "out" / "predictions.jsonl").read_bytes() == before


def test_the_problems_of_a_run_are_not_overwritten(model: Path, images: Made, tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text("of the training")
    with pytest.raises(FileExistsError, match=r"problems\.jsonl is there already"):
        predict_command(model, [str(images.root)], out=tmp_path, **OPTIONS | MSRA)
    assert (tmp_path / "problems.jsonl").read_text() == "of the training"


def test_a_metric_that_did_not_learn_cannot_refine(model: Path, images: Made, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"its metric head was not trained \(--no-smoothness\)"):
        predict_command(model, [str(images.root)], out=tmp_path, **OPTIONS | MSRA | {"refinement": "update"})


def test_refinement_needs_a_latent_space(images: Made, tmp_path: Path) -> None:
    plain = save_model(tmp_path / "plain", shared_latent=False)
    learned = save_model(tmp_path / "learned", metric_learned=True)
    one = [str(images.root / "000000.png")]
    with pytest.raises(ValueError, match="without the shared latent space"):
        predict_command(plain, one, out=tmp_path / "out", **OPTIONS | MSRA | {"refinement": "update"})
    assert not (tmp_path / "out").exists()
    for refinement in ("none", "update"):
        options = OPTIONS | MSRA | {"refinement": refinement, "draw": False}
        predict_command(learned, one, out=tmp_path / refinement, **options)
    none, update = (read_predictions(tmp_path / name / "predictions.jsonl").frames[0] for name in ("none", "update"))
    assert none.joints_mm is not None
    assert update.joints_mm is not None
    assert (none.joints_mm != update.joints_mm).any()


@pytest.mark.parametrize("words", [["predict"], ["generate", "walk"]])
def test_the_command_line_runs(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    root, out = make_cvar(tmp_path / "cvar").root, tmp_path / "out"
    rest = [f"cvar:{root}"] if words == ["predict"] else ["--data", f"cvar:{root}", "--from", "0", "--to", "1"]
    monkeypatch.setattr(sys, "argv", ["crossnets", *words, str(model), *rest, "--out", str(out)])
    cli.main()
    capsys.readouterr()
    assert (out / ("predictions.jsonl" if words == ["predict"] else "walk.gif")).is_file()


def test_parts_of_a_data_set_need_no_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 1.0}).root
    words = ["predict", f"{root}#P1", "--centers", "image", "--no-draw", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["crossnets", *words])
    cli.main()
    found = read_predictions(tmp_path / "out" / "predictions.jsonl").frames
    assert [frame.sequence for frame in found] == ["P1", "P1"]
