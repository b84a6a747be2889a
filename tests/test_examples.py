"""The examples run, and the JavaScript example gives the joints of Python."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import matplotlib
import numpy as np
import pytest

import crossnets
from crossnets.cameras.record import record
from crossnets.cli.predict import predict
from crossnets.inference.detector import MOST_HANDS, load_detector
from crossnets.inference.hands import SAME_HAND_MM, SCORE_WEIGHT
from crossnets.inference.loading import DETECTOR
from crossnets.synth.writing import write_dataset
from crossnets.weights import SHIPPED
from tests.loading import module_at

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("examples") / "recording"
    write_dataset("recording", 4, out, camera="realsense-d435", clutter=True, progress=False)
    return out


def example(name: str) -> ModuleType:
    return module_at(EXAMPLES / f"{name}.py")


@pytest.mark.parametrize("source", ["virtual", "recording"])
def test_camera_loop_prints_a_line_for_each_hand(
    source: str, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example("camera_loop").main(str(recording) if source == "recording" else source, 3)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) >= 3
    assert all(re.fullmatch(r"hand \d+ \(\w+\): index tip at -?\d+, -?\d+, \d+ mm, \d+% sure", line) for line in lines)


def test_notebook_runs(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("Agg")
    monkeypatch.chdir(tmp_path)
    cells = json.loads((EXAMPLES / "first_hands.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    found = names["found"]
    assert isinstance(found, list)
    assert len(found) == 6
    assert any(found)


def test_point_cloud_writes_a_file(recording: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    example("point_cloud").main(str(recording), str(tmp_path / "hands.rrd"))
    assert (tmp_path / "hands.rrd").stat().st_size > 100_000


def test_the_readme_s_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with crossnets.open("virtual") as camera:
        record(camera, tmp_path / "my-recording", frames=3)
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (EXAMPLES.parent / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
        assert re.search(r"^(left|right) \[", capsys.readouterr().out, re.MULTILINE)


@pytest.fixture(scope="module")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with its dependency installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("javascript")
    shutil.copytree(EXAMPLES / "javascript", folder, dirs_exist_ok=True)
    words = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    if done.returncode:
        pytest.skip(f"npm cannot install onnxruntime-web here: {done.stderr[-200:]}")
    return folder


def test_javascript_has_the_constants_of_python() -> None:
    code = (EXAMPLES / "javascript" / "hands.js").read_text(encoding="utf-8")
    threshold = load_detector(SHIPPED / DETECTOR).model.threshold
    for text in (
        f"threshold: {threshold:g},",
        f"MOST_HANDS = {MOST_HANDS};",
        f"{SCORE_WEIGHT:g} * Math.log(score",
        f"< {SAME_HAND_MM:g})",
    ):
        assert text in code


def test_python_the_command_and_javascript_give_the_same_joints(
    javascript: Path, recording: Path, tmp_path: Path
) -> None:
    predict((str(recording),), out=tmp_path / "found", draw=False)
    _, *lines = map(json.loads, (tmp_path / "found" / "predictions.jsonl").read_text().splitlines())
    weights = Path(crossnets.__file__).parent / "weights"
    tracker = crossnets.load()
    with crossnets.open(str(recording)) as source:
        frames = list(source)
    for number, frame in enumerate(frames):
        frame.depth_mm.astype("<u2").tofile(javascript / f"{number}.u16")
        camera = dict(zip(("fx", "fy", "cx", "cy"), frame.camera, strict=True))
        height, width = frame.depth_mm.shape
        described = {"width": width, "height": height, "camera": camera, "depth": f"{number}.u16"}
        (javascript / f"{number}.json").write_text(json.dumps(described))
    done = subprocess.run(
        ["node", "run.js", str(weights), *(f"{number}.json" for number in range(len(frames)))],
        cwd=javascript, capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    compared = 0
    for frame, line, printed in zip(frames, lines, done.stdout.splitlines(), strict=True):
        theirs = json.loads(printed)
        ours = tracker.predict(frame.depth_mm.astype(np.uint16), frame.camera)
        assert [hand["side"] for hand in theirs] == [hand.side for hand in ours]
        for hand, other, written in zip(ours, theirs, line["hands"], strict=True):
            np.testing.assert_allclose(written["joints_mm"], hand.joints_mm, rtol=0, atol=0.01)
            np.testing.assert_allclose(other["joints"], hand.joints_mm, rtol=0, atol=0.01)
            np.testing.assert_allclose(other["std"], hand.std_mm, rtol=0, atol=0.01)
            compared += 1
    assert compared >= 3
