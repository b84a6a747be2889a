"""Peak performance of the processor, measured by matrix products with the same runtimes as the networks.

This is the arithmetic limit of the roofline model, its flat part (Williams, Waterman, Patterson, "Roofline", 2009).
Networks whose weights exceed the cache are bound by memory before they come near it.
"""

from pathlib import Path

import numpy as np
import onnx

from crossnets.benchmark.engines import Engine, open_run
from crossnets.benchmark.graphs import INPUT, Graph, cost
from crossnets.benchmark.timing import Case

SIDE = 512
"""Side of the matrices. Runtimes are fastest at this side among 256, 512, 1024 and 2048."""
PRODUCTS = 16
PEAK = "products of matrices"
OUTPUT = "sums"


def gemm(side: int = SIDE, products: int = PRODUCTS) -> onnx.ModelProto:
    """Graph that multiplies a square matrix by `products` others. It outputs sums, so that little data is copied."""
    g = Graph(PEAK, (1, side, side))
    rng = np.random.default_rng(0)
    x = g.node("Squeeze", [INPUT, g.constant(np.array([0, 1], np.int64))], (side, side))
    for _ in range(products):
        weights = rng.standard_normal((side, side), np.float32) * np.float32(side**-0.5)
        x = g.node("MatMul", [x, g.constant(weights)], (side, side))
    return g.finish(g.node("ReduceSum", [x, g.constant(np.array([0], np.int64))], (side,)), OUTPUT)


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
