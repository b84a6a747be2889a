"""The output that says whether a crop shows a hand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from crossnets.export.networks import to_onnx
from crossnets.geometry.camera import project, unproject
from crossnets.inference import bundle
from crossnets.inference.detector import Detection, DetectorModel, HandDetector
from crossnets.inference.engines import load_exported
from crossnets.inference.estimator import Estimates
from crossnets.inference.hands import SCORE_WEIGHT, hand_odds
from crossnets.inference.torch_models import Estimator
from crossnets.inference.tracker import Image
from crossnets.models.dense_crossing import DenseCrossing
from crossnets.models.networks import build
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.training import hand_output
from crossnets.training.hand_output import Examples, examples, with_hand_output
from crossnets.training.loop import _start_from
from crossnets.training.presets import crossnets


def hands_and_balls(count: int) -> Examples:
    """Crops of rendered hands, and crops of balls. Each frame has one of both."""
    crops = SyntheticHands(SyntheticConfig(seed=5)).crops(range(count))
    depth = crops.depth_mm - crops.centers_mm[:, 2, None, None]
    hands = np.where(crops.depth_mm > 0, np.clip(depth / 125, -1, 1), 1)
    at = (np.arange(128) - 63.5) / 64
    radius = np.linspace(0.2, 0.8, count)[:, None, None]
    inside = radius**2 - at**2 - at[:, None] ** 2
    balls = np.where(inside > 0, -np.sqrt(np.maximum(inside, 0)), 1)
    return Examples(
        torch.from_numpy(np.concatenate([hands, balls])).half()[:, None],
        torch.zeros(2 * count),
        torch.arange(2 * count) < count,
        torch.arange(2 * count) % count,
    )


@pytest.fixture(scope="module")
def trained() -> tuple[Estimator, Estimator, Examples]:
    """The model of the package without and with a new output, and what it was trained on."""
    before = bundle.load()
    shown = hands_and_balls(60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hand_output, "_STEPS", 60)
        return before, with_hand_output(bundle.load(), shown, seed=1), shown


def test_hands_are_told_from_balls(trained: tuple[Estimator, Estimator, Examples]) -> None:
    _, estimator, shown = trained
    found = estimator.run(shown.crops.float().numpy()).hand
    assert found is not None
    assert (found[shown.hand] > 0).mean() > 0.9
    assert (found[~shown.hand] > 0).mean() < 0.05


def test_all_else_stays_as_it_was(trained: tuple[Estimator, Estimator, Examples]) -> None:
    before, after, shown = trained
    images = shown.crops[:4].float().numpy()
    old, new = before.run(images), after.run(images)
    for name in ("joints", "log_spread", "side", "log_size"):
        np.testing.assert_array_equal(getattr(old, name), getattr(new, name))


def test_the_threshold_allows_a_share_of_false_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_output, "_STEPS", 1)
    monkeypatch.setattr(hand_output, "FALSE_SHARE", 0.25)
    shown = hands_and_balls(60)
    estimator = with_hand_output(bundle.load(), shown, seed=1)
    checked = (shown.frame % 5 == 0) & ~shown.hand
    found = estimator.run(shown.crops[checked].float().numpy()).hand
    assert found is not None
    above = found > 1e-3
    assert above.sum() == 3, "a quarter of the twelve frames that set the threshold"


def test_the_output_is_saved_and_exported(trained: tuple[Estimator, Estimator, Examples], tmp_path: Path) -> None:
    _, estimator, shown = trained
    images = shown.crops[:3].float().numpy()
    expected = estimator.run(images).hand
    bundle.save(estimator, tmp_path)
    to_onnx(estimator, tmp_path / "model.onnx")
    for loaded in (bundle.load(tmp_path), load_exported(tmp_path / "model.onnx", "onnxruntime")):
        found = loaded.run(images).hand
        assert found is not None
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_output_and_the_score_decide_together() -> None:
    joints = np.ones((3, 21, 3), np.float32)
    hand = np.array([2.0, -2.0, 0.5], np.float32)
    odds = hand_odds(Estimates(joints, hand=hand), [0.5, 0.99, 0.2])
    logits = np.log([0.5 / 0.5, 0.99 / 0.01, 0.2 / 0.8])
    np.testing.assert_allclose(odds, SCORE_WEIGHT * logits + hand, rtol=1e-6)
    assert (odds > 0).tolist() == [True, True, False]
    far = joints * np.array([1.0, 1.0, 2500.0], np.float32)
    assert (hand_odds(Estimates(far, hand=hand), [0.5, 0.99, 0.2]) == -np.inf).all(), "no hand was learned so far away"


def test_a_training_may_start_from_a_model_with_the_output(
    trained: tuple[Estimator, Estimator, Examples], tmp_path: Path
) -> None:
    _, estimator, _ = trained
    bundle.save(estimator, tmp_path)
    config = crossnets()
    networks = build(config.networks, torch.Generator().manual_seed(0))
    _start_from(tmp_path, networks, config)
    assert isinstance(networks, DenseCrossing)
    assert networks.dense.hand is None
    assert isinstance(estimator.networks, DenseCrossing)
    for name, value in networks.dense.state_dict().items():
        torch.testing.assert_close(value, estimator.networks.dense.state_dict()[name])


def test_a_window_shows_the_middle_of_a_hand_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_output, "_CUT", 1.0)
    monkeypatch.setattr(hand_output, "_THINNED", 0.5)
    scene = SyntheticHands(SyntheticConfig(seed=6, noise=(0.0, 0.0))).scene(0)
    whole = Image(scene.frame.depth_mm, scene.frame.camera)
    middle = scene.hands[0].joints_mm.mean(axis=0)
    widths = set()
    for seed in range(12):
        shown = hand_output._partial(whole, [middle], np.random.default_rng(seed))
        column, row = np.round(project(middle, shown.camera)[:2]).astype(int)
        height, width = shown.depth_mm.shape
        widths.add(width)
        assert 0 <= column < width
        assert 0 <= row < height
        at = project(unproject(np.array([column, row, 1000.0]), shown.camera), whole.camera)[:2]
        assert shown.depth_mm[row, column] == whole.depth_mm[round(float(at[1])), round(float(at[0]))]
    assert max(widths) < whole.depth_mm.shape[1]
    assert len(widths) > 6


def test_a_hand_that_the_border_cuts_is_unclear() -> None:
    scene = SyntheticHands(SyntheticConfig(seed=6)).scene(0)
    joints_mm = scene.hands[0].joints_mm
    camera = scene.frame.camera
    assert hand_output._inside(joints_mm, Image(scene.frame.depth_mm, camera)) == 1
    columns = np.sort(project(joints_mm, camera)[:, 0])
    cut = Image(scene.frame.depth_mm[:, : int(columns[10])], camera)
    assert hand_output._inside(joints_mm, cut) == pytest.approx(10 / 21)


def test_candidates_of_rendered_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hand_output, "KINDS_OF_SENSOR", ("cvar-senz3d",))
    frames = list(hand_output._frames(12, 3))
    clear = [frame for frame in frames if frame.hands]
    assert 0 < len(clear) < 12
    seen = [np.count_nonzero(frame.image.depth_mm) / frame.image.depth_mm.size for frame in frames if not frame.hands]
    assert min(seen) < 0.3 < max(seen), "some frames without hands are torn"
    repeated = hand_output._frames(12, 3)
    for one, other in zip(frames, repeated, strict=True):
        np.testing.assert_array_equal(one.image.depth_mm, other.image.depth_mm)

    class AtHands(HandDetector):
        """Finds the hands of the next frame, and a place without a hand."""

        def __init__(self) -> None:
            super().__init__(lambda images: images, DetectorModel(preset="detector"))

    number = iter(range(12))

    def find(self: HandDetector, depth_mm: np.ndarray, camera: object) -> list[Detection]:
        frame = frames[next(number)]
        aside = np.array([0.0, 0.0, 2000.0], np.float32)
        places = [hand.astype(np.float32) for hand in frame.hands[:1]] + [aside]
        return [Detection(place, score, 0.5, 180.0) for place, score in zip(places[::-1], (0.5, 0.9), strict=False)]

    monkeypatch.setattr(HandDetector, "find", find)
    shown = examples(bundle.load(), AtHands(), 12, 3)
    assert len(shown.crops) == len(shown.hand) == len(shown.score) == len(shown.frame)
    assert shown.crops.shape[1:] == (1, 128, 128)
    assert 0 < int(shown.hand.sum()) <= len(clear)
    assert torch.allclose(shown.score[shown.hand], torch.logit(torch.tensor(0.9)))


def test_other_models_are_refused(trained: tuple[Estimator, Estimator, Examples]) -> None:
    _, estimator, shown = trained
    with pytest.raises(ValueError, match="all or none are hands"):
        with_hand_output(estimator, shown._replace(hand=torch.ones(120, dtype=torch.bool)), seed=1)
