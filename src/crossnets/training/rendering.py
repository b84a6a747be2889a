"""Rendered hands for a training: an endless stream from other processes, and a set on disk."""

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float64
from torch.utils.data import DataLoader, Dataset

from crossnets import ranks
from crossnets.atomic import allocate, replacing, write_text
from crossnets.geometry.crop import CROP_PX
from crossnets.geometry.cube import into_cubes, views_at
from crossnets.geometry.pose import pose_in_crop
from crossnets.geometry.skeleton import Skeleton
from crossnets.synth.casting.frames import normalise
from crossnets.synth.hand.joint_places import joints_length
from crossnets.synth.stream import SyntheticConfig, SyntheticCrops, SyntheticHands
from crossnets.tensors import RenderedBatch, SceneBatch
from crossnets.training.config import RenderedConfig
from crossnets.training.crops import TrainingFrames
from crossnets.training.devices import Machine

AHEAD = 4
"""Number of renderings that each process may be ahead."""
_KEPT_FROM = 1_000_003
"""Number of the first rendering of the set on disk. Streams end long before it and contain other hands."""
_PIECE = 256


AnyBatch = TypeVar("AnyBatch", RenderedBatch, SceneBatch)


class Renderings(Dataset[AnyBatch]):
    """Renderings of `count` frames each, with the same number from each source. Numbers start at 0."""

    def __init__(
        self,
        sources: Sequence[Callable[[], Callable[[np.ndarray], AnyBatch]]],
        count: int,
        part: slice = slice(None),
    ) -> None:
        """Describe the renderings.

        Args:
            sources: Functions that open a source in the rendering process. A source returns the frames of indices.
            count: Frames of a rendering.
            part: Part of each source's frames that is rendered. One of several ranks renders a part.
        """
        if count % len(sources):
            raise ValueError(f"Found a batch of {count} frames, expected a multiple of the {len(sources)} cameras.")
        self._sources = tuple(sources)
        self._each = count // len(sources)
        self._part = part
        self._opened: list[Callable[[np.ndarray], AnyBatch]] | None = None

    def __getitem__(self, number: int) -> AnyBatch:
        if self._opened is None:
            self._opened = [opened() for opened in self._sources]
        indices = np.arange(number * self._each, (number + 1) * self._each)[self._part]
        parts = [drawn(indices) for drawn in self._opened]
        return type(parts[0])(*(torch.cat(part) for part in zip(*parts, strict=True)))


def renderings(config: RenderedConfig, count: int, part: slice = slice(None)) -> Renderings[RenderedBatch]:
    """Return renderings of crops of hands."""
    return Renderings([partial(_opened, source) for source in config.sources], count, part)


def part_of_rank(count: int, sources: int, what: str) -> slice:
    """Return the part of each source's frames that this rank renders.

    Raises:
        ValueError: the ranks cannot divide a rendering evenly.
    """
    # Every rank has the same number of frames from each source. Both halves of its batch, which are mirrored
    # separately, have the same size.
    ranks.check_batch(count, what, multiple=max(2, sources))
    return slice(ranks.rank(), None, ranks.size())


def _opened(source: SyntheticConfig) -> Callable[[np.ndarray], RenderedBatch]:
    return partial(rendered, SyntheticHands(source))


def rendered(hands: SyntheticHands, indices: np.ndarray) -> RenderedBatch:
    """Render frames of a stream as inputs of a network. Images are float16, whose rounding is below the noise."""
    crops = hands.crops(indices)
    joints = in_crop(crops, hands)
    size = np.log(joints_length(crops.joints_mm, hands.skeleton) / crops.cube_mm)
    numbers = (joints, crops.side, size)
    normalise(crops.depth_mm, crops.centers_mm[:, 2], crops.cube_mm / 2)
    image = torch.from_numpy(crops.depth_mm).half()[:, None]
    return RenderedBatch(image, *(torch.from_numpy(n.astype(np.float32)) for n in numbers))


def in_crop(crops: SyntheticCrops, hands: SyntheticHands) -> Float64[np.ndarray, "B J 3"]:
    """Convert the joints of crops to crop coordinates."""
    return into_cubes(crops.joints_mm, views_at([hands.camera], crops.centers_mm, crops.cube_mm))


