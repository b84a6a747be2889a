"""Checkpoints: networks, optimisers and place in the schedule in one safetensors file."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Adam

from crossnets.atomic import replacing

FILE = "checkpoint.safetensors"


@dataclass(frozen=True)
class Place:
    """Place of a training in its schedule."""

    stage: int
    """Number of the stage, from 0."""
    step: int
    """Steps of that stage that are done."""
    elapsed_s: float
    """Time spent training until here."""


def save(run: Path, place: Place, networks: nn.Module, optimisers: dict[str, Adam]) -> None:
    """Replace the run's checkpoint."""
    tensors = {f"networks/{name}": value for name, value in networks.state_dict().items()}
    for name, optimiser in optimisers.items():
        for index, entry in optimiser.state_dict()["state"].items():
            tensors |= {f"optimisers/{name}/{index}/{key}": value for key, value in entry.items()}
    meta = {"stage": place.stage, "step": place.step, "elapsed_s": place.elapsed_s}
    with replacing(run / FILE) as part:
        # Memory order is not the file's concern: the networks' own order comes back when they are loaded.
        save_file({name: value.contiguous() for name, value in tensors.items()}, part, {"place": json.dumps(meta)})


def load_place(run: Path) -> Place | None:
    """Place of the run's checkpoint in the schedule. None without a checkpoint.

    Raises:
        ValueError: the file is damaged.
    """
    if not (run / FILE).is_file():
        return None
    try:
        with safe_open(run / FILE, framework="pt") as file:
            return Place(**json.loads(file.metadata()["place"]))
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{run / FILE} is not a checkpoint that can be resumed: {error}. Remove it to begin anew."
        ) from error


def restore(run: Path, networks: nn.Module, optimisers: dict[str, Adam] | None) -> None:
    """Load networks, and optimisers of the stage if given, in place.

    Raises:
        ValueError: the checkpoint is of other networks.
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
    for name, optimiser in (optimisers or {}).items():
        _restore_optimiser(optimiser, name, tensors)


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
