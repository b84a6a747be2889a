"""Building ONNX graphs layer by layer with random weights, and counting the cost of any graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

_OPSET = 18
_IR = 10
INPUT = "depth"
_SMALL = 64
"""Largest number of values in a constant that shape inference may need, such as the target of a Reshape."""


@dataclass(frozen=True)
class Cost:
    """Cost of a graph for one image."""

    parameters: int
    """Weights and biases of convolutions, linear layers and normalisations."""
    macs: int
    """Multiply-adds of convolutions, linear layers and matrix products."""


class Graph:
    """Builder of a graph. Its methods take and return names of tensors. Shapes exclude the batch axis of length 1."""

    def __init__(self, name: str, shape: Sequence[int], seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._model = onnx.ModelProto(ir_version=_IR, opset_import=[helper.make_opsetid("", _OPSET)])
        self._graph = self._model.graph
        self._graph.name = name
        self.shapes: dict[str, tuple[int, ...]] = {INPUT: tuple(shape)}
        self._graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, *shape]))

    def node(self, kind: str, inputs: Sequence[str], shape: Sequence[int], **attributes: Any) -> str:
        """Add any operator. `shape` is the shape of its result."""
        name = f"{kind.lower()}{len(self._graph.node)}"
        self._graph.node.append(helper.make_node(kind, list(inputs), [name], **attributes))
        self.shapes[name] = tuple(shape)
        return name

    def constant(self, values: np.ndarray) -> str:
        """Add a constant tensor."""
        # The tensor is filled in place because copies of many megabytes are slow.
        tensor = self._graph.initializer.add()
        tensor.name = f"constant{len(self._graph.initializer)}"
        tensor.raw_data = values.tobytes()
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
        """Add a convolution. `same` pads the input so that stride 1 keeps the size."""
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
        """Add batch normalisation in inference mode. Its random statistics roughly preserve the scale of the values."""
        channels = self.shapes[x][0]
        ranges = ((0.9, 1.1), (-0.1, 0.1), (-0.1, 0.1), (0.9, 1.1))  # scale, bias, mean, variance
        rows = [self._rng.uniform(low, high, channels) for low, high in ranges]
        return self.node(
            "BatchNormalization", [x, *(self.constant(row.astype(np.float32)) for row in rows)], self.shapes[x]
        )

    def relu(self, x: str) -> str:
        """Add max(x, 0)."""
        return self.node("Relu", [x], self.shapes[x])

    def pool(self, x: str, side: int, stride: int | None = None, pad: int = 0) -> str:
        """Add max pooling. The stride is the side of the window unless given."""
        channels, *size = self.shapes[x]
        stride = stride or side
        out = [(s + 2 * pad - side) // stride + 1 for s in size]
        return self.node(
            "MaxPool", [x], (channels, *out), kernel_shape=[side] * 2, strides=[stride] * 2, pads=[pad] * 4
        )

    def dense(self, x: str, outputs: int) -> str:
        """Add a linear layer of all values of `x`."""
        inputs = prod(self.shapes[x])
        flat = self.node("Flatten", [x], (inputs,), axis=1) if len(self.shapes[x]) > 1 else x
        weights = self._random((outputs, inputs), inputs)
        return self.node("Gemm", [flat, weights, self.constant(np.zeros(outputs, np.float32))], (outputs,), transB=1)

    def add(self, x: str, y: str) -> str:
        """Add the sum of two tensors of equal shape."""
        assert self.shapes[x] == self.shapes[y]
        return self.node("Add", [x, y], self.shapes[x])

    def concat(self, parts: Sequence[str]) -> str:
        """Concatenate tensors along the first axis."""
        first, *rest = self.shapes[parts[0]]
        return self.node("Concat", parts, (len(parts) * first, *rest), axis=1)

    def region(self, x: str, top: int, left: int, side: int) -> str:
        """Cut a square region from all channels."""
        bounds = [np.array(v, np.int64) for v in ([top, left], [top + side, left + side], [2, 3])]
        return self.node("Slice", [x, *(self.constant(v) for v in bounds)], (self.shapes[x][0], side, side))

    def finish(self, output: str, name: str = "joints") -> onnx.ModelProto:
        """Return the graph as a model with one output. The graph is then complete and must not be extended."""
        self._graph.node.append(helper.make_node("Identity", [output], [name]))
        shape = [1, *self.shapes[output]]
        self._graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
        return self._model

    def _random(self, shape: Sequence[int], fan_in: int) -> str:
        """Add weights with He's normal initialisation (He et al. 2015), which preserves the scale of the values."""
        values = self._rng.standard_normal(tuple(shape), np.float32)
        values *= np.float32(np.sqrt(2 / fan_in))
        return self.constant(values)


def input_shape(model: onnx.ModelProto) -> tuple[int, ...]:
    """Shape of one input image in the file. Sides that the file leaves open are 0."""
    return tuple(dimension.dim_value for dimension in model.graph.input[0].type.tensor_type.shape.dim[1:])


def cost(model: onnx.ModelProto, shape: Sequence[int] | None = None) -> Cost:
    """Count the cost of any graph with one input.

    Args:
        model: Graph to count.
        shape: Shape of the image. Needed if the file leaves it open.

    Raises:
        ValueError: the size of a tensor cannot be inferred.
    """
    copied = _without_weights(model)
    sizes = copied.graph.input[0].type.tensor_type.shape.dim
    for dimension, side in zip(sizes, (1, *(shape or input_shape(model))), strict=True):
        dimension.dim_value = side
    graph = onnx.shape_inference.infer_shapes(copied, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    stored = set(shapes)
    for value in (*graph.value_info, *graph.input, *graph.output):
        shapes.setdefault(value.name, tuple(d.dim_value for d in value.type.tensor_type.shape.dim))
    # Files may store weights in another type or shape. These operators then convert them.
    for node in graph.node:
        if node.op_type in ("Cast", "Transpose", "Reshape", "Identity") and node.input[0] in stored:
            stored.add(node.output[0])
    parameters = 0
    macs = 0
    for node in graph.node:
        candidates, node_macs = _cost_of(node, shapes)
        macs += node_macs
        parameters += sum(prod(shapes[name]) for name in candidates if name in stored)
    return Cost(parameters, macs)


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Copy the model without the values of large tensors and without the stored shapes of computed tensors."""
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
    """Names of possible parameters, and the number of multiply-adds, of one node."""
    if node.op_type == "BatchNormalization":
        return list(node.input[1:3]), 0
    if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return [], 0
    first, weights, out = (shapes.get(name, ()) for name in (node.input[0], node.input[1], node.output[0]))
    if not (first and weights and out and all((*first, *weights, *out))):
        raise ValueError(f"The size of {node.op_type} {node.name!r} is unknown: {first}, {weights} to {out}.")
    if node.op_type in ("Conv", "ConvTranspose"):
        places = prod(out[2:]) if node.op_type == "Conv" else prod(first[2:])
        return list(node.input[1:]), places * prod(weights)
    transposed = node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute)
    return list(node.input[1:]), prod(out) * first[0 if transposed else -1]
