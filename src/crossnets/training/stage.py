"""Interface of the stages of a training, and one step of an optimiser."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam

from crossnets import ranks
from crossnets.training.batches import Draw

Losses = dict[str, Tensor]


@runtime_checkable
class Stage(Protocol):
    """A stage that can be stepped and saved."""

    trains_pose: ClassVar[bool]
    """Whether what predicts joints, or finds hands, learns in it."""
    optimisers: dict[str, Adam]

    def step(self, draw: Draw, generator: torch.Generator) -> Losses:
        """One update; returns the losses before it."""
        ...


@runtime_checkable
class DirectStage(Stage, Protocol):
    """A stage that trains networks from images straight to joints or hands. Their averages can be computed anew."""

    @property
    def direct(self) -> tuple[nn.Module, ...]:
        """These networks, which all take the same images."""
        ...

    def images(self, draw: Draw) -> Float[Tensor, "B C H W"]:
        """Images that a step passes through the networks."""
        ...


@contextmanager
def only_trains(network: nn.Module, parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Within it, gradients reach those of these parameters that are not frozen, and no others of the network."""
    chosen = {id(p) for p in parameters}
    before = [(p, p.requires_grad) for p in network.parameters()]
    for p, required in before:
        p.requires_grad_(required and id(p) in chosen)
    try:
        yield
    finally:
        for p, required in before:
            p.requires_grad_(required)


def descend(optimiser: Adam, terms: Losses) -> None:
    """One step down the sum of the terms. All joint-stage weights are 1 (spec 3)."""
    optimiser.zero_grad()
    torch.stack([term.float() for term in terms.values()]).sum().backward()
    ranks.average_gradients(parameter for group in optimiser.param_groups for parameter in group["params"])
    optimiser.step()
