"""Files that version 0.1.0 wrote still load. Runs are tested in training/test_devices.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from crossnets.evaluation.predictions import read_predictions
from crossnets.inference import bundle, description
from crossnets.inference.estimator import CropModel
from crossnets.weights import SHIPPED


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The package's model as version 0.1.0 described it: `passes` was called `looks`."""
    config = json.loads((SHIPPED / "config.json").read_text())
    config["looks"] = config.pop("passes")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "weights.safetensors").write_bytes((SHIPPED / "weights.safetensors").read_bytes())
    return tmp_path


def test_a_model_folder(folder: Path) -> None:
    found = bundle.load(folder)
    assert found.config == bundle.load(SHIPPED).config
    assert found.config.passes == 2


def test_the_description_of_an_exported_network() -> None:
    model = CropModel(preset="crossnets", skeleton="msra21", passes=2)
    maps = {"icvl16": np.ones((16, 21), np.float32)}
    text = description.to_text(model, maps).replace('"passes"', '"looks"')
    assert '"looks": 2' in text
    assert description.from_text(text, "model.onnx")[0] == model


def test_predictions(tmp_path: Path) -> None:
    head = {"format": "crossnets-predictions", "version": 1, "skeleton": "msra21", "centers": "detector"}
    joints = np.zeros((21, 3)).tolist()
    line = {"key": "a", "sequence": "", "center_mm": [0, 0, 1], "joints_mm": joints}
    path = tmp_path / "predictions.jsonl"
    path.write_text("\n".join(map(json.dumps, [{**head, "model": "/somewhere/run"}, line])) + "\n")
    found = read_predictions(path)
    assert found.header.model == "/somewhere/run"
    assert not found.header.forced_marked
    assert not found.frames[0].forced
