"""Write networks of published hand pose estimators with random weights as ONNX files, for comparisons of time.

    python scripts/peers.py --out peers
    crossnets benchmark latency --networks peers/*.onnx

Each network is built as its authors published it, for the 14 joints that papers report on NYU. Dropout has no effect in
prediction and is left out. Normalisation is a separate layer, which runtimes fold into convolutions where possible. The
four files take 580 MB.
"""

import argparse
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

JOINTS = 14
INPUT = "depth"
OUTPUT = "joints"
_OPSET = 18
_IR = 10


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

    def finish(self, output: str, name: str = OUTPUT) -> onnx.ModelProto:
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


def deep_prior(joints: int = JOINTS) -> onnx.ModelProto:
    """DeepPrior: Oberweger, Wohlhart, Lepetit, "Hands Deep in Deep Learning", CVWW 2015, figure 1 with 30 dimensions.

    The input is a crop of 128x128. Three convolutions without padding are followed by linear layers of 1024, 1024, 30
    and the joints. It has 2,076,308 parameters and 6,383,084 multiply-adds for 14 joints.
    """
    g = Graph("DeepPrior", (1, 128, 128))
    x = g.relu(g.pool(g.conv(INPUT, 8, 5, same=False), 4))
    x = g.relu(g.pool(g.conv(x, 8, 5, same=False), 2))
    x = g.relu(g.conv(x, 8, 3, same=False))
    return g.finish(_deep_prior_head(g, x, joints))


def deep_prior_pp(joints: int = JOINTS) -> onnx.ModelProto:
    """DeepPrior++: Oberweger and Lepetit, ICCV workshops 2017, section 3.3, with the sizes of the authors' code.

    The input is a crop of 128x128. A convolution is followed by four stages of five bottlenecks with the normalisation
    first (He et al. 2016, "Identity mappings"). They have 64, 128, 256 and 256 channels at strides 4, 8, 16 and 16.
    DeepPrior's linear layers follow.
    """
    g = Graph("DeepPrior++", (1, 128, 128))
    x = g.pool(g.conv(INPUT, 32, 5), 2)
    for channels in (64, 128, 256, 256):
        for number in range(5):
            x = _identity_block(g, x, channels, 2 if number == 0 else 1)
    return g.finish(_deep_prior_head(g, g.relu(g.norm(x)), joints))


