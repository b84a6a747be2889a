"""Rendered frames for the training of a detector: an endless stream made by other processes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch

from crossnets.geometry.thinned import LENGTH_MM, as_image
from crossnets.synth.scenes import SceneConfig, SyntheticScenes
from crossnets.tensors import SceneBatch
from crossnets.training.config import ScenesConfig
from crossnets.training.devices import Machine
from crossnets.training.rendering import Renderings, part_of_rank, used_again


def _opened(source: SceneConfig) -> Callable[[np.ndarray], SceneBatch]:
    return partial(rendered_scenes, SyntheticScenes(source))


def rendered_scenes(scenes: SyntheticScenes, indices: np.ndarray) -> SceneBatch:
    """Frames of a stream as inputs of a detector. Images are float16, whose rounding is below the noise."""
    drawn = scenes.draw(indices)
    image = torch.from_numpy(np.stack([as_image(depth) for depth in drawn.depth_mm])).half()
    focal = np.array([np.sqrt(camera.fx_px * camera.fy_px) for camera in drawn.cameras])
    numbers = (drawn.uvd, drawn.side, np.log(drawn.length_mm / LENGTH_MM), drawn.state, focal)
    return SceneBatch(image, *(torch.from_numpy(np.asarray(n, np.float32)) for n in numbers))


@contextmanager
def stream(
    config: ScenesConfig, batch: int, first: int, total: int, machine: Machine
) -> Iterator[Iterator[SceneBatch]]:
    """The batches of steps `first` to `total` - 1 of a stage, as in `rendering.stream`."""
    part = part_of_rank(batch, len(config.sources), "The stage detect")
    renderings = Renderings([partial(_opened, source) for source in config.sources], batch, part)
    with used_again(renderings, config.uses, machine, first, total) as batches:
        yield batches
