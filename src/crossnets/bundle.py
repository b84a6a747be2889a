"""An estimator as a folder: weights.safetensors and config.json; nothing is unpickled."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from crossnets.atomic import replacing, write_text
from crossnets.models.estimator import Estimator, EstimatorConfig
from crossnets.models.networks import build, config_from
from crossnets.weights import SHIPPED

FORMAT = "crossnets-bundle"
VERSION = 1
_MAPS = "maps/"
"""Before the names of skeletons, among the names of weights."""


def save(estimator: Estimator, folder: Path) -> None:
    """Write the folder; each file appears whole or not at all."""
    weights = {name: value.contiguous() for name, value in estimator.networks.state_dict().items()}
    weights |= {f"{_MAPS}{name}": torch.from_numpy(array).contiguous() for name, array in estimator.maps.items()}
    config = {"format": FORMAT, "version": VERSION, **asdict(estimator.config)}
    with replacing(folder / "weights.safetensors") as part:
        save_file(weights, part)
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")


def is_model(path: Path) -> bool:
    """Whether a path is of a bundle, or of a run that has one."""
    return (path / "weights.safetensors").is_file() or (path / "model" / "weights.safetensors").is_file()


def load(path: Path = SHIPPED) -> Estimator:
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
        tensors = {
            name: value.float() if value.is_floating_point() else value
            for name, value in load_file(weights_path).items()
        }
        maps = {name.removeprefix(_MAPS): tensors.pop(name).numpy() for name in list(tensors) if name.startswith(_MAPS)}
        networks.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(
            f"{weights_path} does not hold the networks that {config_path} describes (preset {config.preset}, "
            f"{config.skeleton}); the two files must come from one run. Detail: {str(error)[:400]}"
        ) from error
    return Estimator(config, networks, maps)


def _read_config(path: Path) -> EstimatorConfig:
    try:
        fields: dict[str, Any] = json.loads(path.read_text())
        found = fields.pop("format", None), fields.pop("version", None)
        if found != (FORMAT, VERSION):
            raise ValueError(f"its format is {found[0]!r} version {found[1]!r}, not {FORMAT!r} version {VERSION}")
        networks = config_from(fields.pop("networks"))
        return EstimatorConfig(networks=networks, **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not a model description of this version of crossnets: {error}") from error