def _identity_block(g: Graph, x: str, channels: int, stride: int) -> str:
    """Bottleneck with the normalisation first.

    As in the authors' code, a stage with unchanged channels has no projection and therefore also keeps its size.
    """
    project = g.shapes[x][0] != channels
    first = g.relu(g.norm(x))
    y = g.conv(first, channels // 4, 1, stride=stride if project else 1)
    y = g.conv(g.relu(g.norm(y)), channels // 4, 3)
    y = g.conv(g.relu(g.norm(y)), channels, 1)
    return g.add(g.conv(first, channels, 1, stride=stride) if project else x, y)


def _deep_prior_head(g: Graph, x: str, joints: int) -> str:
    x = g.relu(g.dense(x, 1024))
    x = g.relu(g.dense(x, 1024))
    return g.dense(g.dense(x, 30), 3 * joints)


def ren(joints: int = JOINTS) -> onnx.ModelProto:
    """REN-9x6x6: Wang, Chen, Guo, Zhang, "Region Ensemble Network", JVCI 2018 (arXiv:1707.07248), and its prototxt.

    The input is a crop of 96x96. Six 3x3 convolutions with two residual connections and three poolings give 64 maps of
    12x12. Nine regions of 6x6, three by three and half overlapping, have two linear layers of 2048 each. One more layer
    joins all regions.
    """
    g = Graph("REN-9x6x6", (1, 96, 96))
    x = g.conv(g.relu(g.conv(INPUT, 16, 3)), 16, 3)
    x = g.relu(g.pool(x, 2))
    for channels in (32, 64):
        skip = g.relu(g.conv(x, channels, 1))
        x = g.conv(g.relu(g.conv(skip, channels, 3)), channels, 3)
        x = g.relu(g.pool(g.add(skip, x), 2))
    regions = []
    for top, left in np.ndindex(3, 3):
        part = g.region(x, 3 * top, 3 * left, 6)
        regions.append(g.relu(g.dense(g.relu(g.dense(part, 2048)), 2048)))
    return g.finish(g.dense(g.concat(regions), 3 * joints))


def a2j(joints: int = JOINTS) -> onnx.ModelProto:
    """A2J: Xiong et al., "A2J: Anchor-to-Joint Regression Network", ICCV 2019, section 3, and the authors' code.

    The input is a crop of 176x176. The backbone is ResNet-50 with 23,508,032 parameters. Its last stage is dilated and
    keeps stride 16. Three branches of five 3x3 convolutions follow on 11x11 cells of 16 anchors. Each joint is the mean
    of the anchors' votes, weighted by a softmax (eq. 1).
    """
    g = Graph("A2J", (1, 176, 176))
    x = g.relu(g.norm(g.conv(g.concat([INPUT] * 3), 64, 7, stride=2, bias=False)))
    x = g.pool(x, 3, 2, 1)
    for stage, (channels, count) in enumerate(((64, 3), (128, 4), (256, 6))):
        for number in range(count):
            x = _bottleneck(g, x, channels, stride=2 if stage and number == 0 else 1)
    common = x
    x = _bottleneck(g, x, 512)
    for _ in range(2):
        x = _bottleneck(g, x, 512, dilation=2)
    proposals = _branch(g, common, 16 * joints)
    offsets = _branch(g, x, 2 * 16 * joints)
    depths = _branch(g, x, 16 * joints)
    return g.finish(_vote(g, proposals, offsets, depths, joints))


def _bottleneck(g: Graph, x: str, channels: int, *, stride: int = 1, dilation: int = 1) -> str:
    """Bottleneck of ResNet-50 with the stride in its 3x3 convolution."""
    y = g.relu(g.norm(g.conv(x, channels, 1, bias=False)))
    y = g.relu(g.norm(g.conv(y, channels, 3, stride=stride, dilation=dilation, bias=False)))
    y = g.norm(g.conv(y, 4 * channels, 1, bias=False))
    if g.shapes[x] != g.shapes[y]:
        x = g.norm(g.conv(x, 4 * channels, 1, stride=stride, bias=False))
    return g.relu(g.add(x, y))


def _branch(g: Graph, x: str, outputs: int) -> str:
    for _ in range(4):
        x = g.relu(g.norm(g.conv(x, 256, 3)))
    return g.conv(x, outputs, 3)


def _vote(g: Graph, proposals: str, offsets: str, depths: str, joints: int) -> str:
    """Row, column and depth of each joint by equation (1)."""
    # Each cell of 16 x 16 px has 4 x 4 anchors. The order of the anchors is that of `_by_anchor`.
    count = 16 * 11 * 11
    inside = np.stack(np.meshgrid([2, 6, 10, 14], [2, 6, 10, 14], indexing="ij"), axis=-1).reshape(1, 16, 2)
    cells = 16 * np.stack(np.meshgrid(np.arange(11), np.arange(11)), axis=-1).reshape(-1, 1, 2)
    anchors = g.constant((cells + inside).reshape(1, count, 1, 2).astype(np.float32))
    scores = _by_anchor(g, proposals, (count, joints, 1))
    in_plane = _by_anchor(g, offsets, (count, joints, 2))
    depth = _by_anchor(g, depths, (count, joints, 1))
    weights = g.node("Softmax", [scores], (count, joints, 1), axis=1)
    places = g.node("Add", [in_plane, anchors], (count, joints, 2))
    votes = g.node("Concat", [places, depth], (count, joints, 3), axis=3)
    weighted = g.node("Mul", [votes, weights], (count, joints, 3))
    return g.node("ReduceSum", [weighted, g.constant(np.array([1], np.int64))], (joints, 3), keepdims=0)


def _by_anchor(g: Graph, x: str, shape: tuple[int, ...]) -> str:
    """Reorder maps to (width, height, channels), then reshape them so that the first axis counts anchors."""
    channels, height, width = g.shapes[x]
    turned = g.node("Transpose", [x], (width, height, channels), perm=[0, 3, 2, 1])
    return g.node("Reshape", [turned, g.constant(np.array([1, *shape], np.int64))], shape)


PEERS: dict[str, Callable[[], onnx.ModelProto]] = {
    "DeepPrior": deep_prior,
    "DeepPrior++": deep_prior_pp,
    "REN-9x6x6": ren,
    "A2J": a2j,
}
"""Graphs by name, from few multiply-adds to many."""


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(PEERS), help=f"networks, all by default: {', '.join(PEERS)}")
    parser.add_argument("--out", type=Path, required=True, help="folder for the files")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in PEERS]
    if unknown:
        parser.error(f"unknown network {unknown[0]}: expected {', '.join(PEERS)}")
    given.out.mkdir(parents=True, exist_ok=True)
    for name in given.names:
        path = given.out / f"{name}.onnx"
        onnx.save_model(PEERS[name](), str(path))
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
