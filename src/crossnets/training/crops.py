"""Frames on disk to crops in a file, and crops into batches that depend only on (seed, stage, step)."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from crossnets.atomic import allocate, replacing, write_text
from crossnets.datasets.dataset import HandDataset, Problem, readable_frames
from crossnets.geometry.crop import CROP_PX, Normalisation, crop_hand, normalise
from crossnets.geometry.localise import Centers, center_of
from crossnets.geometry.pose import NormalisedPose, normalise_pose
from crossnets.training.augment import RealHands
from crossnets.types import HandFrame


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """How a frame becomes the image of a network."""

    cube_mm: float
    normalisation: Normalisation
    centers: Centers


@dataclass(frozen=True)
class TrainingFrames:
    """Everything a training reads; the images stay on disk."""

    images: Float32[np.ndarray, "N S S"]
    """Normalised crops of all frames; a read-only memory map."""
    keys: tuple[str, ...]
    labelled: Int64[np.ndarray, "L"]
    """Rows of `images` that have a pose."""
    y: Float32[np.ndarray, "L J 3"]
    t: Float32[np.ndarray, "L 3"]
    unlabelled: Int64[np.ndarray, "U"]
    problems: tuple[Problem, ...]
    """Frames left out, and why."""
    beside: Float32[np.ndarray, "M S S"] | None = None
    """Images of more frames, whose rows follow those of `images`. They do not lengthen an epoch."""
    real: RealHands | None = None
    """Labelled frames that are cropped anew in each step."""
    others: RealHands | None = None
    """Frames without a label that are cropped anew in each step. The centre of the hand takes the label's place."""
    poses: NormalisedPose | None = None
    """Poses for the pose VAE, if it does not learn from `y` and `t`."""

    def __len__(self) -> int:
        """Frames of an epoch."""
        return len(self.images)

    def crops(self, rows: Int64[np.ndarray, "B"]) -> Float32[np.ndarray, "B S S"]:
        """Images of these rows."""
        if self.beside is None:
            return self.images[rows]
        found = np.empty((len(rows), *self.images.shape[1:]), np.float32)
        own = rows < len(self.images)
        found[own], found[~own] = self.images[rows[own]], self.beside[rows[~own] - len(self.images)]
        return found


class KeptCrops(NamedTuple):
    """Crops in a file, with their frames."""

    images: Float32[np.ndarray, "N S S"]
    """Normalised; a read-only memory map."""
    keys: tuple[str, ...]
    datasets: Int64[np.ndarray, "N"]
    """Number of each frame's data set: the labelled one first, then the others."""
    numbers: Int64[np.ndarray, "N"]
    """Number of each frame in its own data set."""
    centers_mm: Float32[np.ndarray, "N 3"]
    joints_mm: dict[int, Float32[np.ndarray, "J 3"]]
    """Labels by row, for the labelled frames of the data set whose labels are read."""
    problems: tuple[Problem, ...]


def parse_labels(labels: str) -> float | int:
    """A share of the labelled frames, above 0 and at most 1, or a number of them.

    Raises:
        ValueError: the text is neither `all`, nor a share such as `2%`, nor a number.
    """
    try:
        share = 1.0 if labels == "all" else float(labels[:-1]) / 100 if labels.endswith("%") else int(labels)
    except ValueError:
        share = 0
    if not 0 < share <= (1 if isinstance(share, float) else math.inf):
        raise ValueError(
            f"--labels {labels}: expected `all`, a share above 0 and at most 100 such as 2%, or a number of frames."
        )
    return share


def choose_labelled(rows: Int64[np.ndarray, "L"], labels: str, seed: int) -> Int64[np.ndarray, "K"]:
    """A random part of the labelled rows: `all`, a share such as `2%`, or a number of frames.

    Raises:
        ValueError: the text is none of these, or asks for no frame or more frames than there are.
    """
    share = parse_labels(labels)
    count = round(len(rows) * share) if isinstance(share, float) else share
    if not 1 <= count <= len(rows):
        raise ValueError(f"--labels {labels} is {count} frames, expected 1 to {len(rows)}: so many have a label.")
    return np.sort(np.random.default_rng([seed, 0xAB]).permutation(rows)[:count])


