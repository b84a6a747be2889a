"""The model of the package has the properties that the README states."""

import json
import pickle
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import onnx
import pytest

import crossnets
from crossnets import Tracker
from crossnets.cli.evaluate import evaluate
from crossnets.cli.predict import predict
from crossnets.evaluation.predictions import read_predictions
from crossnets.geometry.skeleton import MEDIAPIPE21
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter
from crossnets.weights import SHIPPED

CAMERA = "realsense-d435"
FRAMES = 24


@pytest.fixture(scope="module")
def hands() -> SyntheticHands:
    """Frames that no training sees."""
    return SyntheticHands(SyntheticConfig(camera=CAMERA, seed=10**12 + 31, noise=(0.5, 1.5), clutter=Clutter()))


def test_it_is_small_enough() -> None:
    sizes = {path.name: path.stat().st_size for path in SHIPPED.iterdir() if path.is_file()}
    assert {"model.onnx", "detector.onnx", "weights.safetensors", "config.json", "README.md"} <= set(sizes)
    assert sum(sizes.values()) < 8e6


def test_the_file_contains_no_trace_of_its_machine() -> None:
    for path in SHIPPED.glob("*.onnx"):
        assert b"crossnets/export.py" not in path.read_bytes(), path


def test_it_gives_the_joints_in_the_order_of_mediapipe(hands: SyntheticHands) -> None:
    frame = next(hands.frame(k) for k in range(FRAMES) if crossnets.load().predict(hands.frame(k).depth_mm, CAMERA))
    tracker = crossnets.load()
    (own, *_) = tracker.predict(frame.depth_mm, CAMERA)
    tracker.estimator = tracker.estimator.speaking(MEDIAPIPE21)
    (hand, *_) = tracker.predict(frame.depth_mm, CAMERA)
    assert hand.skeleton == MEDIAPIPE21
    assert hand.skeleton.joints[1:6] == ("thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip", "index_mcp")
    for name, joint, std in zip(hand.skeleton.joints, hand.joints_mm, hand.std_mm, strict=True):  # pyright: ignore[reportArgumentType]
        row = own.skeleton.joints.index(name)
        np.testing.assert_allclose(joint, own.joints_mm[row], atol=0.01)  # the mean joint is rounded in another order
        assert own.std_mm is not None
        assert std == pytest.approx(own.std_mm[row], rel=1e-3)


