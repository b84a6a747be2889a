"""Make the model that comes with the package out of runs: calibrate, halve what can be halved, export, measure.

    python scripts/ship.py RUN --detector RUN

Everything is measured on rendered hands that no training sees; the numbers go to measured.json beside the weights.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from crossnets import metrics
from crossnets.atomic import write_text
from crossnets.demo.hands import HeldOutHands
from crossnets.export.comparison import rendered
from crossnets.export.int8 import to_int8
from crossnets.export.networks import detector_to_onnx, to_onnx
from crossnets.inference import bundle
from crossnets.inference.calibration import std_per_spread
from crossnets.inference.loading import DETECTOR, INTEGERS, NETWORK, WEIGHTS
from crossnets.inference.torch_models import Estimator
from crossnets.models.blocks import BatchNorm2d
from crossnets.models.crossnet import CrossNet
from crossnets.synth.hand.skeleton_maps import skeleton_maps
from crossnets.training.damage import damage_crops
from crossnets.training.presets import crossnets
from crossnets.training.rendering import half_mirrored, renderings
from crossnets.weights import SHIPPED

_SETTLED_BATCH, _SETTLED_BATCHES = 512, 10
"""Crops that the statistics of the normalisation are taken over. Ten batches give plain means (`models.blocks`)."""


def halved(estimator: Estimator) -> Estimator:
    """With kernels and matrices rounded to half precision, which is how they are stored."""
    with torch.no_grad():
        for value in estimator.networks.state_dict().values():
            if value.is_floating_point() and value.ndim > 1:
                value.copy_(value.half().float())
    return estimator


def settled(estimator: Estimator, seed: int) -> Estimator:
    """With normalisation statistics of the weights as they are stored.

    A training in bfloat16 sees weights that are rounded, so the running averages that it leaves are those of slightly
    other weights. That costs 2.5 mm. The averages are taken anew over crops as the training sees them, in float32.
    """
    networks = estimator.networks
    assert isinstance(networks, CrossNet)
    config = crossnets(seed=seed).rendered
    assert config is not None
    layers = [layer for layer in networks.dense.modules() if isinstance(layer, BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
    networks.dense.train()
    whole = renderings(config, _SETTLED_BATCH)
    for number in track(range(_SETTLED_BATCHES), "settling"):
        batch = half_mirrored(whole[number], True)
        image = batch.image
        if config.damage is not None:
            image = damage_crops(image, batch.joints, config.damage, number)
        with torch.no_grad():
            networks.dense(image)
    networks.eval()
    return estimator


def calibrated(estimator: Estimator, frames: int, seed: int) -> Estimator:
    """With deviations that hold on rendered hands, and the other skeletons' joints where this version has them."""
    hands = HeldOutHands(crossnets(seed=seed), frames)
    factor = std_per_spread(estimator, hands.frames, list(hands.centers_mm), hands.joints_mm)
    config = replace(estimator.config, std_per_spread=factor)
    return Estimator(config, estimator.networks, skeleton_maps(estimator.skeleton))


def measured(estimator: Estimator, frames: int, seed: int) -> dict[str, float]:
    """Errors and coverage on other rendered hands than those of the calibration."""
    hands = HeldOutHands(crossnets(seed=seed), frames)
    joints, std = [], []
    for image, center_mm in track(list(zip(hands.frames, hands.centers_mm, strict=True)), "measuring"):
        found, _ = estimator.estimate_frames([image], [center_mm])
        assert found.std_mm is not None
        joints.append(found.joints_mm[0])
        std.append(found.std_mm[0])
    errors = metrics.joint_errors_mm(np.stack(joints), hands.joints_mm)
    within = metrics.coverage(np.stack(joints), hands.joints_mm, np.stack(std))
    return {
        "frames": frames,
        "mean_mm": float(errors.mean()),
        "median_mm": float(np.median(errors)),
        "frames_within_40_mm": float(metrics.frame_success(errors)[40]),
        "within_1_sigma": float(within[10]),
        "within_2_sigma": float(within[20]),
        "always_the_mean_pose_mm": hands.mean_pose_error_mm(),
    }


def main() -> None:
    """Ship."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="of the preset crossnets")
    parser.add_argument("--detector", type=Path, help="run of the preset detector")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=SHIPPED)
    given = parser.parse_args()
    estimator = settled(halved(bundle.load(given.run)), seed=3)
    estimator = calibrated(estimator, given.frames, seed=1)
    bundle.save(estimator, given.out, half=True)
    estimator = bundle.load(given.out)
    to_onnx(estimator, given.out / NETWORK, given.out / WEIGHTS)
    crops = rendered(512, "calibrate", estimator.config.cube_mm).crops
    to_int8(given.out / NETWORK, given.out / INTEGERS, estimator.arrays(crops))
    if given.detector is not None:
        detector_to_onnx(bundle.load_detector(given.detector), given.out / DETECTOR)
    numbers = measured(estimator, given.frames, seed=2)
    write_text(given.out / "measured.json", json.dumps(numbers, indent=2) + "\n")
    for path in sorted(given.out.glob("*")):
        if path.suffix in (".onnx", ".safetensors"):
            print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    print(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()
