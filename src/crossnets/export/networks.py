"""Write a trained model as one file that runs without torch."""

import copy
import itertools
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from crossnets.atomic import make_folder, replacing
from crossnets.geometry.crop import CROP_PX
from crossnets.geometry.thinned import CHANNELS
from crossnets.inference import detector as detect
from crossnets.inference.description import KEY, OUTPUTS, digest, to_text
from crossnets.inference.engines import openvino_core
from crossnets.inference.torch_models import Detector, Estimator
from crossnets.models.crossnet import DensePosterior
from crossnets.models.detector import DetectorNet
from crossnets.models.networks import Networks
from crossnets.models.own import Found
from crossnets.types import POSE_UNIT_MM

_LARGE = 64
"""Least number of values of a constant that is stored as float16."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide messages of the exporter about itself and about unused packages."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


class _Outputs(nn.Module):
    """Wrapper whose output is plain tensors in the order of `OUTPUTS`."""

    def __init__(self, networks: Networks) -> None:
        super().__init__()
        self.networks = networks

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found = self.networks(image)
        if isinstance(self.networks, DensePosterior):
            return found.outputs()
        if isinstance(found, Found):
            return tuple(part.float() for part in found if part is not None)
        return (POSE_UNIT_MM * (found.y + found.t[:, None]),)


def to_onnx(estimator: Estimator, path: Path, weights: Path | None = None) -> None:
    """Write a network with its description. The file appears whole or not at all.

    `weights` is the file that the estimator was loaded from. Its digest in the description shows later whether both
    files belong together.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is not installed.
    """
    image = torch.zeros(2, 1, CROP_PX, CROP_PX)
    outputs = _Outputs(estimator.networks).eval()
    with torch.no_grad():
        names = OUTPUTS[: len(outputs(image))]
    sizes = {0: torch.export.Dim("batch")}
    proto = _program(outputs, image, "depth", names, sizes)
    _write(proto, to_text(estimator.model, estimator.maps, None if weights is None else digest(weights)), path)


def _program(network: nn.Module, image: Tensor, depth: str, outputs: Sequence[str], sizes: dict[int, Any]) -> Any:
    """Convert a network to ONNX. `sizes` are the axes of the image with a free size."""
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            network,
            (image,),
            input_names=[depth],
            output_names=list(outputs),
            dynamic_shapes=(sizes,),
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def _write(proto: Any, description: str, path: Path) -> None:
    import onnx

    for part in (*proto.graph.node, *proto.graph.value_info, *proto.graph.input, *proto.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]  # the exporter writes its own code lines and paths of this machine there
    entry = proto.metadata_props.add()
    entry.key = KEY
    entry.value = description
    onnx.checker.check_model(proto)
    with replacing(path) as part:
        onnx.save_model(proto, str(part))


def detector_to_onnx(detector: Detector, path: Path) -> None:
    """Write a detector as ONNX. It accepts images of any size. Its weights are stored as float16, which halves the
    file.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is not installed.
    """
    sizes = {0: torch.export.Dim("batch"), **{k: 16 * torch.export.Dim(name) for k, name in ((2, "h16"), (3, "w16"))}}
    image = torch.zeros(2, CHANNELS, 128, 160)
    proto = _program(folded(detector.networks), image, detect.INPUT, [detect.OUTPUT], sizes)
    _halve_weights(proto)
    _write(proto, detect.to_text(detector.model), path)


def folded(network: DetectorNet) -> DetectorNet:
    """Return a copy that computes the same with normalisation folded into the convolutions before it."""
    copied = copy.deepcopy(network).eval()
    for part in copied.modules():
        if isinstance(part, nn.Sequential):
            layers = list(part)
            for k, (layer, norm) in enumerate(itertools.pairwise(layers)):
                if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    part[k] = fuse_conv_bn_eval(layer, norm)
                    part[k + 1] = nn.Identity()
    return copied


def _halve_weights(proto: Any) -> None:
    """Store large constants as float16, in place. Runtimes compute the added casts once, when they load the file."""
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and np.prod(tensor.dims) >= _LARGE:
            name = tensor.name
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_half"))
            casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def to_openvino(onnx: Path, path: Path) -> None:
    """Convert an exported network to OpenVINO's pair of files: `path`, which ends in .xml, and a .bin beside it.

    Raises:
        ModuleNotFoundError: openvino is not installed.
    """
    import openvino

    make_folder(path.parent)
    # The folder has a fixed name, so that the next export removes it if a kill left it behind.
    folder = path.with_name(path.name + ".part")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        written = folder / path.name
        openvino.save_model(openvino_core().read_model(str(onnx)), str(written), compress_to_fp16=False)
        # An old .xml must never lie beside the new .bin, even if a kill comes between both.
        path.unlink(missing_ok=True)
        for suffix in (".bin", ".xml"):
            written.with_suffix(suffix).replace(path.with_suffix(suffix))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
