"""An estimator as a folder: weights.safetensors and config.json; nothing is unpickled."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from crossnets.atomic import replacing, write_text
from crossnets.models.crossing import CrossingNetsConfig, build
from crossnets.models.estimator import Estimator, EstimatorConfig
from crossnets.models.pose_vae import PoseVAEConfig

FORMAT = "crossnets-bundle"
VERSION = 1


def save(estimator: Estimator, folder: Path) -> None:
    """Write the folder; each file appears whole or not at all."""
    weights = {name: value.contiguous() for name, value in estimator.networks.state_dict().items()}
    config = {"format": FORMAT, "version": VERSION, **asdict(estimator.config)}
    with replacing(folder / "weights.safetensors") as part:
        save_file(weights, part)
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")


def load(path: Path) -> Estimator:
    """Load a bundle, or the newest bundle of a training run.

    Raises:
        FileNotFoundError: there is no bundle in the folder.
        ValueError: the folder's config or weights are not what this version writes.
    """
    folder = path if (path / "weights.safetensors").is_file() else path / "model"
    config_path, weights_path = folder / "config.json", folder / "weights.safetensors"
    for file in (config_path, weights_path):
        if not file.is_file():
            raise FileNotFoundError(
                f"No model at {path}: {file} is missing. Give a run folder of `crossnets train` (its model appears "
                "with the first checkpoint) or a folder with config.json and weights.safetensors."
            )
    config = _read_config(config_path)
    networks = build(config.networks, torch.Generator().manual_seed(0))
    try:
        weights = load_file(weights_path)
        networks.load_state_dict(weights)
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{weights_path} does not hold the networks that {config_path} describes (preset {config.preset}, "
            f"{config.skeleton}); the two files must come from one run. Detail: {str(error)[:400]}"
        ) from error
    return Estimator(config, networks)


def _read_config(path: Path) -> EstimatorConfig:
    try:
        fields: dict[str, Any] = json.loads(path.read_text())
        found = fields.pop("format", None), fields.pop("version", None)
        if found != (FORMAT, VERSION):
            raise ValueError(f"its format is {found[0]!r} version {found[1]!r}, not {FORMAT!r} version {VERSION}")
        networks = fields.pop("networks")
        vae = PoseVAEConfig(**networks.pop("pose_vae"))
        return EstimatorConfig(networks=CrossingNetsConfig(pose_vae=vae, **networks), **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not a model description of this version of crossnets: {error}") from error
