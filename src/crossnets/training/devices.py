"""The device and the processes of a training. They change its results by rounding only."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from crossnets.training.crops import TrainingFrames

DeviceName: TypeAlias = Literal["auto", "cpu", "cuda"]

_CHUNK = 1024
"""Crops that are copied to the device at a time."""
_MEMORY_SHARE = 0.5
"""Largest share of the device's free memory for crops. Networks, optimisers and activations share the rest."""

_ONE_THREAD = ("pose_vae",)
"""Stages whose matrices are too small to divide. Their threads would mostly wait for each other, and on a busy machine
each waits until the other gets a core."""


@contextmanager
def threads_for(stage: str) -> Iterator[None]:
    """The threads that serve a stage: one for the stages in `_ONE_THREAD`, else those of the process."""
    before = torch.get_num_threads()
    if stage in _ONE_THREAD:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where a training runs. A run may resume on another machine."""

    device: torch.device
    workers: int
    """Processes that render ahead of the training."""


def choose_machine(device: DeviceName = "auto", workers: int | None = None) -> Machine:
    """The machine for these options.

    Args:
        device: `auto` chooses the GPU if torch sees one, otherwise the processor.
        workers: Number of rendering processes. None uses all cores but one, which the training itself needs.

    Raises:
        ValueError: `device` is `cuda` but torch sees no GPU, or `workers` is negative.
    """
    if workers is not None and workers < 0:
        raise ValueError(f"--workers {workers}: expected 0 or more, or none given for all cores but one.")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"--device cuda: torch {torch.__version__} sees no GPU on this machine. Leave --device out to train on the "
            "processor, or install a CUDA build of torch (https://pytorch.org/get-started)."
        )
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun starts a process for each GPU of a machine
        torch.cuda.set_device(local)
        return Machine(device=torch.device("cuda", local), workers=_free_cores() if workers is None else workers)
    return Machine(device=torch.device(name), workers=_free_cores() if workers is None else workers)


def _free_cores() -> int:
    """Number of usable cores less one, divided among the processes of this machine. It is at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1)


def set_up(device: torch.device, *, exact: bool) -> None:
    """Set torch up for a training on a GPU. `exact` keeps float32 products in float32 instead of TF32."""
    if device.type != "cuda":
        return
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = not exact
    torch.backends.cuda.matmul.allow_tf32 = not exact


def crops_on(device: torch.device, frames: TrainingFrames) -> Tensor | None:
    """All crops of a training, shape (N, 1, S, S), in the memory of a GPU.

    They stay float32 if they fit, else they are kept as float16. None if they do not fit either, and on a processor,
    which reads them from the memory map.
    """
    if device.type != "cuda" or not len(frames.keys):
        return None
    count, side = len(frames.keys), frames.images.shape[-1]
    free, _ = torch.cuda.mem_get_info(device)
    values = count * side * side
    if values * 2 > _MEMORY_SHARE * free:
        return None
    kind = torch.float32 if values * 4 <= _MEMORY_SHARE * free else torch.float16
    crops = torch.empty((count, 1, side, side), dtype=kind, device=device)
    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count), dtype=np.int64)
        crops[start : start + len(rows), 0] = torch.from_numpy(frames.crops(rows)).to(device)
    return crops
