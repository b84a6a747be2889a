"""Make the model of the package from runs: store weights in half precision, calibrate, export, and measure.

    python scripts/ship.py RUN --detector RUN

All measurements use rendered hands that no training uses. The numbers go to measured.json beside the weights. The
calibration needs the extra anny.
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
from crossnets.demo.hands import FOUND_MM, HeldOutHands
from crossnets.export.exporting import rendered
from crossnets.export.int8 import to_int8
from crossnets.export.networks import detector_to_onnx, to_onnx
from crossnets.inference import bundle
from crossnets.inference.calibration import deviations
from crossnets.inference.detector import Detection, HandDetector, load_detector
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.hands import estimate_hands
from crossnets.inference.loading import DETECTOR, INTEGERS, NETWORK, WEIGHTS, detector_of, open_estimator
from crossnets.inference.torch_models import Estimator
from crossnets.models.crossnet import DensePosterior
from crossnets.models.networks import without_hand_output
from crossnets.synth.hand.skeleton_maps import skeleton_maps
from crossnets.training.batch_norm import BATCHES, Averages
from crossnets.training.damage import damage_crops
from crossnets.training.hand_output import examples, with_hand_output
from crossnets.training.presets import crossnets
from crossnets.training.rendering import half_mirrored, renderings
from crossnets.types import HandFrame
from crossnets.weights import SHIPPED

_SETTLED_BATCH = 512
"""Size of the batches for the statistics of normalisation."""

_MESHES = 0.5
"""Share of meshes of the body model Anny among the hands that calibrate the deviations."""
_SCALE, _OFFSET_MM, _FOCAL = 0.01, 5.0, 0.01
"""Deviations of the scale and offset of depth and of the focal length among these hands' cameras."""
_HAND_SEED = 7_000_000
"""Seed of the frames for the output for hands. No training or measurement uses these frames."""


def averaged(estimator: Estimator, before: Estimator, share: float) -> Estimator:
    """Take the mean of the weights with those of the model that the training started from (Wortsman et al. 2022).

    A training on other hands forgets some of what the model knew, and their mean knows most of both. The statistics of
    normalisation must be computed anew.

    Args:
        estimator: The model of the training. Its weights are changed.
        before: The model that it started from.
        share: Share of the weights of `before`, 0 to 1.
    """
    old = without_hand_output(before.networks.state_dict())
    with torch.no_grad():
        for name, value in estimator.networks.state_dict().items():
            if value.is_floating_point():
                value.lerp_(old[name], share)
    return estimator


def halved(estimator: Estimator) -> Estimator:
    """Round kernels and matrices to half precision, in which they are stored."""
    with torch.no_grad():
        for value in estimator.networks.state_dict().values():
            if value.is_floating_point() and value.ndim > 1:
                value.copy_(value.half().float())
    return estimator


def settled(estimator: Estimator, seed: int) -> Estimator:
    """Compute the statistics of normalisation again for the stored weights, over crops of the training's kind.

    The rounding of the weights changes the statistics as a training in bfloat16 does.
    """
    networks = estimator.networks
    assert isinstance(networks, DensePosterior)
    config = crossnets(seed=seed).rendered
    whole = renderings(config, _SETTLED_BATCH)
    images = []
    for number in track(range(BATCHES), "settling"):
        batch = half_mirrored(whole[number], True)
        damage = config.damage
        images.append(batch.image if damage is None else damage_crops(batch.image, batch.joints, damage, number))
    Averages((networks.dense.train(),), lambda: images).compute()
    networks.eval()
    return estimator


def calibrated(estimator: Estimator, detector: HandDetector, frames: int, seed: int) -> Estimator:
    """Calibrate the deviations, and add the maps to other skeletons.

    Half of the hands are meshes of the body model Anny, and cameras are known as well as real ones, so that the
    deviations include errors that hands and cameras of the training do not have.
    """
    plain = crossnets(seed=seed)
    sources = tuple(replace(source, anny=_MESHES) for source in plain.rendered.sources)
    hands = HeldOutHands(replace(plain, rendered=replace(plain.rendered, sources=sources)), frames)
    rng = np.random.default_rng(seed)
    images = [as_if_known(frame, rng) for frame in hands.frames]
    found = deviations(estimator, images, lambda image: detector(image.depth_mm, image.camera), hands.joints_mm)
    config = replace(estimator.config, **found._asdict())
    return Estimator(config, estimator.networks, skeleton_maps(estimator.skeleton))


