from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crossnets.geometry.crop import crop_hand, normalise
from crossnets.geometry.cube import into_cubes, views_of
from crossnets.geometry.skeleton import MSRA21
from crossnets.synth.hand.joint_places import joints_length
from crossnets.synth.stream import SyntheticConfig, SyntheticHands
from crossnets.tensors import RenderedBatch
from crossnets.training.config import RenderedConfig
from crossnets.training.devices import Machine
from crossnets.training.rendering import kept, rendered, stream

SOURCES = (
    SyntheticConfig(camera="realsense-sr300", seed=5, noise=(0.0, 0.0)),
    SyntheticConfig(camera="cvar-senz3d", seed=6, noise=(0.0, 0.0), cube_mm=(190.0, 290.0)),
)
CONFIG = RenderedConfig(sources=SOURCES, kept_frames=20)


def same(a: RenderedBatch, b: RenderedBatch) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def take(first: int, total: int, workers: int = 0) -> list[RenderedBatch]:
    with stream(CONFIG, 8, first, total, Machine(device=torch.device("cpu"), workers=workers)) as batches:
        return list(batches)


def test_a_resumed_stream_gives_the_same_batches() -> None:
    whole = take(0, 5)
    assert len(whole) == 5
    assert len(whole[0].side) == 8
    for first in (1, 2, 3, 4):
        assert all(same(a, b) for a, b in zip(take(first, 5), whole[first:], strict=True))
    assert not same(whole[0], whole[2])


def test_another_process_renders_the_same() -> None:
    assert all(same(a, b) for a, b in zip(take(0, 3, workers=1), take(0, 3), strict=True))


def test_each_rendering_is_seen_twice_once_in_a_mirror() -> None:
    one, other, *_ = take(0, 2)
    assert same(other.mirrored(), one)
    assert not same(one, other)
    assert same(one.mirrored().mirrored(), one)


def test_crops_are_those_that_a_frame_of_the_stream_gives() -> None:
    hands = SyntheticHands(SOURCES[1])
    found = rendered(hands, np.arange(3))
    crops = hands.crops(np.arange(3))
    for k in range(3):
        frame = hands.frame(k)
        assert frame.joints_mm is not None
        crop = crop_hand(frame.depth_mm, frame.camera, crops.centers_mm[k], float(crops.cube_mm[k]))
        np.testing.assert_allclose(found.image[k, 0].float(), normalise(crop, "metric"), atol=1e-3)
        np.testing.assert_allclose(found.joints[k], into_cubes(frame.joints_mm[None], views_of([crop]))[0], atol=1e-3)
        length = joints_length(frame.joints_mm[None], MSRA21)[0]
        assert 90 < length < 230
        assert float(found.log_size[k].exp()) * crop.cube_mm == pytest.approx(length, rel=1e-4)


def test_frames_are_kept_once(tmp_path: Path) -> None:
    calls = []
    frames = kept(CONFIG, MSRA21, tmp_path, lambda done, total: calls.append(done))
    assert len(frames) == 20
    assert len(frames.labelled) == 20
    assert not len(frames.unlabelled)
    assert calls
    np.testing.assert_array_equal(frames.y[:, MSRA21.reference], 0)
    calls.clear()
    again = kept(CONFIG, MSRA21, tmp_path, lambda done, total: calls.append(done))
    assert not calls
    np.testing.assert_array_equal(again.images, frames.images)
    np.testing.assert_array_equal(again.y, frames.y)
    other = kept(replace(CONFIG, kept_frames=8), MSRA21, tmp_path)
    assert len(other) == 8


def test_a_batch_must_be_shared_evenly_by_the_cameras() -> None:
    with (
        pytest.raises(ValueError, match=r"batches of 7, which 1 processes cannot .* a multiple of 2"),
        stream(CONFIG, 7, 0, 1, Machine(device=torch.device("cpu"), workers=0)),
    ):
        pass
