"""Save and load estimators and detectors as folders with weights.safetensors and config.json. Nothing is unpickled."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

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
_TENSOR_COST = 1000
"""A tensor and its module take about as much memory as this many numbers, beside those of the tensor."""
_UNSTORED = 1 << 20
"""Networks may have tables of this many numbers beside those of their file."""
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
    try:
        networks = _built(config_path, weights_path, lambda generator: build(config.networks, generator))
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
    try:
        networks = _built(config_path, weights_path, lambda generator: DetectorNet(config.networks, generator))
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


class _Budget(TorchFunctionMode):
    """Ends the building of networks that are larger than a file, before they take memory."""

    def __init__(self, shapes: Iterable[Sequence[int]]) -> None:
        """Allow tensors of these shapes. A tensor that is replaced while it is built may have been counted twice."""
        super().__init__()
        self._most = _UNSTORED + 2 * sum(_TENSOR_COST + math.prod(shape) for shape in shapes)
        self._taken = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call a function of torch. Layers make each of their weights by `torch.empty`.

        Raises:
            RuntimeError: the weights are too many.
        """
        if func is torch.empty:
            sides = args[0] if args and isinstance(args[0], Sequence) else args
            self._taken += _TENSOR_COST + math.prod(sides)
            if self._taken > self._most:
                raise RuntimeError("they are larger than their weights")
        return func(*args, **(kwargs or {}))


def _built(config: Path, weights: Path, make: Callable[[torch.Generator], Built]) -> Built:
    """Make networks of any weights, which are not larger than the file of their own.

    Raises:
        OSError, SafetensorError: the header of the file cannot be read.
        ValueError: there are no networks of these sizes, or they are larger.
    """
    _require_access(weights)
    with safe_open(weights, "pt") as file:
        names = list(file.keys())
        budget = _Budget(file.get_slice(name).get_shape() for name in names)
    try:
        with budget:
            return make(torch.Generator().manual_seed(0))
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ValueError(
            f"{config} describes networks of sizes that cannot be built: {str(error)[:400]}. Take the file that was "
            "written with the weights."
        ) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file as float32."""
    _require_access(path)
    return {name: v.float() if v.is_floating_point() else v for name, v in load_file(path).items()}


def _require_access(path: Path) -> None:
    """Raise the real error of a file that cannot be read. safetensors reports it as missing."""
    path.open("rb").close()


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
