"""Several processes that train one model, started by torchrun. Without it there is one process, and nothing changes.

A batch is divided among the processes, which torch calls ranks: rank r of W takes rows r, r + W, r + 2 W and so on.
Random numbers are drawn for the whole batch on every rank and divided the same way, so the samples do not depend on W.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn

_PATIENCE = timedelta(minutes=10)
"""Longest wait for another rank: the first one crops or renders the data of a training alone."""
Rows = TypeVar("Rows")


def size() -> int:
    """Number of processes."""
    return distributed.get_world_size() if _joined() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if _joined() else 0


def first() -> bool:
    """Whether this process writes files and messages."""
    return rank() == 0


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun has started, if it has.

    Processors exchange numbers by gloo, GPUs by nccl.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _joined():
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def wait() -> None:
    """Wait until all ranks are here."""
    if size() > 1:
        distributed.barrier()


def shared(value: Any) -> Any:
    """The first rank's value of any kind that can be pickled, on every rank."""
    if size() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box)
    return box[0]


def mine(rows: Rows) -> Rows:
    """The rows of a batch that belong to this rank. `rows` is an array, a tensor or a sequence."""
    return rows[rank() :: size()]  # pyright: ignore[reportIndexIssue]


def check_batch(count: int, what: str, multiple: int = 1) -> None:
    """Refuse a batch that cannot be divided evenly.

    Raises:
        ValueError: `count` is not a multiple of the number of processes times `multiple`.
    """
    if count % (size() * multiple):
        raise ValueError(
            f"{what} has batches of {count}, which {size()} processes cannot divide evenly: expected a multiple of "
            f"{size() * multiple}. Give --batch-size, or another number of processes."
        )


class _Sum(torch.autograd.Function):
    """Sum over ranks. The gradient of a sum that all ranks use is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone()
        distributed.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        gradient = gradients[0].clone()
        distributed.all_reduce(gradient)
        return gradient


def total(value: Float[Tensor, "*S"]) -> Float[Tensor, "*S"]:
    """Sum over ranks, which gradients pass through."""
    return value if size() == 1 else _Sum.apply(value)  # pyright: ignore[reportReturnType]


def batch_mean(values: Float[Tensor, "B F"]) -> Float[Tensor, "F"]:
    """Mean over the batch of all ranks."""
    return total(values.mean(0)) / size()


def gathered(values: Float[Tensor, "B Z"]) -> Float[Tensor, "N Z"]:
    """Rows of all ranks in the order of the whole batch, without gradients."""
    if size() == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(size())]
    distributed.all_gather(parts, values.detach().contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients by their mean over ranks."""
    if size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= size()
    for gradient, values in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(values.view_as(gradient))


@torch.no_grad()
def mean_of(values: Float[Tensor, "N"]) -> Float[Tensor, "N"]:
    """Mean over ranks, without gradients."""
    if size() > 1:
        distributed.all_reduce(values)
        values /= size()
    return values


@torch.no_grad()
def any_of(flags: list[bool], device: torch.device) -> list[bool]:
    """Whether any rank raises each of these flags."""
    if size() == 1:
        return flags
    values = torch.tensor(flags, dtype=torch.float32, device=device)
    distributed.all_reduce(values)
    return [value > 0 for value in values.tolist()]
