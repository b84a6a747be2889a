"""Save and load estimators and detectors as folders with weights.safetensors and config.json. Nothing is unpickled."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from crossnets.atomic import replacing, write_text
from crossnets.geometry.skeleton import find_skeleton
from crossnets.inference.description import fields_of
from crossnets.inference.estimator import current_names
from crossnets.inference.torch_models import Detector, DetectorConfig, Estimator, EstimatorConfig
from crossnets.json_text import parse_json
from crossnets.models.detector import DetectorNet, DetectorNetConfig
from crossnets.models.networks import build, config_from
from crossnets.weights import SHIPPED

FORMAT = "crossnets-bundle"
DETECTOR_FORMAT = "crossnets-detector-bundle"
VERSION = 1
_MAPS = "maps/"
"""Prefix of the names of skeleton maps among the names of weights."""
Built = TypeVar("Built")


def save(model: Estimator | Detector, folder: Path, *, half: bool = False) -> None:
    """Write the folder. Each file appears whole or not at all. `half` stores kernels and matrices as float16."""
    weights = {name: value.contiguous() for name, value in model.networks.state_dict().items()}
    if half:
        weights = {name: value.half() if value.ndim > 1 else value for name, value in weights.items()}
    form = DETECTOR_FORMAT
    if isinstance(model, Estimator):
        weights |= {f"{_MAPS}{name}": torch.from_numpy(array).contiguous() for name, array in model.maps.items()}
        form = FORMAT
    config = {"format": form, "version": VERSION, **asdict(model.config)}
    with replacing(folder / "weights.safetensors") as part:
        save_file(weights, part)
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")


def load(path: Path = SHIPPED) -> Estimator:
    """Load a bundle, or the newest bundle of a training run.

    Raises:
        FileNotFoundError: the folder does not contain a bundle.
        ValueError: this version cannot read the config or the weights.
    """
    config_path, weights_path = _files(path)
    config = _read_config(config_path)
    networks = _built(config_path, lambda generator: build(config.networks, generator))
    try:
        tensors = _tensors(weights_path)
        maps = {name.removeprefix(_MAPS): tensors.pop(name).numpy() for name in list(tensors) if name.startswith(_MAPS)}
        networks.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        _refuse(weights_path, config_path, f"preset {config.preset}, {find_skeleton(config.skeleton).name}", error)
    return Estimator(config, networks, maps)


def is_detector(path: Path) -> bool:
    """Whether a path is the bundle of a detector, or a run with such a bundle."""
    try:
        return parse_json(_files(path)[0].read_text("utf-8")).get("format") == DETECTOR_FORMAT
    except (OSError, ValueError, AttributeError):
        return False


def load_detector(path: Path) -> Detector:
    """Load a detector. The argument is that of `load`.

    Raises:
        FileNotFoundError, ValueError: as for `load`.
    """
    config_path, weights_path = _files(path)
    config = _read_detector_config(config_path)
    networks = _built(config_path, lambda generator: DetectorNet(config.networks, generator))
    try:
        networks.load_state_dict(_tensors(weights_path))
    except (SafetensorError, RuntimeError) as error:
        _refuse(weights_path, config_path, f"preset {config.preset}", error)
    return Detector(config, networks)


def model_folder(path: Path) -> Path:
    """Return the folder of a bundle's files: the given folder, or the folder `model` of a run."""
    return path if (path / "weights.safetensors").is_file() else path / "model"


def _files(path: Path) -> tuple[Path, Path]:
    """Return the paths of config and weights of a bundle, or of the newest bundle of a run."""
    folder = model_folder(path)
    files = folder / "config.json", folder / "weights.safetensors"
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(
                f"No model at {path}: {file} is missing. Give a run folder of `crossnets train` (its model appears "
                "with the first checkpoint of a stage that trains it) or a folder with config.json and "
                "weights.safetensors."
            )
    return files


def _built(config: Path, make: Callable[[torch.Generator], Built]) -> Built:
    try:
        return make(torch.Generator().manual_seed(0))
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ValueError(
            f"{config} describes networks of sizes that cannot be built: {str(error)[:400]}. Take the file that was "
            "written with the weights."
        ) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file as float32."""
    path.open("rb").close()  # safetensors reports an unreadable file as missing, and this line raises the real error
    return {name: v.float() if v.is_floating_point() else v for name, v in load_file(path).items()}


def _refuse(weights: Path, config: Path, what: str, error: Exception) -> NoReturn:
    raise ValueError(
        f"{weights} does not contain the networks that {config} describes ({what}). Both files must come from the same "
        f"run. Detail: {str(error)[:400]}"
    ) from error


def _read_config(path: Path) -> EstimatorConfig:
    try:
        fields = current_names(fields_of(path.read_text("utf-8"), FORMAT, VERSION))
        networks = config_from(fields.pop("networks"))
        return EstimatorConfig(networks=networks, **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not a model description of this version of crossnets: {error}") from error


def _read_detector_config(path: Path) -> DetectorConfig:
    try:
        fields = fields_of(path.read_text("utf-8"), DETECTOR_FORMAT, VERSION)
        sizes = {name: tuple(value) for name, value in fields.pop("networks").items()}
        return DetectorConfig(networks=DetectorNetConfig(**sizes), **fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path} is not a hand detector of this version of crossnets: {error}") from error
