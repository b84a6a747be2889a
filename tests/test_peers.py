"""Graphs of published architectures have the layers of their papers and run."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from crossnets.benchmark.engines import open_run
from crossnets.benchmark.onnx_graphs import Cost, cost, input_shape
from tests.loading import module_at

peers = module_at(Path(__file__).parent.parent / "scripts" / "peers.py")
RESNET50 = 25_557_032 - 2_049_000
"""Number of parameters in torchvision's documentation, without the classifier of 1,000 classes."""


def layer(inputs: int, outputs: int, side: int = 1, places: int = 1, *, bias: bool = True) -> np.ndarray:
    """Parameters and multiply-adds of one layer."""
    weights = inputs * outputs * side**2
    return np.array([weights + outputs * bias, weights * places])


def norm(channels: int) -> np.ndarray:
    return np.array([2 * channels, 0])


def deep_prior() -> np.ndarray:
    """The sides of the maps are 128, 124, 31, 27, 13 and 11."""
    convs = layer(1, 8, 5, 124**2) + layer(8, 8, 5, 27**2) + layer(8, 8, 3, 11**2)
    return convs + deep_prior_head(8 * 11**2)


def deep_prior_head(inputs: int) -> np.ndarray:
    return layer(inputs, 1024) + layer(1024, 1024) + layer(1024, 30) + layer(30, 42)


def deep_prior_pp() -> np.ndarray:
    total = layer(1, 32, 5, 128**2)
    before = 32
    for channels, size in ((64, 32), (128, 16), (256, 8), (256, 8)):
        for _ in range(5):
            inner = channels // 4
            total = total + norm(before) + layer(before, inner, 1, size**2)
            total = total + norm(inner) + layer(inner, inner, 3, size**2)
            total = total + norm(inner) + layer(inner, channels, 1, size**2)
            if before != channels:
                total = total + layer(before, channels, 1, size**2)
            before = channels
    return total + norm(256) + deep_prior_head(256 * 8**2)


def ren() -> np.ndarray:
    total = layer(1, 16, 3, 96**2) + layer(16, 16, 3, 96**2)
    for before, channels, size in ((16, 32, 48), (32, 64, 24)):
        total = total + layer(before, channels, 1, size**2) + 2 * layer(channels, channels, 3, size**2)
    return total + 9 * (layer(64 * 6**2, 2048) + layer(2048, 2048)) + layer(9 * 2048, 42)


def resnet50_macs(sizes: tuple[int, ...]) -> int:
    """`sizes` are the sides after the first convolution, the pooling, and each stage."""
    total = layer(3, 64, 7, sizes[0] ** 2)[1]
    before = 64
    for inner, count, size_in, size in zip((64, 128, 256, 512), (3, 4, 6, 3), sizes[1:-1], sizes[2:], strict=True):
        for number in range(count):
            places = size_in**2 if number == 0 else size**2
            total += layer(before, inner, 1, places)[1] + layer(inner, inner, 3, size**2)[1]
            total += layer(inner, 4 * inner, 1, size**2)[1]
            total += layer(before, 4 * inner, 1, size**2)[1] if number == 0 else 0
            before = 4 * inner
    return int(total)


def a2j_branches() -> np.ndarray:
    inner = 3 * (layer(256, 256, 3, 11**2) + norm(256)) + norm(256)
    starts = layer(1024, 256, 3, 11**2) + 2 * layer(2048, 256, 3, 11**2)
    ends = 2 * layer(256, 16 * 14, 3, 11**2) + layer(256, 2 * 16 * 14, 3, 11**2)
    return 3 * inner + starts + ends


@pytest.fixture(scope="module")
def built() -> dict[str, onnx.ModelProto]:
    return {name: build() for name, build in peers.PEERS.items()}