def as_if_known(frame: HandFrame, rng: np.random.Generator) -> HandFrame:
    """Change a frame as if its camera had a wrong scale and offset of depth, and a wrong focal length."""
    scale = 1 + _SCALE * rng.standard_normal()
    offset_mm = _OFFSET_MM * rng.standard_normal()
    focal = 1 + _FOCAL * rng.standard_normal()
    depth_mm = np.where(frame.depth_mm > 0, frame.depth_mm * scale + offset_mm, 0).astype(np.float32)
    camera = frame.camera._replace(fx_px=frame.camera.fx_px * focal, fy_px=frame.camera.fy_px * focal)
    return replace(frame, depth_mm=depth_mm, camera=camera)


def measured(estimator: CropEstimator, detector: HandDetector, frames: int, seed: int) -> dict[str, float]:
    """Measure errors of detected hands and of hands at given places, on other hands than those of the calibration."""
    hands = HeldOutHands(crossnets(seed=seed), frames)
    found, truth, std, given = [], [], [], []
    for image, center_mm, joints_mm in track(
        list(zip(hands.frames, hands.centers_mm, hands.joints_mm, strict=True)), "measuring"
    ):
        given.append(estimate_hands(estimator, image, [Detection.at(center_mm)]).estimates.joints_mm[0])
        places = detector(image.depth_mm, image.camera)
        if not places:
            continue
        estimated = estimate_hands(estimator, image, places)
        estimates = estimated.estimates
        assert estimates.std_mm is not None
        for row in estimated.hands:
            if np.linalg.norm(estimates.joints_mm[row].mean(axis=0) - joints_mm.mean(axis=0)) < FOUND_MM:
                found.append(estimates.joints_mm[row])
                std.append(estimates.std_mm[row])
                truth.append(joints_mm)
                break
    within = metrics.coverage(np.stack(found), np.stack(truth), np.stack(std))
    return {
        "frames": frames,
        "found": len(found) / frames,
        **_errors(np.stack(found), np.stack(truth), "found_"),
        "within_1_sigma": float(within[10]),
        "within_2_sigma": float(within[20]),
        **_errors(np.stack(given), hands.joints_mm, "given_"),
        "always_the_mean_pose_mm": hands.mean_pose_error_mm(),
    }


def _errors(joints_mm: np.ndarray, labels_mm: np.ndarray, prefix: str) -> dict[str, float]:
    errors = metrics.joint_errors_mm(joints_mm, labels_mm)
    return {
        f"{prefix}mean_mm": float(errors.mean()),
        f"{prefix}median_mm": float(np.median(errors)),
        f"{prefix}frames_within_40_mm": float(metrics.frame_success(errors)[40]),
    }


def main() -> None:
    """Make the model and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run of the preset crossnets")
    parser.add_argument("--detector", type=Path, help="run of the preset detector")
    parser.add_argument(
        "--keep-statistics",
        action="store_true",
        help="keep the statistics of normalisation, as for a model that was shipped before",
    )
    parser.add_argument(
        "--before",
        type=Path,
        help="model that the run started from with --init; the weights shipped are a mean of its weights and the run's",
    )
    parser.add_argument("--share", type=float, default=0.25, help="share of --before in the mean")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument(
        "--hand-frames", type=int, default=12_000, help="frames whose candidates train the output for hands"
    )
    parser.add_argument("--out", type=Path, default=SHIPPED)
    given = parser.parse_args()
    estimator = bundle.load(given.run)
    if given.before is not None:
        if given.keep_statistics or not 0 <= given.share <= 1:
            parser.error("--before needs new statistics, so no --keep-statistics, and a --share from 0 to 1")
        estimator = averaged(estimator, bundle.load(given.before), given.share)
    estimator = halved(estimator)
    if not given.keep_statistics:
        estimator = settled(estimator, seed=3)
    if given.detector is not None:
        detector_to_onnx(bundle.load_detector(given.detector), given.out / DETECTOR)
    detector = load_detector(detector_of(given.out))
    shown = examples(estimator, detector, given.hand_frames, _HAND_SEED)
    estimator = halved(with_hand_output(estimator, shown, seed=4))
    estimator = calibrated(estimator, detector, given.frames, seed=1)
    bundle.save(estimator, given.out, half=True)
    estimator = bundle.load(given.out)
    to_onnx(estimator, given.out / NETWORK, given.out / WEIGHTS)
    crops = rendered(512, "calibrate", estimator.config.cube_mm).crops
    to_int8(given.out / NETWORK, given.out / INTEGERS, estimator.arrays(crops))
    numbers = measured(open_estimator(given.out), detector, given.frames, seed=2)
    write_text(given.out / "measured.json", json.dumps(numbers, indent=2) + "\n")
    for path in sorted(given.out.glob("*")):
        if path.suffix in (".onnx", ".safetensors"):
            print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
    print(json.dumps(numbers, indent=2))


if __name__ == "__main__":
    main()
