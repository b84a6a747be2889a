"""Peak performance of the processor, measured by matrix products with the same runtimes as the networks.

This is the arithmetic limit of the roofline model, its flat part (Williams, Waterman, Patterson, "Roofline", 2009).
Networks whose weights exceed the cache are bound by memory before they come near it.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from crossnets.benchmark.engines import Engine, open_run
from crossnets.benchmark.onnx_graphs import cost
from crossnets.benchmark.timing import Case

SIDE = 512
"""Side of the matrices. Runtimes are fastest at this side among 256, 512, 1024 and 2048."""
PRODUCTS = 16
PEAK = "products of matrices"
OUTPUT = "sums"
_OPSET = 18
_IR = 10


def gemm(side: int = SIDE, products: int = PRODUCTS) -> onnx.ModelProto:
    """Graph that multiplies a square matrix by `products` others. It outputs sums, so that little data is copied."""
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("Squeeze", ["image", "image axes"], ["product 0"])]
    constants = [numpy_helper.from_array(np.array([0, 1], np.int64), "image axes")]
    for number in range(products):
        weights = rng.standard_normal((side, side), np.float32) * np.float32(side**-0.5)
        constants.append(numpy_helper.from_array(weights, f"weights {number}"))
        nodes.append(helper.make_node("MatMul", [f"product {number}", f"weights {number}"], [f"product {number + 1}"]))
    constants.append(numpy_helper.from_array(np.array([0], np.int64), "rows"))
    nodes.append(helper.make_node("ReduceSum", [f"product {products}", "rows"], [OUTPUT]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 1, side, side])
    sums = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, side])
    graph = helper.make_graph(nodes, PEAK, [image], [sums], constants)
    return helper.make_model(graph, ir_version=_IR, opset_imports=[helper.make_opsetid("", _OPSET)])


def gemm_case(folder: Path, engine: Engine, side: int = SIDE, products: int = PRODUCTS) -> tuple[Case, int]:
    """The timed call and its number of multiply-adds."""
    path = folder / "gemm.onnx"
    model = gemm(side, products)
    onnx.save_model(model, str(path))
    run = open_run(path, engine, [OUTPUT])
    matrix = np.random.default_rng(1).standard_normal((1, 1, side, side), np.float32)

    def call() -> None:
        run(matrix)

    return Case(call), cost(model).macs