@pytest.mark.parametrize(
    ("name", "side", "layers"),
    [("DeepPrior", 128, deep_prior), ("DeepPrior++", 128, deep_prior_pp), ("REN-9x6x6", 96, ren)],
)
def test_cost_of_a_graph_is_the_cost_of_its_layers(
    built: dict[str, onnx.ModelProto], name: str, side: int, layers: object
) -> None:
    assert callable(layers)
    assert input_shape(built[name]) == (1, side, side)
    counted = cost(built[name])
    onnx.checker.check_model(built[name])
    assert [counted.parameters, counted.macs] == layers().tolist()


def test_cost_of_deep_prior_agrees_with_its_docstring(built: dict[str, onnx.ModelProto]) -> None:
    assert cost(built["DeepPrior"]) == Cost(2_076_308, 6_383_084)


def test_a2j_has_a_resnet50_and_three_branches(built: dict[str, onnx.ModelProto]) -> None:
    counted = cost(built["A2J"])
    parameters, macs = a2j_branches()
    assert input_shape(built["A2J"]) == (1, 176, 176)
    assert counted.parameters - parameters == RESNET50
    assert counted.macs - macs == resnet50_macs((88, 44, 44, 22, 11, 11))


def test_macs_of_resnet50_agree_with_the_published_number() -> None:
    assert resnet50_macs((112, 56, 56, 28, 14, 7)) + 2048 * 1000 == pytest.approx(4.09e9, rel=0.001)


@pytest.mark.parametrize("name", ["DeepPrior++", "REN-9x6x6", "A2J"])
def test_runtimes_agree(built: dict[str, onnx.ModelProto], name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    path = tmp_path / "peer.onnx"
    onnx.save_model(built[name], str(path))
    image = np.random.default_rng(0).uniform(-1, 1, (1, *input_shape(built[name]))).astype(np.float32)
    (one,), (other,) = (open_run(path, engine, ["joints"])(image) for engine in ("onnxruntime", "openvino"))
    assert one.shape == ((1, 14, 3) if name == "A2J" else (1, 42))
    assert np.isfinite(one).all()
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(one).max())


@pytest.mark.parametrize(("row", "column", "anchor"), [(0, 0, (0, 0)), (3, 7, (1, 2)), (10, 4, (3, 3))])
def test_a2j_returns_the_proposed_anchor(row: int, column: int, anchor: tuple[int, int], tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    g = peers.Graph("votes", (16, 11, 11))
    zeros = {count: g.constant(np.zeros((1, count, 11, 11), np.float32)) for count in (16, 32)}
    g.shapes |= {name: (count, 11, 11) for count, name in zeros.items()}
    path = tmp_path / "votes.onnx"
    onnx.save_model(g.finish(peers._vote(g, peers.INPUT, zeros[32], zeros[16], 1)), str(path))
    proposals = np.zeros((1, 16, 11, 11), np.float32)
    proposals[0, 4 * anchor[0] + anchor[1], row, column] = 50
    (joints,) = open_run(path, "onnxruntime", ["joints"])(proposals)
    expected = [16 * row + 2 + 4 * anchor[0], 16 * column + 2 + 4 * anchor[1], 0]
    np.testing.assert_allclose(joints[0, 0], expected, atol=1e-3)


def test_unknown_size_raises() -> None:
    g = peers.Graph("open", (1, 8, 8))
    model = g.finish(g.conv(peers.INPUT, 4, 3))
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.Clear()
    with pytest.raises(ValueError, match=r"The size of Conv .* is unknown"):
        cost(model)
    assert cost(model, (1, 8, 8)) == Cost(40, 9 * 4 * 64)


def test_script_writes_the_named_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["peers.py", "DeepPrior", "--out", str(tmp_path / "new")])
    peers.main()
    (path,) = (tmp_path / "new").iterdir()
    assert cost(onnx.load(str(path))) == Cost(2_076_308, 6_383_084)
    assert f"{path}: 8.3 MB" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["peers.py", "DeepPriest", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="2"):
        peers.main()
    assert "unknown network DeepPriest" in capsys.readouterr().err