def test_a_folder_s_own_detector_is_used(hands: SyntheticHands, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    for name in ("model.onnx", "weights.safetensors", "config.json"):
        (run / "model" / name).write_bytes((SHIPPED / name).read_bytes())
    frame = hands.frame(0)
    plain = crossnets.load(run).predict(frame.depth_mm, CAMERA)
    assert plain
    # The same network with another sensitivity, so that no place in the image is a candidate.
    proto = onnx.load(SHIPPED / "detector.onnx")
    (described,) = [entry for entry in proto.metadata_props if "threshold" in entry.value]
    described.value = described.value.replace("0.05", "0.999999")
    onnx.save(proto, run / "model" / "detector.onnx")
    for path in (run, run / "model"):
        assert not crossnets.load(path).predict(frame.depth_mm, CAMERA)
    predict((str(run), "virtual"), out=tmp_path / "out", first=1, draw=False)
    (found,) = read_predictions(tmp_path / "out" / "predictions.jsonl").frames
    assert found.joints_mm is None


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_hands_in_whole_frames(hands: SyntheticHands, runtime: str) -> None:
    pytest.importorskip(runtime)
    tracker = crossnets.load(runtime=runtime)  # pyright: ignore[reportArgumentType]
    errors, sides = [], []
    for index in range(FRAMES):
        scene = hands.scene(index)
        for hand in tracker.predict(scene.frame.depth_mm.astype(np.uint16), CAMERA):
            apart = [np.linalg.norm(hand.joints_mm - true.joints_mm, axis=-1).mean() for true in scene.hands]
            errors.append(min(apart))
            sides.append((hand.side == "right") == (scene.hands[int(np.argmin(apart))].side > 0))
    assert len(errors) > 0.75 * FRAMES
    assert np.median(errors) < 20
    assert np.mean(sides) > 0.8


def test_frames_without_hands_are_empty(hands: SyntheticHands) -> None:
    tracker = crossnets.load(runtime="onnxruntime")
    found = [len(tracker.predict(hands.empty_frame(index).depth_mm, CAMERA)) for index in range(3 * FRAMES)]
    assert sum(found) <= 3, "the card's share of such frames is below 1 %"
    assert tracker.predict(np.zeros((480, 640), np.uint16), CAMERA) == []
    assert tracker.predict(np.full((480, 640), 800, np.uint16), CAMERA) == []


def test_prediction_works_without_torch() -> None:
    script = (
        "import sys, numpy as np, crossnets\n"
        "tracker = crossnets.load(runtime='onnxruntime')\n"
        "tracker.predict(np.zeros((480, 640), np.uint16), 'realsense-d435')\n"
        "tracker.track(np.full((480, 640), 600, np.uint16), 'realsense-d435')\n"
        "print(sorted({'torch', 'numba', 'matplotlib', 'scipy'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_signal_after_trackers_are_gone_is_harmless() -> None:
    """OpenVINO leaves the thread with a stack for signals that it freed, unless its core stays."""
    pytest.importorskip("openvino")
    script = (
        "import gc, signal, crossnets\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('heard'))\n"
        "first, second = (crossnets.load(runtime='openvino') for _ in range(2))\n"
        "del first; gc.collect()\n"
        "del second; gc.collect()\n"
        "signal.raise_signal(signal.SIGTERM)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n")


@pytest.mark.real
def test_real_frames_of_a_sensor_it_never_saw(tmp_path: Path, real_data: Path) -> None:
    """Looser than the numbers of the model card: it guards against breaking, not against getting a little worse."""
    evaluate(data=f"cvar:{real_data / 'cvar'}#P5", out=tmp_path, json=True)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["frames"], scores["missed"]) == (371, 0)
    assert scores["mean_mm"] < 15


@pytest.mark.parametrize("hands", [0, 3])
def test_the_number_of_hands_is_limited(hands: int) -> None:
    with pytest.raises(ValueError, match=f"hands={hands}: expected 1 to 2"):
        crossnets.load(hands=hands)


def test_arguments_of_wrong_types_are_explained() -> None:
    # In another process, because the tests check the types of all arguments before.
    code = (
        "import crossnets, numpy as np\n"
        "image = np.zeros((480, 640), 'uint16')\n"
        "calls = (lambda: crossnets.load(precision='fp16'), lambda: crossnets.predict(image),\n"
        "         lambda: crossnets.load().predict(image, 'd436'),\n"
        "         lambda: crossnets.load(hands=1.5), lambda: crossnets.load(hands=1.0),\n"
        "         lambda: crossnets.load(smooth=3), lambda: crossnets.load().track(image, 'd435', time_s='1'),\n"
        "         lambda: crossnets.load().predict([[1, 2], [3]], 'd435'))\n"
        "for call in calls:\n"
        "    try: call()\n"
        "    except (TypeError, ValueError) as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    precision, image, camera, *options, time_s, ragged = done.stdout.splitlines()
    assert precision == "ValueError precision='fp16': expected float32, bfloat16, int8."
    assert image.startswith("TypeError Found an array of shape (480, 640), expected the name of a source.")
    assert "call crossnets.load().predict(depth_mm, camera)" in image
    assert camera.startswith("ValueError No camera is named 'd436'. Did you mean d435?")
    assert options == [
        "ValueError hands=1.5: expected 1 to 2. The detector finds no more hands in an image.",
        "ValueError hands=1.0: expected a whole number, 1 or more.",
        "ValueError smooth=3: expected True, False or a OneEuroConfig.",
    ]
    assert time_s == "ValueError Found the time '1', expected a finite number of seconds."
    assert ragged.startswith("ValueError Found a list whose rows differ in length, expected a depth image")


def _found_in(job: tuple[Tracker, np.ndarray]) -> tuple[str, int]:
    """Runs in another process."""
    tracker, depth_mm = job
    return repr(tracker), len(tracker.predict(depth_mm, "realsense-d435"))


def test_a_tracker_is_loaded_again_in_a_spawned_process() -> None:
    tracker = crossnets.load(hands=1, side="left")
    with get_context("spawn").Pool(1) as pool:
        (answer,) = pool.map(_found_in, [(tracker, np.zeros((480, 640), np.uint16))])
    assert answer == (repr(tracker), 0)
    again = pickle.loads(pickle.dumps(tracker))
    assert (again.hands, again.side) == (1, "left")


def test_pickling_a_tracker_without_load_explains_the_error() -> None:
    made = crossnets.load()
    with pytest.raises(TypeError, match=r"not made by crossnets\.load.*Pickle a tracker"):
        pickle.dumps(Tracker(made.estimator, made.finder))
