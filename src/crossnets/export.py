"""A trained model as one file that runs without torch."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crossnets import bundle
from crossnets.atomic import replacing
from crossnets.data.synthetic import SyntheticConfig, SyntheticHands
from crossnets.geometry.crop import CROP_PX, crop_hand
from crossnets.models.crossnet import CrossNet
from crossnets.models.estimator import Estimator
from crossnets.models.networks import Networks
from crossnets.runtime.description import KEY, OUTPUTS, to_text
from crossnets.runtime.engines import load_exported
from crossnets.types import POSE_UNIT_MM

_COMPARED = 64


class _Outputs(nn.Module):
    """The networks' answer as plain tensors, in the order of `OUTPUTS`."""

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.networks = networks

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = self.networks(image)
        if isinstance(self.networks, CrossNet):
            return found.joints, found.log_spread, found.side, found.log_size
        return (POSE_UNIT_MM * (found.y + found.t[:, None]),)


def to_onnx(estimator: Estimator, path: Path) -> None:
    """Write the network with all that is needed around it; the file appears whole or not at all.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is not installed.
    """
    import onnx

    outputs = _Outputs(estimator.networks).eval()
    names = list(OUTPUTS) if isinstance(estimator.networks, CrossNet) else list(OUTPUTS[:1])
    image = torch.zeros(2, 1, CROP_PX, CROP_PX)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the exporter about itself
        program = torch.onnx.export(
            outputs,
            (image,),
            input_names=["depth"],
            output_names=names,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    proto = program.model_proto
    entry = proto.metadata_props.add()
    entry.key, entry.value = KEY, to_text(estimator.model, estimator.maps)
    onnx.checker.check_model(proto)
    with replacing(path) as part:
        onnx.save_model(proto, str(part))


def export_command(run: Path, out: Path | None) -> None:
    """Export a run, and print how far the file's joints are from torch's on rendered hands.

    Raises:
        OSError: there is no model.
        ValueError: its files are damaged.
    """
    estimator = bundle.load(run)
    path = out or (run if (run / "weights.safetensors").is_file() else run / "model") / "model.onnx"
    to_onnx(estimator, path)
    hands = SyntheticHands(SyntheticConfig(seed=_COMPARED))
    crops = []
    for frame in map(hands.frame, range(_COMPARED)):
        assert frame.joints_mm is not None
        crops.append(crop_hand(frame.depth_mm, frame.camera, frame.joints_mm.mean(axis=0), estimator.config.cube_mm))
    found = load_exported(path, "onnxruntime").estimate(crops).joints_mm
    apart = np.linalg.norm(found - estimator.estimate(crops).joints_mm, axis=-1)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    print(
        f"ONNX Runtime against torch on {_COMPARED} rendered hands: {apart.mean():.2g} mm mean, {apart.max():.2g} most"
    )
