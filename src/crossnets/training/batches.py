"""The batch of a step, drawn from (seed, stage, step) alone, so that a resumed training draws the same."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from crossnets import ranks
from crossnets.tensors import Batch, PoseBatch, RealBatch, RenderedBatch, SceneBatch, ViewPairs
from crossnets.training.augment import Changes, RealHands
from crossnets.training.config import StageConfig
from crossnets.training.crops import TrainingFrames, seed_of, shuffled
from crossnets.training.damage import CropDamage, SceneDamage, damage_crops, damage_scenes
from crossnets.training.real_frames import labelled_batch, real_batch, view_pairs


def part_of(batch: int) -> int:
    """Number of unlabelled frames, and of generated maps, beside a batch of labelled crops of the preset `crossing`."""
    return max(1, batch // 2)


class Timed(Iterator[Any]):
    """An iterator that adds up how long its items were waited for."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items
        self.waited_s = 0.0

    def __next__(self) -> Any:
        began = time.perf_counter()
        item = next(self._items)
        self.waited_s += time.perf_counter() - began
        return item


@dataclass(frozen=True)
class Draw:
    """Data that one step may read. Each method reads only what it returns."""

    frames: TrainingFrames | None
    """None for a detector, which renders all its frames."""
    stage: StageConfig
    step: int
    seed: int
    device: torch.device
    use_unlabelled: bool
    stream: Iterator[RenderedBatch] | Iterator[SceneBatch] | None = None
    """Stream of the stage, at this step. Its batches are on the device."""
    crops: Tensor | None = None
    """All crops of `frames` on the device, if they fit there (`devices.crops_on`)."""
    crop_damage: CropDamage | None = None
    scene_damage: SceneDamage | None = None

    @property
    def _frames(self) -> TrainingFrames:
        assert self.frames is not None, "a detector draws rendered scenes alone"
        return self.frames

    def rendered(self) -> RenderedBatch:
        """The next batch of rendered hands."""
        assert self.stream is not None
        batch = RenderedBatch(*(part.to(self.device) for part in next(self.stream)))
        if self.crop_damage is None:
            return batch
        return batch._replace(image=damage_crops(batch.image, batch.joints, self.crop_damage, self._damage_seed()))

    def real(self) -> RealBatch | None:
        """Crops of real labelled frames to train on beside the rendered ones. None without such frames."""
        hands = self._frames.real
        if hands is None:
            return None
        seed = (self.seed, self.stage.name, "real")
        rows = shuffled(np.arange(len(hands.patches), dtype=np.int64), hands.config.crops, self.step, *seed)
        whole = real_batch(hands, np.random.default_rng(seed_of(*seed, self.step, "changes")), rows, self.device)
        return RealBatch(*map(ranks.mine, whole))

    def scenes(self) -> SceneBatch:
        """The next batch of rendered frames."""
        assert self.stream is not None
        batch = SceneBatch(*(part.to(self.device) for part in next(self.stream)))
        if self.scene_damage is None:
            return batch
        return batch._replace(image=damage_scenes(batch, self.scene_damage, self._damage_seed()))

    def _damage_seed(self) -> int:
        return seed_of(self.seed, self.stage.name, "damage", self.step)

    def augmented(self) -> RenderedBatch:
        """Crops of labelled frames, changed anew in each step, with their joints in crop coordinates."""
        hands = self._frames.real
        assert hands is not None
        return labelled_batch(hands, *self._changed(hands, self.stage.batch, "augmented"), self.device)

    def pairs(self, cube_mm: float) -> ViewPairs | None:
        """Two crops of each of half as many unlabelled frames. The first shows a cube of this side, the second is
        changed anew in each step. None if unlabelled frames take no part, or there are none."""
        hands = self._frames.others
        if hands is None or not self.use_unlabelled:
            return None
        return view_pairs(hands, *self._changed(hands, part_of(self.stage.batch), "pairs"), cube_mm, self.device)

    def _changed(self, hands: RealHands, count: int, what: str) -> tuple[Int64[np.ndarray, "B"], Changes]:
        """Frames of a batch, and how they are changed before they are cropped."""
        seed = (self.seed, self.stage.name, what)
        rows = shuffled(np.arange(len(hands.patches), dtype=np.int64), count, self.step, *seed)
        changes = hands.changes(np.random.default_rng(seed_of(*seed, self.step, "changes")), rows)
        return ranks.mine(rows), Changes(*map(ranks.mine, changes))

    def poses(self) -> PoseBatch:
        """Poses for the pose VAE: those of labelled frames, if there are no others."""
        poses = self._frames.poses
        if poses is None:
            return self._pose(self._labelled())
        rows = self._shuffled(len(poses.y), "poses")
        y, t = (torch.from_numpy(part[rows]).to(self.device) for part in poses)
        return PoseBatch(y, t)

    def images(self) -> Float[Tensor, "B 1 S S"]:
        """Images of labelled and unlabelled frames, or of labelled frames alone if the others take no part."""
        rows = self._frames.labelled
        if self.use_unlabelled:
            rows = np.concatenate([rows, self._frames.unlabelled])
        return self._image(rows[self._shuffled(len(rows), "images")])

    def labelled(self) -> Batch:
        """A batch of labelled frames alone."""
        rows = self._labelled()
        return Batch(self._image(self._frames.labelled[rows]), self._pose(rows), self._image(rows[:0]))

    def paired(self) -> Batch:
        """A batch of labelled frames and one of unlabelled frames. The second is empty if they take no part."""
        labelled = self._labelled()
        rest = self._frames.unlabelled
        take = self.use_unlabelled and len(rest) > 0
        rest = rest[self._shuffled(len(rest), "unlabelled")] if take else rest[:0]
        return Batch(self._image(self._frames.labelled[labelled]), self._pose(labelled), self._image(rest))

    def _labelled(self) -> Int64[np.ndarray, "B"]:
        return self._shuffled(len(self._frames.labelled), "labelled")

    def _shuffled(self, count: int, what: str) -> Int64[np.ndarray, "B"]:
        rows = np.arange(count, dtype=np.int64)
        return ranks.mine(shuffled(rows, self.stage.batch, self.step, self.seed, self.stage.name, what))

    def _pose(self, labelled: Int64[np.ndarray, "B"]) -> PoseBatch:
        y, t = self._frames.y[labelled], self._frames.t[labelled]
        return PoseBatch(torch.from_numpy(y).to(self.device), torch.from_numpy(t).to(self.device))

    def _image(self, rows: Int64[np.ndarray, "B"]) -> Float[Tensor, "B 1 S S"]:
        if self.crops is not None:
            return self.crops[torch.from_numpy(rows).to(self.device)].float()
        return torch.from_numpy(self._frames.crops(rows))[:, None].to(self.device)
