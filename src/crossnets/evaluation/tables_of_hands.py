"""Predicted hands as tables for other programs: CSV, and arrays of numpy."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from crossnets.atomic import replacing
from crossnets.evaluation.predictions import PredictionHeader
from crossnets.geometry.skeleton import find_skeleton
from crossnets.inference.hand import Hand
from crossnets.inference.predict import PredictedHands

COLUMNS = (
    *("key", "sequence", "hand", "side", "side_probability", "size_mm"),
    *("joint", "x_mm", "y_mm", "z_mm", "u_px", "v_px", "std_mm", "confidence"),
)
"""Columns of the CSV. Values that the model does not give are empty."""


def write_csv(path: Path, frames: Iterable[PredictedHands]) -> int:
    """Write one row for each joint of each hand. A frame without hands has one row with its key and nothing else.

    The file appears whole or not at all.

    Returns:
        Number of frames.
    """
    count = 0
    with replacing(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for frame in frames:
            count += 1
            if not frame.hands:
                writer.writerow([frame.key, frame.sequence, *[""] * (len(COLUMNS) - 2)])
            for number, hand in enumerate(frame.hands):
                writer.writerows(_rows(frame, number, hand))
    return count


def _rows(frame: PredictedHands, number: int, hand: Hand) -> Iterator[list[object]]:
    probability = "" if hand.side_probability is None else f"{hand.side_probability:.4f}"
    size = "" if hand.size_mm is None else f"{hand.size_mm:.1f}"
    start = [frame.key, frame.sequence, number, hand.side or "", probability, size]
    confidence = hand.confidence
    for joint, name in enumerate(hand.skeleton.joints):
        places = [f"{value:.2f}" for value in (*hand.joints_mm[joint], *hand.joints_px[joint])]
        std = "" if hand.std_mm is None else f"{hand.std_mm[joint]:.2f}"
        sure = "" if confidence is None else f"{confidence[joint]:.4f}"
        yield [*start, name, *places, std, sure]


def write_npz(path: Path, header: PredictionHeader, frames: Iterable[PredictedHands]) -> int:
    """Write arrays with one row for each hand. `frame` is the row of `keys` that a hand belongs to.

    Values that the model does not give are NaN, and sides are empty texts. `numpy.load` reads the file without
    pickles. The file appears whole or not at all.

    Returns:
        Number of frames.
    """
    keys: list[str] = []
    sequences: list[str] = []
    owners: list[int] = []
    hands: list[Hand] = []
    for number, frame in enumerate(frames):
        keys.append(frame.key)
        sequences.append(frame.sequence)
        owners += [number] * len(frame.hands)
        hands += frame.hands
    skeleton = find_skeleton(header.skeleton)
    joints = len(skeleton)
    unknown = np.full(joints, np.nan, np.float32)
    confidences = [hand.confidence for hand in hands]
    probabilities = [np.nan if hand.side_probability is None else hand.side_probability for hand in hands]
    arrays = {
        "keys": np.array(keys, dtype=np.str_),
        "sequences": np.array(sequences, dtype=np.str_),
        "frame": np.array(owners, np.int64),
        "joints_mm": np.array([hand.joints_mm for hand in hands], np.float32).reshape(-1, joints, 3),
        "joints_px": np.array([hand.joints_px for hand in hands], np.float32).reshape(-1, joints, 2),
        "std_mm": np.array([unknown if h.std_mm is None else h.std_mm for h in hands], np.float32).reshape(-1, joints),
        "confidence": np.array([unknown if c is None else c for c in confidences], np.float32).reshape(-1, joints),
        "side": np.array([hand.side or "" for hand in hands], dtype=np.str_),
        "side_probability": np.array(probabilities, np.float32),
        "size_mm": np.array([np.nan if hand.size_mm is None else hand.size_mm for hand in hands], np.float32),
        "joints": np.array(skeleton.joints, dtype=np.str_),
        "parents": np.array(skeleton.parents, np.int64),
        "skeleton": np.array(skeleton.name),
        "model": np.array(header.model),
    }
    with replacing(path) as part, part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    return len(keys)