@contextmanager
def stream(
    config: RenderedConfig, batch: int, first: int, total: int, machine: Machine
) -> Iterator[Iterator[RenderedBatch]]:
    """Yield the batches of steps `first` to `total` - 1 of a stage, on the machine's device.

    A batch depends only on the number of its step.
    """
    part = part_of_rank(batch, len(config.sources), "The stage estimate")
    with used_again(renderings(config, batch, part), config.uses, machine, first, total) as batches:
        yield batches


@contextmanager
def used_again(
    renderings: Dataset[AnyBatch], uses: int, machine: Machine, first: int, total: int
) -> Iterator[Iterator[AnyBatch]]:
    """Yield batches for steps `first` to `total` - 1, which other processes render ahead.

    Each rendering serves `uses` steps. Half of it is mirrored in one step, and the other half in the next. It is copied
    to the device once, as float16, and mirrored there.
    """
    workers = machine.workers
    on_gpu = machine.device.type == "cuda"
    numbers = range(first // uses, (total + uses - 1) // uses)
    loader = DataLoader(
        renderings,
        batch_size=None,
        sampler=numbers,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        multiprocessing_context=_processes() if workers else None,
        worker_init_fn=_leave_interrupts,
        pin_memory=on_gpu,
    )
    batches = iter(loader)

    def steps() -> Iterator[AnyBatch]:
        for number in numbers:
            # A step requests its batch within autocast, which must not change the rendering.
            with torch.autocast("cpu", enabled=False):
                whole = next(batches)
            if on_gpu:
                whole = type(whole)(*(part.to(machine.device, non_blocking=True) for part in whole))
            for use in range(uses):
                if first <= uses * number + use < total:
                    yield half_mirrored(whole, use % 2 == 1)

    try:
        yield steps()
    finally:
        del batches  # ends the processes


def _processes() -> BaseContext:
    """Return how rendering processes start.

    With `forkserver` one process imports torch and this package, and all others are forked from it. The processes of
    a later stage and all but the first of a stage then start at once. Windows has only `spawn`.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", __name__])
    return context


def _leave_interrupts(_: int) -> None:
    """Ignore Ctrl-C in a rendering process. The training ends it after writing its checkpoint."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def half_mirrored(batch: AnyBatch, first: bool) -> AnyBatch:
    """Convert the batch to float32 and mirror its first or its second half."""
    half = len(batch.side) // 2
    kind = type(batch)
    one, two = (kind(*(part[rows] for part in batch)) for rows in (slice(half), slice(half, None)))
    one, two = (one.mirrored(), two) if first else (one, two.mirrored())
    whole = kind(*(torch.empty_like(part, dtype=torch.float32) for part in batch))
    for part, start, rest in zip(whole, one, two, strict=True):
        # The assignments convert to float32 without another copy.
        part[:half] = start
        part[half:] = rest
    return whole


def kept(
    config: RenderedConfig,
    skeleton: Skeleton,
    cache: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainingFrames:
    """Render a set into `cache`, or reuse the set of an earlier call.

    The set has no surroundings, because the generator of the latent space would have to generate them as well.
    """
    count = config.kept_frames
    config = replace(config, sources=tuple(replace(source, clutter=None) for source in config.sources))
    whole = renderings(config, _PIECE)
    request = json.loads(json.dumps([count, [str(source) for source in config.sources]]))
    index_path = cache / "rendered.json"
    images_path = cache / "rendered.npy"
    if not (index_path.is_file() and json.loads(index_path.read_text("utf-8"))["request"] == request):
        joints = np.empty((count, len(skeleton), 3), np.float32)
        with replacing(images_path) as part:
            images = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=(count, CROP_PX, CROP_PX))
            allocate(part)
            for start in range(0, count, _PIECE):
                on_progress(start, count)
                piece = whole[_KEPT_FROM + start // _PIECE]
                end = min(start + _PIECE, count)
                images[start:end] = piece.image[: end - start, 0].float().numpy()
                joints[start:end] = piece.joints[: end - start].numpy()
            images.flush()
            del images  # Windows does not rename a file that is mapped
        write_text(index_path, json.dumps({"request": request, "joints": joints.tolist()}))
        on_progress(count, count)
    joints = np.array(json.loads(index_path.read_text("utf-8"))["joints"], np.float32)
    y, t = pose_in_crop(joints, skeleton.reference)
    keys = tuple(f"rendered/{number:06d}" for number in range(count))
    rows = np.arange(count, dtype=np.int64)
    return TrainingFrames(np.load(images_path, mmap_mode="r"), keys, rows, y, t, rows[:0], ())
