"""Make a trainable detector from an exported one, whose normalisation is folded into its convolutions.

    python scripts/unfold_detector.py --out FOLDER
    crossnets train --preset detector --init FOLDER --learning-rate detect=0.0015 --out RUN

The statistics of normalisation are computed on rendered frames of the training's kind.
"""

import argparse
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from crossnets.inference import bundle
from crossnets.inference.loading import DETECTOR
from crossnets.models.detector import DetectorNet, DetectorNetConfig
from crossnets.synth.scenes import SyntheticScenes
from crossnets.training.presets import detector
from crossnets.training.scenes import rendered_scenes
from crossnets.weights import SHIPPED

FRAMES = 128
"""Number of rendered frames of each camera."""


def unfolded(path: Path, images: torch.Tensor) -> DetectorNet:
    """Return the network of an exported detector with separate normalisation."""
    network = DetectorNet(DetectorNetConfig(), torch.Generator().manual_seed(0)).eval()
    state = network.state_dict()
    for constant in onnx.load(path).graph.initializer:
        name = constant.name.removesuffix("_half")
        layer, _, kind = name.rpartition(".")
        before, _, number = layer.rpartition(".")
        if kind == "bias" and name not in state:  # the bias of a normalisation that was folded
            name = f"{before}.{int(number) + 1}.bias"
        if name in state:
            state[name].copy_(torch.from_numpy(numpy_helper.to_array(constant).astype(np.float32)))
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.constant_(norm.weight, (1 + norm.eps) ** 0.5)  # with a variance of 1 the layer is the identity
    seen = {}
    hooks = [norm.register_forward_pre_hook(lambda norm, given: seen.update({norm: given[0]})) for norm in norms]
    with torch.no_grad():
        network(images)
        for norm in norms:
            mean = seen[norm].mean(dim=(0, 2, 3))
            var = seen[norm].var(dim=(0, 2, 3), unbiased=False)
            norm.running_mean = mean
            norm.running_var = var
            norm.weight.copy_((var + norm.eps).sqrt())
            norm.bias += mean
    for hook in hooks:
        hook.remove()
    return network


def main() -> None:
    """Unfold the detector and save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--detector", type=Path, default=SHIPPED / DETECTOR, help="exported detector, that of the package by default"
    )
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    sources = detector(seed=44).scenes.sources
    parts = [rendered_scenes(SyntheticScenes(source), np.arange(FRAMES)).image.float() for source in sources]
    network = unfolded(given.detector, torch.cat(parts))
    config = bundle.DetectorConfig(preset="detector", networks=network.config)
    bundle.save(bundle.Detector(config, network), given.out)
    print(f"Saved {given.out}.")


if __name__ == "__main__":
    main()
