"""Raw depth images for measurements. Each shows one rendered hand in clutter, as a camera outputs it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt16

from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter
from crossnets.types import Pinhole

SEED = 64_000
"""Seed that no training and no other command uses."""


@dataclass(frozen=True)
class RawFrame:
    """One image and the place of its hand."""

    depth_mm: UInt16[np.ndarray, "H W"]
    camera: Pinhole
    center_mm: Float32[np.ndarray, "3"]
    """Mean of the labelled joints."""


def raw_frames(count: int, on_frame: Callable[[int], None] = lambda done: None) -> list[RawFrame]:
    """Render frames of 640x480 pixels in whole millimetres, with all clutter of the renderer except a second hand.

    Raises:
        ValueError: `count` is less than 1.
    """
    if count < 1:
        raise ValueError(f"Found --frames {count}, expected 1 or more.")
    hands = SyntheticHands(SyntheticConfig(seed=SEED, clutter=Clutter(second_hand=0.0)))
    frames = []
    for index in range(count):
        frame = hands.frame(index)
        assert frame.joints_mm is not None
        raw = np.clip(np.rint(frame.depth_mm), 0, np.iinfo(np.uint16).max).astype(np.uint16)
        frames.append(RawFrame(raw, frame.camera, frame.joints_mm.mean(axis=0).astype(np.float32)))
        on_frame(index + 1)
    return frames
