"""Checkpoints: networks, optimisers and place in the schedule in one safetensors file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Adam

from crossnets.atomic import replacing
from crossnets.json_text import parse_json

FILE = "checkpoint.safetensors"
_BEST = "best/"
"""Before the names of the weights with the lowest validation error."""
_TYPES = {"elapsed_s": (int, float), "best_mm": (int, float, NoneType)}
"""Types of the fields of `Place` in JSON. The others are whole numbers."""


@dataclass(frozen=True)
class Place:
    """Place of a training in its schedule."""

    stage: int
    """Number of the stage, from 0."""
    step: int
    """Steps of that stage that are done."""
    elapsed_s: float
    """Time spent training until here."""
    best_mm: float | None = None
    """Lowest validation error so far. None before the first validation."""
    fruitless: int = 0
    """Validations of this stage since that error, or since the stage's start."""
    extension: int = 0
    """Number of times that the run was trained longer after it was finished."""


def save(
    run: Path,
    place: Place,
    networks: nn.Module,
    optimisers: dict[str, Adam],
    best: Mapping[str, Tensor] | None = None,
) -> None:
    """Replace the run's checkpoint. `best` are the weights with the lowest validation error, unless the networks have
    them."""
    tensors = {f"networks/{name}": value for name, value in networks.state_dict().items()} | _tensors_of(optimisers)
    tensors |= {f"{_BEST}{name}": value for name, value in (best or {}).items()}
    with replacing(run / FILE) as part:
        # Memory order is not the file's concern: the networks' own order comes back when they are loaded.
        save_file(
            {name: value.contiguous() for name, value in tensors.items()}, part, {"place": json.dumps(asdict(place))}
        )


def _tensors_of(optimisers: Mapping[str, Adam]) -> dict[str, Tensor]:
    return {
        f"optimisers/{name}/{index}/{key}": value
        for name, optimiser in optimisers.items()
        for index, entry in optimiser.state_dict()["state"].items()
        for key, value in entry.items()
    }


def save_end(run: Path, stage: str, step: int, optimisers: Mapping[str, Adam]) -> None:
    """Keep the optimisers of a stage that ends after a step, so that the stage can be trained longer."""
    tensors = {name: value.contiguous() for name, value in _tensors_of(optimisers).items()}
    with replacing(_end_of(run, stage)) as part:
        save_file(tensors, part, {"step": str(step)})


def end_step(run: Path, stage: str) -> int | None:
    """The step after which a stage ended. None in a run of a version that did not keep it.

    Raises:
        ValueError: the file is damaged.
    """
    path = _end_of(run, stage)
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return int(file.metadata()["step"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def restore_end(run: Path, stage: str, optimisers: dict[str, Adam]) -> None:
    """Load the optimisers of a stage that ended. In a run that did not keep them they begin anew.

    Raises:
        ValueError: the file is of other networks or damaged.
    """
    path = _end_of(run, stage)
    if not path.is_file():
        return
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise _damaged(path, error) from error
    _restore_optimisers(optimisers, tensors, path)


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is damaged ({error}). Copy it again, or remove it to begin with new optimisers.")


def _end_of(run: Path, stage: str) -> Path:
    return run / f"optimisers-{stage}.safetensors"


def load_place(run: Path) -> Place | None:
    """Place of the run's checkpoint in the schedule. None without a checkpoint.

    Raises:
        ValueError: the file is damaged.
    """
    if not (run / FILE).is_file():
        return None
    try:
        with safe_open(run / FILE, framework="pt") as file:
            return _place_of(parse_json(file.metadata()["place"]))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{run / FILE} is not a checkpoint that can be resumed: {error}. Remove it to begin anew."
        ) from error


def _place_of(fields: dict[str, Any]) -> Place:
    """Make a place of its fields in the file. Raises a ValueError if a value has another type."""
    for name, value in fields.items():
        if type(value) not in _TYPES.get(name, (int,)):
            raise ValueError(f"found {name} {str(value)[:80]!r}, expected a number")
    return Place(**fields)


def load_best(run: Path) -> dict[str, Tensor] | None:
    """Weights with the lowest validation error. None if the networks have them, or nothing was validated."""
    with safe_open(run / FILE, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith(_BEST)]  # noqa: SIM118 - it is no dictionary
        return {name.removeprefix(_BEST): file.get_tensor(name) for name in names} or None


def restore(run: Path, networks: nn.Module, optimisers: dict[str, Adam] | None) -> None:
    """Load networks, and optimisers of the stage if given, in place.

    Raises:
        ValueError: the checkpoint is of other networks or damaged.
    """
    tensors = load_file(run / FILE)
    weights = {name.removeprefix("networks/"): v for name, v in tensors.items() if name.startswith("networks/")}
    try:
        networks.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(
            f"{run / FILE} holds networks of another configuration: {str(error)[:300]}. "
            "Resume it with the preset and flags it was started with, or choose another --out."
        ) from error
    _restore_optimisers(optimisers or {}, tensors, run / FILE)


def _restore_optimisers(optimisers: dict[str, Adam], tensors: dict[str, Tensor], path: Path) -> None:
    """Load optimisers in place. Raises a ValueError if the file at `path` does not have them."""
    for name, optimiser in optimisers.items():
        try:
            _restore_optimiser(optimiser, name, tensors)
        except (RuntimeError, ValueError, LookupError, TypeError) as error:
            raise ValueError(
                f"{path} does not hold the optimiser {name} of these networks ({type(error).__name__}: "
                f"{str(error)[:300]}). Copy it again, or remove it to begin anew."
            ) from error


def _restore_optimiser(optimiser: Adam, name: str, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"optimisers/{name}/"):
            index, field = key.split("/")[2:]
            state.setdefault(int(index), {})[field] = value
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    for index, entry in state.items():  # Adam's averages lie in memory as their parameter does
        for field, value in entry.items():
            if value.shape == parameters[index].shape:
                entry[field] = torch.empty_like(parameters[index], requires_grad=False).copy_(value)
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
