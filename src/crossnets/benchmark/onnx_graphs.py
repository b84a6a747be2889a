"""Count the parameters and multiply-adds of an ONNX graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import onnx
from onnx import helper

_SMALL = 64
"""Largest number of values in a constant that shape inference may need, such as the target of a Reshape."""


@dataclass(frozen=True)
class Cost:
    """Cost of a graph for one image."""

    parameters: int
    """Weights and biases of convolutions, linear layers and normalisations."""
    macs: int
    """Multiply-adds of convolutions, linear layers and matrix products."""


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
