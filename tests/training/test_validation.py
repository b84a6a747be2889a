"""Frames held back from a training, and the error of a model on them."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossnets.datasets.cvar import CVAR
from crossnets.datasets.dataset import HandDataset
from crossnets.datasets.icvl import ICVL
from crossnets.datasets.nyu import NYU
from crossnets.datasets.recording import Recording
from crossnets.geometry.skeleton import CVAR21, MSRA21, Skeleton, find_skeleton
from crossnets.inference import bundle
from crossnets.inference.detector import Detection
from crossnets.inference.hands import estimate_cubes
from crossnets.inference.loading import candidates_of
from crossnets.inference.predict import predict_frame
from crossnets.inference.torch_models import Estimator
from crossnets.metrics import joint_errors_mm
from crossnets.models.networks import build
from crossnets.synth.hand.skeleton_maps import skeleton_maps
from crossnets.training import loop, presets
from crossnets.training.config import PaperConfig, ValidationConfig
from crossnets.training.devices import Machine
from crossnets.training.session import check_held, train_command
from crossnets.training.validation import check_apart, hold_back, parse_share, read_validation
from crossnets.types import HandFrame, Pinhole
from tests.datasets.make import make_cvar, make_icvl, make_nyu, make_recording
from tests.training import small

MACHINE = Machine(device=torch.device("cpu"), workers=0)


class Names:
    """A data set of frames that nobody opens, with so many in each sequence."""

    name = "recording"
    skeleton: Skeleton | None = CVAR21
    camera = Pinhole(1.0, 1.0, 0.0, 0.0)

    def __init__(self, **frames: int) -> None:
        self.problems: list[Any] = []
        self.sequences = [name for name, count in frames.items() for _ in range(count)]

    def __len__(self) -> int:
        return len(self.sequences)

    def __getitem__(self, index: int) -> HandFrame:
        raise AssertionError("no image is needed to divide a data set")

    def sequence_of(self, index: int) -> str:
        return self.sequences[index]


def sequences(dataset: HandDataset) -> set[str]:
    return {dataset.sequence_of(index) for index in range(len(dataset))}


@pytest.mark.parametrize(("text", "share"), [("10%", 0.1), ("0.5%", 0.005), ("99%", 0.99), ("1e1%", 0.1)])
def test_shares_are_read(text: str, share: float) -> None:
    assert parse_share(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["cvar:PATH#P5", "my-frames", "10%/frames", "frames%"])
def test_other_texts_are_sources(text: str) -> None:
    assert parse_share(text) is None


@pytest.mark.parametrize("text", ["0%", "100%", "-5%", "10", "0.1", "1.2.3%"])
def test_other_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"--validation {text}: expected a share of --data above 0 and below 100"):
        parse_share(text)


@pytest.mark.parametrize("seed", range(5))
def test_whole_sequences_are_held_back(seed: int) -> None:
    data = Names(a=100, b=120, c=80, d=110, e=90)
    training, validation = hold_back(data, 0.2, seed)
    assert sequences(training).isdisjoint(sequences(validation))
    assert len(sequences(validation)) == 1
    assert len(training) + len(validation) == len(data)
    assert len(hold_back(data, 0.5, seed).validation) == pytest.approx(250, abs=50)


def test_the_seed_chooses_the_sequences() -> None:
    data = Names(a=100, b=100, c=100, d=100, e=100)
    assert len({tuple(sequences(hold_back(data, 0.2, seed).validation)) for seed in range(20)}) > 2
    assert sequences(hold_back(data, 0.2, 3).validation) == sequences(hold_back(data, 0.2, 3).validation)


def test_sequences_that_do_not_fit_the_share_are_refused() -> None:
    with pytest.raises(ValueError, match=r"--validation 10%: the data has 2 sequences.*shortest has 40\.0% of the fr"):
        hold_back(Names(a=40, b=60), 0.1, 0)
    with pytest.raises(ValueError, match="--validation 99% would hold back all 2 sequences"):
        hold_back(Names(a=40, b=60), 0.99, 0)


@pytest.mark.parametrize(("count", "share", "held"), [(100, 0.1, 10), (1000, 0.05, 50), (7, 0.3, 2), (9, 0.5, 4)])
def test_a_single_sequence_is_divided_into_blocks(count: int, share: float, held: int) -> None:
    data = Names(desk=count)
    training, validation = (set(part._indices) for part in hold_back(data, share, 0))  # pyright: ignore[reportAttributeAccessIssue]
    assert training | validation == set(range(count))
    assert training.isdisjoint(validation)
    assert len(validation) == held
    changes = sum((a in validation) != (b in validation) for a, b in pairwise(range(count)))
    assert changes <= 8


def test_frames_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(ValueError, match=r"--validation 5% of 8 frames is 0 frames, expected 1 to 7"):
        hold_back(Names(desk=8), 0.05, 0)


def test_all_cameras_of_a_moment_stay_together(tmp_path: Path) -> None:
    make_nyu(tmp_path, "train", frames=8, cameras=(1, 2))
    data = NYU(tmp_path, "train", (1, 2))
    training, validation = hold_back(data, 0.5, 0)
    keys = [{part[index].key.rpartition("/")[2] for index in range(len(part))} for part in (training, validation)]
    assert keys[0].isdisjoint(keys[1])
    assert (len(training), len(validation)) == (8, 8)


def test_rotated_copies_stay_with_their_original(tmp_path: Path) -> None:
    made = make_icvl(tmp_path, "train")
    labels = tmp_path / "Training" / "labels.txt"
    with pytest.raises(ValueError, match=r"icvl/train/45/image_0000 is a rotated copy.*icvl:PATH#2014"):
        hold_back(ICVL(made.root, "train"), 0.5, 0)
    lines = [f"{folder}/{line.split('/', 1)[1]}" for line in labels.read_text().split("\n") if line.startswith("45/")
             for folder in ("201403121135", "45/201403121135", "201403121140", "45/201403121140")]  # fmt: skip
    labels.write_text("\n".join(lines) + "\n")
    data = ICVL(made.root, "train")
    assert len(data) == 8
    training, validation = hold_back(data, 0.5, 0)
    assert (len(training), len(validation)) == (4, 4)
    kept = {data.moment_of(index)[0] for index in training._indices}  # pyright: ignore[reportAttributeAccessIssue]
    assert len(kept) == 1
    assert len(sequences(training)) == 2  # the originals and their copies


def test_validation_frames_must_not_be_trained_on(tmp_path: Path) -> None:
    data = make_cvar(tmp_path / "cvar", {"P1": 1.0, "P4": 0.8}).root
    held, source = CVAR(data, ["P4"]), f"cvar:{data}#P4"
    check_apart(held, source, [(f"cvar:{data}#P1", CVAR(data, ["P1"]))])
    check_apart(held, source, [("cvar:elsewhere", CVAR(data))])
    with pytest.raises(ValueError, match=r"--validation: P4 of cvar:.*#P4 are also trained on, as cvar:"):
        check_apart(held, source, [(f"cvar:{data}", CVAR(data))])


def test_labels_of_a_declared_skeleton_may_be_held_back(tmp_path: Path) -> None:
    joints = [{"name": "W", "parent": None, "standard": "wrist"}, {"name": "T", "parent": "W", "standard": "thumb_tip"}]
    held = Names(a=4)
    held.skeleton = find_skeleton({"name": "two", "root": "W", "joints": joints})
    check_held(held, "25%", presets.crossnets())
    held.skeleton = find_skeleton({"name": "two", "root": "W", "joints": [*joints, {"name": "strap", "parent": "W"}]})
    with pytest.raises(ValueError, match="skeleton two, with joints that the networks do not give"):
        check_held(held, "25%", presets.crossnets())
    with pytest.raises(ValueError, match=r"do not give\. Expected cvar21, or"):
        check_held(held, "25%", presets.paper(CVAR21))


def paper_model() -> Estimator:
    config = presets.paper(CVAR21)
    return config.model(build(config.networks, torch.Generator().manual_seed(0)), {})


def test_the_error_is_that_of_an_evaluation(tmp_path: Path) -> None:
    data = CVAR(make_cvar(tmp_path, {"P1": 1.0, "P4": 0.8}, frames=3).root)
    estimator = paper_model()
    candidates = candidates_of("image", estimator)
    errors = []
    for index in range(len(data)):
        frame = data[index]
        found = predict_frame(estimator, frame, candidates, force=True)
        assert found.joints_mm is not None
        assert frame.joints_mm is not None
        errors.append(joint_errors_mm(found.joints_mm[None], frame.joints_mm[None]).mean())
    validation = read_validation(data, presets.paper(CVAR21).crop, 1)
    assert len(validation.frames) == 6
    assert validation.error_mm(estimator) == pytest.approx(np.mean(errors), abs=1e-3)


def test_a_model_that_refines_takes_two_passes(tmp_path: Path) -> None:
    data = CVAR(make_cvar(tmp_path, {"P1": 1.0, "P4": 0.8}, frames=2).root)
    config = presets.crossnets()
    estimator = config.model(build(config.networks, torch.Generator().manual_seed(0)), skeleton_maps(MSRA21))
    speaking = estimator.speaking(CVAR21)
    errors = []
    for index in range(len(data)):
        frame = data[index]
        assert frame.joints_mm is not None
        center_mm = Detection.at(frame.joints_mm.mean(axis=0)).center_mm
        first, crops = estimate_cubes(speaking, frame, [(center_mm, 250.0)])
        second, _ = estimate_cubes(speaking, frame, speaking.refined_cubes(crops, first))
        errors.append(joint_errors_mm(second.joints_mm, frame.joints_mm[None]).mean())
    found = read_validation(data, config.crop, config.passes).error_mm(estimator)
    assert found == pytest.approx(np.mean(errors), rel=1e-3)


def test_nyu_is_validated_on_the_joints_that_papers_report(tmp_path: Path) -> None:
    make_nyu(tmp_path, "train", frames=2)
    data = NYU(tmp_path, "train")
    crop = replace(presets.paper(CVAR21).crop, centers="label")
    validation = read_validation(data, crop, 1)
    joints = np.stack([frame.joints_mm for frame in validation.frames])
    others = [index for index in range(36) if index not in validation.skeleton.evaluation]
    joints[:, others] += 1000.0
    moved = replace(
        validation,
        frames=tuple(frame._replace(joints_mm=one) for frame, one in zip(validation.frames, joints, strict=True)),
    )
    config = presets.paper(validation.skeleton)
    estimator = config.model(build(config.networks, torch.Generator().manual_seed(0)), {})
    assert moved.error_mm(estimator) == validation.error_mm(estimator)


def test_frames_without_a_label_or_a_hand_are_left_out(tmp_path: Path) -> None:
    made = make_recording(tmp_path / "desk", 5, MSRA21, unlabelled=(0, 3))
    broken = sorted((tmp_path / "desk").rglob("*.png"))[1]
    broken.write_bytes(b"no image")
    validation = read_validation(Recording(made.root), presets.paper(MSRA21).crop, 1)
    assert len(validation.frames) == 2
    (problem,) = validation.problems
    assert problem.path == broken


def test_no_labelled_frame_is_refused(tmp_path: Path) -> None:
    made = make_recording(tmp_path / "desk", 2, MSRA21)
    for image in made.root.rglob("*.png"):
        image.write_bytes(b"no image")
    told = "No frame of --validation has a label and a hand that was found. Left out: 2, first"
    with pytest.raises(ValueError, match=told):
        read_validation(Recording(made.root), presets.paper(MSRA21).crop, 1)


def validated(times: int = 2, shared_latent: bool = True) -> PaperConfig:
    return replace(small.config(shared_latent), validation=ValidationConfig(times=times))


def test_validations_are_spread_over_a_stage() -> None:
    config = validated(times=20)
    stages = {stage.name: stage for stage in config.stages}
    assert loop.steps_between_validations(config, stages["joint"], 100) == 5
    assert loop.steps_between_validations(config, stages["joint"], 101) == 6
    assert loop.steps_between_validations(config, stages["joint"], 3) == 1
    assert loop.steps_between_validations(config, stages["pose_vae"], 100) is None
    ours = replace(presets.crossnets(), validation=ValidationConfig())
    named = [s.name for s in ours.stages if loop.steps_between_validations(ours, s, 100) is not None]
    assert named == ["estimate"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scales = {"P1": 1.0, "P4": 0.8, "P5": 0.9}
    return make_cvar(tmp_path_factory.mktemp("cvar"), scales, frames=4).root


def train(out: Path, folder: Path, config: PaperConfig | None = None, **options: Any) -> None:
    """Train with the small configuration on all sequences of which none is held back."""
    settings = config or small.config()
    words = {"data": f"cvar:{folder}", "unlabelled": (), "labels": "all", "budget": None, "threads": None} | options
    train_command(lambda _: settings, out=out, machine=MACHINE, **words)


def validations(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if "validation_mm" in line]


def test_a_training_logs_the_error_of_what_was_held_back(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path, data, validation="33%", labels="50%")
    lines = validations(tmp_path)
    assert [(line["stage"], line["step"]) for line in lines] == [
        *(("warm_up", step) for step in (1, 2, 3, 4)),
        *(("joint", step) for step in (1, 2, 3, 4)),
    ]
    assert all(0 < line["validation_mm"] < 2000 for line in lines)
    said = capsys.readouterr().err
    assert "4 labelled and 4 unlabelled frames" in said  # half of the eight that are not held back
    assert "validation on 4 of 4 frames of P" in said
    best_mm = min(line["validation_mm"] for line in lines)
    assert f"joint 4/4 | validation {lines[-1]['validation_mm']:.1f} mm, best {best_mm:.1f}" in said
    found = json.loads((tmp_path / "config.json").read_text())
    assert found["data"]["validation"]["source"] == "33%"
    assert found["data"]["frames"] == [{"name": "cvar", "frames": 12, "sequences": ["P1", "P4", "P5"]}]
    (name,) = found["data"]["validation"]["sequences"]
    held = read_validation(CVAR(data, [name]), small.config().crop, 1)
    assert held.error_mm(bundle.load(tmp_path)) == pytest.approx(best_mm, rel=1e-5)


def test_a_source_of_its_own_is_validated_on(data: Path, tmp_path: Path) -> None:
    train(tmp_path, data, data=f"cvar:{data}#P1,P4", validation=f"cvar:{data}#P5")
    assert len(validations(tmp_path)) == 8
    found = json.loads((tmp_path / "config.json").read_text())["data"]
    assert found["validation"] == {"source": f"cvar:{data}#P5", "name": "cvar", "frames": 4, "sequences": ["P5"]}


def test_another_validation_is_another_run(data: Path, tmp_path: Path) -> None:
    stage = small.config(shared_latent=False)
    train(tmp_path, data, stage, validation="33%")
    with pytest.raises(ValueError, match=r"other settings \(data.validation.source: '33%' there, '30%' asked\)"):
        train(tmp_path, data, stage, validation="30%")
    with pytest.raises(ValueError, match=r"data.validation.frames: 4 there, None asked"):
        train(tmp_path, data, stage)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": None, "validation": "10%"}, "--validation 10% chooses among the labelled frames of --data, which is"),
        ({"validation": "33%", "stages": ("pose_vae",)}, "the stages pose_vae do not train what predicts joints"),
        ({"validation": "cvar:{data}#P5"}, "P5 of .* are also trained on"),
        ({"validation": "33%", "unlabelled": ("cvar:{data}",)}, "P. of .* are also trained on"),
        ({"validation": "{data}/../plain"}, "has no labels, so no error can be computed"),
        ({"validation": "{data}/../other"}, "have the skeleton msra21, .*Expected cvar21, or a declared skeleton"),
    ],
)
def test_other_validations_are_refused(options: dict[str, Any], message: str, data: Path, tmp_path: Path) -> None:
    if not (data.parent / "plain").is_dir():
        make_recording(data.parent / "plain", 2, None)
        make_recording(data.parent / "other", 2, MSRA21)
    words = {
        name: tuple(one.format(data=data) for one in value) if isinstance(value, tuple) else value
        for name, value in options.items()
    }
    if words["validation"] is not None:
        words["validation"] = words["validation"].format(data=data)
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", data, **words)


def test_a_detector_has_no_error_in_mm(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the preset detector estimates no joints whose errors are in mm"):
        train_command(
            presets.detector(precision="32-true"), data=None, unlabelled=(), labels="all", validation=str(tmp_path),
            budget=None, out=tmp_path / "run", threads=None, machine=MACHINE,
        )  # fmt: skip


def test_a_budget_leaves_time_for_the_validations(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "_seconds_per_step", lambda session, stage: 0.01)
    settings = replace(small.config(shared_latent=False))
    settings = replace(settings, stages=(replace(settings.stages[0], epochs=1000, min_steps=0),))
    plans = []
    for seconds in (0.0, 0.2, 1e9):
        monkeypatch.setattr(loop, "_seconds_of_validations", lambda session, seconds=seconds: seconds)
        monkeypatch.setattr(loop, "_run_stages", lambda session, console: plans.append(session.plan))
        train(tmp_path / str(seconds), data, settings, validation="33%", budget="1s")
    assert plans == [[100], [80], [50]]
