import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crossnets.inference import bundle
from crossnets.inference.torch_models import Detector, DetectorConfig
from crossnets.models.detector import DetectorNet, DetectorNetConfig

SMALL = DetectorNetConfig(widths=(8, 8, 8, 8), depths=(1, 1, 1))


def detector(config: DetectorNetConfig = SMALL, seed: int = 3) -> Detector:
    networks = DetectorNet(config, torch.Generator().manual_seed(seed))
    return Detector(DetectorConfig(preset="detector", networks=config, threshold=0.25), networks)


@pytest.mark.parametrize("size", [(128, 160), (96, 128), (16, 32)])
def test_maps_are_a_quarter_of_images_of_any_size(size: tuple[int, int]) -> None:
    maps = detector().networks(torch.zeros(2, 2, *size))
    assert maps.shape == (2, 6, size[0] // 4, size[1] // 4)


def test_scores_begin_rare() -> None:
    maps = detector().networks(torch.zeros(1, 2, 64, 64))
    assert float(torch.sigmoid(maps[:, 0]).max().detach()) < 0.1


def test_the_shipped_sizes_fit() -> None:
    networks = DetectorNet(DetectorNetConfig(), torch.Generator().manual_seed(0))
    assert sum(value.numel() for value in networks.parameters()) < 180_000


def test_a_folder_gives_the_detector_back(tmp_path: Path) -> None:
    made = detector()
    bundle.save(made, tmp_path)
    assert bundle.is_detector(tmp_path)
    loaded = bundle.load_detector(tmp_path)
    assert loaded.config == made.config
    images = np.random.default_rng(0).random((1, 2, 32, 32), dtype=np.float32)
    np.testing.assert_array_equal(loaded.maps(images), made.maps(images))


def test_folders_of_other_programs_raise(tmp_path: Path) -> None:
    bundle.save(detector(), tmp_path)
    assert not bundle.is_detector(tmp_path / "none")
    with pytest.raises(ValueError, match="'crossnets-detector-bundle' version 1, not 'crossnets-bundle'"):
        bundle.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"config\.json is missing"):
        bundle.load_detector(tmp_path / "none")
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"networks": {"widths": [8, 8, 8, 16]}}))
    with pytest.raises(ValueError, match="must come from the same run"):
        bundle.load_detector(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"networks": {"widths": [8, 8, 8, -8]}}))
    with pytest.raises(ValueError, match=r"describes networks of sizes that cannot be built: .*negative"):
        bundle.load_detector(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config | {"threshold": 7}))
    with pytest.raises(ValueError, match="not a hand detector of this version"):
        bundle.load_detector(tmp_path)


def test_thresholds_travel(tmp_path: Path) -> None:
    made = detector()
    made.config = replace(made.config, threshold=0.6)
    bundle.save(made, tmp_path)
    assert bundle.load_detector(tmp_path).model.threshold == 0.6
