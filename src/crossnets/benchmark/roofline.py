"""Peak of the processor: matrix products of one size after another, by the same runtimes as the networks.

The roofline here is that of arithmetic alone (Williams, Waterman, Patterson, "Roofline", 2009, its flat part): networks
whose weights do not fit the cache are bound by memory before they come near it.
"""

from pathlib import Path

import numpy as np
import onnx

from crossnets.benchmark.engines import Engine, open_run
from crossnets.benchmark.graphs import INPUT, Graph, cost
from crossnets.benchmark.timing import Case

SIDE, PRODUCTS = 512, 16
"""Runtimes are fastest at this size among 256, 512, 1024 and 2048."""
PEAK, OUTPUT = "products of matrices", "sums"


def gemm(side: int = SIDE, products: int = PRODUCTS) -> onnx.ModelProto:
    """A square matrix times `products` others. The last step sums rows, so that little is copied out."""
    g = Graph(PEAK, (1, side, side))
    rng, x = np.random.default_rng(0), g.node("Squeeze", [INPUT, g.constant(np.array([0, 1], np.int64))], (side, side))
    for _ in range(products):
        weights = rng.standard_normal((side, side), np.float32) * np.float32(side**-0.5)
        x = g.node("MatMul", [x, g.constant(weights)], (side, side))
    return g.finish(g.node("ReduceSum", [x, g.constant(np.array([0], np.int64))], (side,)), OUTPUT)


def gemm_case(folder: Path, engine: Engine, side: int = SIDE, products: int = PRODUCTS) -> tuple[Case, int]:
    """The timed call, and its multiply-adds."""
    path, model = folder / "gemm.onnx", gemm(side, products)
    onnx.save_model(model, str(path))
    run = open_run(path, engine, [OUTPUT])
    matrix = np.random.default_rng(1).standard_normal((1, 1, side, side), np.float32)

    def call() -> None:
        run(matrix)

    return Case(call), cost(model).macs
