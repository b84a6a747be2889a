"""Convert most convolutions of exported networks to eight-bit integers, calibrated on rendered hands."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from crossnets.atomic import replacing

_BATCH = 32
_FIRST = 2
"""Number of the first convolutions, which read depth or nearly depth."""
_INNER = {"Relu", "LeakyRelu", "Add"}
"""Operations that follow a convolution inside a network."""


def to_int8(source: Path, target: Path, images: Float32[np.ndarray, "N 1 S S"]) -> None:
    """Write `source` (ONNX, float32) with most convolutions in int8. The file appears whole or not at all.

    Only convolutions inside the network become integers. The first two read depth, and a millimetre is less than 1/256
    of the cube. Convolutions whose values are outputs, such as the votes for joints, need the same precision. All of
    these stay in float32. On a trained network the votes alone would add an error of 10 mm, and each of the others 0.2
    to 0.5.

    Args:
        source: File of `export.to_onnx`. Its description is kept.
        target: The new file.
        images: Inputs of the network, from which the ranges of values are chosen.

    Raises:
        ModuleNotFoundError: onnx or onnxruntime is not installed.
        ValueError: the network has no convolution that can become integers.
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Crops(CalibrationDataReader):
        def __init__(self, name: str) -> None:
            self._left = iter(np.split(images, range(_BATCH, len(images), _BATCH)))
            self._name = name

        def get_next(self) -> Any:
            part = next(self._left, None)
            return None if part is None else {self._name: part}

    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        graph = onnx.load(str(prepared)).graph
        inner = _inner_convolutions(graph)
        if not inner:  # the quantiser would take an empty list for all convolutions
            raise ValueError(f"{source} has no convolution that can become integers. Export it without --int8.")
        with replacing(target) as part:
            quantize_static(
                str(prepared),
                str(part),
                Crops(graph.input[0].name),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_quantize=inner,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )


def _inner_convolutions(graph: Any) -> list[str]:
    """Return the names of the convolutions, without the first two, that only activations and sums follow."""
    users: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node.op_type)
    convolutions = [node for node in graph.node if node.op_type == "Conv"][_FIRST:]
    return [node.name for node in convolutions if set(users.get(node.output[0], ["none"])) <= _INNER]
