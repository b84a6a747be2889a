"""ONNX graphs written layer by layer with random weights, and what any graph costs: parameters and multiply-adds."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

_OPSET, _IR = 18, 10
INPUT = "depth"
_SMALL = 64
"""Values of a constant that may say what shape another tensor has."""


@dataclass(frozen=True)
class Cost:
    """Cost of one image."""

    parameters: int
    """Weights and biases of convolutions, linear layers and normalisations."""
    macs: int
    """Multiply-adds of convolutions, linear layers and matrix products."""


class Graph:
    """A graph that grows. Names stand for tensors; shapes are without the batch, which is one image."""

    def __init__(self, name: str, shape: Sequence[int], seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._model = onnx.ModelProto(ir_version=_IR, opset_import=[helper.make_opsetid("", _OPSET)])
        self._graph = self._model.graph
        self._graph.name = name
        self.shapes: dict[str, tuple[int, ...]] = {INPUT: tuple(shape)}
        self._graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, *shape]))

    def node(self, kind: str, inputs: Sequence[str], shape: Sequence[int], **attributes: Any) -> str:
        """Any operator; `shape` is that of its result."""
        name = f"{kind.lower()}{len(self._graph.node)}"
        self._graph.node.append(helper.make_node(kind, list(inputs), [name], **attributes))
        self.shapes[name] = tuple(shape)
        return name

    def constant(self, values: np.ndarray) -> str:
        """A tensor of the file."""
        tensor = self._graph.initializer.add()  # in place: some are of many megabytes
        tensor.name, tensor.raw_data = f"constant{len(self._graph.initializer)}", values.tobytes()
        tensor.data_type = helper.np_dtype_to_tensor_dtype(values.dtype)
        tensor.dims.extend(values.shape)
        return tensor.name

    def conv(
        self,
        x: str,
        filters: int,
        side: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        same: bool = True,
        bias: bool = True,
    ) -> str:
        """A convolution; `same` pads so that stride 1 keeps the size."""
        channels, *size = self.shapes[x]
        pad = dilation * (side - 1) // 2 if same else 0
        out = [(s + 2 * pad - dilation * (side - 1) - 1) // stride + 1 for s in size]
        inputs = [x, self._random((filters, channels, side, side), channels * side**2)]
        if bias:
            inputs.append(self.constant(np.zeros(filters, np.float32)))
        return self.node(
            "Conv",
            inputs,
            (filters, *out),
            kernel_shape=[side] * 2,
            strides=[stride] * 2,
            dilations=[dilation] * 2,
            pads=[pad] * 4,
        )

    def norm(self, x: str) -> str:
        """Batch normalisation as it is at prediction, with statistics that leave the values about as they were."""
        channels = self.shapes[x][0]
        rows = [
            self._rng.uniform(low, high, channels) for low, high in ((0.9, 1.1), (-0.1, 0.1), (-0.1, 0.1), (0.9, 1.1))
        ]
        return self.node(
            "BatchNormalization", [x, *(self.constant(row.astype(np.float32)) for row in rows)], self.shapes[x]
        )

    def relu(self, x: str) -> str:
        """max(x, 0)."""
        return self.node("Relu", [x], self.shapes[x])

    def pool(self, x: str, side: int, stride: int | None = None, pad: int = 0) -> str:
        """The largest of each window; windows side by side unless a stride is given."""
        channels, *size = self.shapes[x]
        stride = stride or side
        out = [(s + 2 * pad - side) // stride + 1 for s in size]
        return self.node(
            "MaxPool", [x], (channels, *out), kernel_shape=[side] * 2, strides=[stride] * 2, pads=[pad] * 4
        )

    def dense(self, x: str, outputs: int) -> str:
        """A linear layer, of all values."""
        inputs = prod(self.shapes[x])
        flat = self.node("Flatten", [x], (inputs,), axis=1) if len(self.shapes[x]) > 1 else x
        weights = self._random((outputs, inputs), inputs)
        return self.node("Gemm", [flat, weights, self.constant(np.zeros(outputs, np.float32))], (outputs,), transB=1)

    def add(self, x: str, y: str) -> str:
        """The sum of two tensors of one shape."""
        assert self.shapes[x] == self.shapes[y]
        return self.node("Add", [x, y], self.shapes[x])

    def concat(self, parts: Sequence[str]) -> str:
        """One after another along the first axis."""
        first, *rest = self.shapes[parts[0]]
        return self.node("Concat", parts, (len(parts) * first, *rest), axis=1)

    def region(self, x: str, top: int, left: int, side: int) -> str:
        """A square of the maps."""
        bounds = [np.array(v, np.int64) for v in ([top, left], [top + side, left + side], [2, 3])]
        return self.node("Slice", [x, *(self.constant(v) for v in bounds)], (self.shapes[x][0], side, side))

    def finish(self, output: str, name: str = "joints") -> onnx.ModelProto:
        """The graph as a model with one output. Nothing may be added to it any more."""
        self._graph.node.append(helper.make_node("Identity", [output], [name]))
        shape = [1, *self.shapes[output]]
        self._graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return self._model

    def _random(self, shape: Sequence[int], fan_in: int) -> str:
        """He's normal weights (He et al. 2015), under which values neither grow nor vanish."""
        values = self._rng.standard_normal(tuple(shape), np.float32)
        values *= np.float32(np.sqrt(2 / fan_in))
        return self.constant(values)