def prepare(
    labelled: HandDataset,
    unlabelled: Sequence[HandDataset],
    crop: CropConfig,
    *,
    labels: str,
    seed: int,
    cache: Path,
    sources: Sequence[str] = (),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainingFrames:
    """Crop every frame into `cache` (crops.npy, crops.json), or take what an earlier call left there.

    `sources` say where the data sets are, so that the crops of others are not taken for theirs.

    Raises:
        ValueError: no labelled frame is left, or `labels` asks for what there is not.
    """
    crops = keep_crops(labelled, unlabelled, crop, cache, sources, on_progress)
    rows = labelled_rows(crops, labels, seed)
    joints_mm = np.stack([crops.joints_mm[row] for row in rows.tolist()])
    assert labelled.skeleton is not None
    pose = normalise_pose(joints_mm, crops.centers_mm[rows], labelled.skeleton.reference)
    rest = np.setdiff1d(np.arange(len(crops.images), dtype=np.int64), rows)
    y, t = pose.y.astype(np.float32), pose.t.astype(np.float32)
    return TrainingFrames(crops.images, crops.keys, rows, y, t, rest, crops.problems)


def labelled_rows(crops: KeptCrops, labels: str, seed: int) -> Int64[np.ndarray, "K"]:
    """Rows of the crops that keep their label, as `choose_labelled` says.

    Raises:
        ValueError: no crop has a label, or `labels` asks for what there is not.
    """
    if not crops.joints_mm:
        told = f" Left out: {len(crops.problems)}, first {crops.problems[0]}" if crops.problems else ""
        raise ValueError(f"No frame of --data has a label and a hand that was found; training needs one.{told}")
    return choose_labelled(np.array(sorted(crops.joints_mm), np.int64), labels, seed)


def identity(dataset: HandDataset) -> dict[str, object]:
    """Properties that show whether frames of a data set came or went."""
    sequences = sorted({dataset.sequence_of(index) for index in range(len(dataset))})
    return {"name": dataset.name, "frames": len(dataset), "sequences": sequences}


def keep_crops(
    labelled: HandDataset | None,
    unlabelled: Sequence[HandDataset],
    crop: CropConfig,
    cache: Path,
    sources: Sequence[str] = (),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> KeptCrops:
    """Return the crops that `prepare` uses. Those of an earlier call are read again. Only labels of `labelled` are
    read."""
    datasets = [*([] if labelled is None else [labelled]), *unlabelled]
    request = {
        "crop": [crop.cube_mm, crop.normalisation, crop.centers, CROP_PX],
        "sources": list(sources),
        "data": [identity(dataset) for dataset in datasets],
        "labels": labelled is not None,
    }
    index_path = cache / "crops.json"
    index = json.loads(index_path.read_text("utf-8")) if index_path.is_file() else {}
    # Crops of versions before 0.2 do not say which data set they are from.
    if not (index.get("request") == request and "datasets" in index):
        _write_crops(datasets, labelled, crop, cache, request, on_progress)
        index = json.loads(index_path.read_text("utf-8"))
    return KeptCrops(
        np.load(cache / "crops.npy", mmap_mode="r")[: len(index["keys"])],
        tuple(index["keys"]),
        np.array(index["datasets"], np.int64),
        np.array(index["numbers"], np.int64),
        np.array(index["centers"], np.float32).reshape(-1, 3),
        {int(row): np.asarray(joints, np.float32) for row, joints in index["joints"].items()},
        tuple(Problem(Path(path), what, line) for path, what, line in index["problems"]),
    )


def _write_crops(
    datasets: Sequence[HandDataset],
    labelled: HandDataset | None,
    crop: CropConfig,
    cache: Path,
    request: dict[str, object],
    on_progress: Callable[[int, int], None],
) -> None:
    total = sum(map(len, datasets))
    keys: list[str] = []
    sets: list[int] = []
    numbers: list[int] = []
    centers: list[list[float]] = []
    joints: dict[int, list[list[float]]] = {}
    problems = [problem for dataset in datasets for problem in dataset.problems]
    with replacing(cache / "crops.npy") as part:
        images = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=(total, CROP_PX, CROP_PX))
        allocate(part)
        for dataset, number, frame in _frames(datasets, problems, on_progress):
            center_mm = center_of(frame, None if labelled is None else labelled.skeleton, crop.centers)
            if center_mm is None:
                problems.append(Problem(Path(frame.key), "no hand was found in the image, so the frame is left out"))
                continue
            if dataset is labelled and frame.joints_mm is not None:
                joints[len(keys)] = frame.joints_mm.tolist()
            cut = crop_hand(frame.depth_mm, frame.camera, center_mm, crop.cube_mm)
            images[len(keys)] = normalise(cut, crop.normalisation)
            keys.append(frame.key)
            sets.append(datasets.index(dataset))
            numbers.append(number)
            centers.append([float(v) for v in center_mm])
        images.flush()
        del images  # Windows does not rename a file that is mapped
    listed = [[str(p.path), p.what, p.line] for p in problems]
    index = {
        "request": request, "keys": keys, "datasets": sets, "numbers": numbers, "centers": centers, "joints": joints,
    }  # fmt: skip
    write_text(cache / "crops.json", json.dumps({**index, "problems": listed}))


def _frames(
    datasets: Sequence[HandDataset], problems: list[Problem], on_progress: Callable[[int, int], None]
) -> Iterator[tuple[HandDataset, int, HandFrame]]:
    """All readable frames, with their data set and their number in it."""
    done, total = 0, sum(map(len, datasets))
    for dataset in datasets:
        for position, frame in readable_frames(dataset, problems):
            on_progress(done + position, total)
            yield dataset, position, frame
        done += len(dataset)
    on_progress(total, total)


def seed_of(*parts: int | str) -> int:
    """Compute a seed of 63 bits from these parts. Equal parts give equal seeds on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()) >> 1


def shuffled(rows: Int64[np.ndarray, "N"], count: int, step: int, *seed: int | str) -> Int64[np.ndarray, "K"]:
    """Rows of batch number `step`: one shuffle of all rows after the other, cut into pieces of `count`.

    It needs no state, so a training that resumes at a step sees what it would have seen.
    """
    first, last = step * count, (step + 1) * count
    rounds = range(first // len(rows), (last - 1) // len(rows) + 1)
    orders = [np.random.default_rng(seed_of(*seed, number)).permutation(rows) for number in rounds]
    start = first - rounds[0] * len(rows)
    return np.concatenate(orders)[start : start + count]