def input_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    """Input shape of one image as the file fixes it. Sides that the file leaves open are 0."""
    return tuple(dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:])


def cost(model: onnx.ModelProto, shape: Sequence[int] | None = None) -> Cost:
    """Cost of one image through any graph with one input.

    Args:
        model: Whose.
        shape: Of the image, where the file leaves it open.

    Raises:
        ValueError: a size cannot be inferred.
    """
    copied = _without_weights(model)
    sizes = copied.graph.input[0].type.tensor_type.shape.dim
    for dimension, side in zip(sizes, (1, *(shape or input_shape(model))), strict=True):
        dimension.dim_value = side
    graph = onnx.shape_inference.infer_shapes(copied, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    fixed = set(shapes)
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes.setdefault(value.name, tuple(d.dim_value for d in value.type.tensor_type.shape.dim))
    for node in graph.node:  # weights that the file keeps in another type
        if node.op_type in ("Cast", "Transpose", "Reshape", "Identity") and node.input[0] in fixed:
            fixed.add(node.output[0])
    parameters, macs = 0, 0
    for node in graph.node:
        weights, sums = _cost_of(node, shapes)
        macs += sums
        parameters += sum(prod(shapes[name]) for name in weights if name in fixed)
    return Cost(parameters, macs)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same steps, with only names and shapes of large tensors, and without what the file says of shapes."""
    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = model.graph.name
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    for value in light.graph.output:
        value.type.tensor_type.ClearField("shape")
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= _SMALL:
            light.graph.initializer.append(tensor)
        else:
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return light


def _cost_of(node: Any, shapes: dict[str, tuple[int, ...]]) -> tuple[list[str], int]:
    """Names of what may be parameters, and the multiply-adds of one node."""
    if node.op_type == "BatchNormalization":
        return list(node.input[1:3]), 0
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return [], 0
    first, weights, out = (shapes.get(name, ()) for name in (node.input[0], node.input[1], node.output[0]))
    if not (first and weights and out and all((*first, *weights, *out))):
        raise ValueError(f"The size of {node.op_type} {node.name!r} is not known: {first}, {weights} to {out}.")
    if node.op_type in ("Conv", "ConvTranspose"):
        places = prod(out[2:]) if node.op_type == "Conv" else prod(first[2:])
        return list(node.input[1:]), places * prod(weights)
    transposed = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
    return list(node.input[1:]), prod(out) * first[0 if transposed else -1]
