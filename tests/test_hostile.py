"""Files that somebody made to do harm: they are refused in words, quickly, and without much memory."""

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from crossnets.cli.ending import end
from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.images import open_sources
from crossnets.datasets.opening import open_dataset
from crossnets.datasets.png import read_png16
from crossnets.evaluation.predictions import read_predictions
from crossnets.evaluation.report.page import row_html
from crossnets.inference import bundle
from crossnets.inference.engines import load_exported
from crossnets.training import run

HEAD = b'{"format": "crossnets-predictions", "version": 1, "skeleton": "msra21", "centers": "image", "model": "m"}\n'


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*one) for one in chunks) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(65535, 65535), (16384, 16384), (2**31 - 1, 1), (0, 7)])
def test_image_bombs_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(png(*size, (b"IDAT", zlib.compress(bytes(1_000_000)))))
    with pytest.raises(FrameError, match=f"found an image of {size[0]}x{size[1]}, expected 1 to 67108864 pixels"):
        read_png16(path, [size])
    with pytest.raises(FrameError, match="67108864 pixels"):
        open_sources([str(tmp_path)], "500,500,320,240")[0][0]


def test_a_text_that_grows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "0.png"
    grows = (b"zTXt", b"a\0\0" + zlib.compress(bytes(50_000_000)))
    path.write_bytes(png(4, 4, grows, (b"IDAT", zlib.compress(bytes(36)))))
    with pytest.raises(FrameError, match="truncated or damaged"):
        read_png16(path, [(4, 4)])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_devices_and_pipes_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "0.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "1.png")
    for name in ("0.png", "1.png"):
        with pytest.raises(FrameError, match="it is not a plain file"):
            read_png16(tmp_path / name, [(4, 4)])


def test_huge_counts_in_a_header_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "P0" / "1"
    folder.mkdir(parents=True)
    most = 2**31 - 1
    (folder / "000000_depth.bin").write_bytes(struct.pack("<6i", most, most, 0, 0, most, most))
    (folder / "joint.txt").write_text("1\n" + " ".join(["1 1 -500"] * 21) + "\n")
    with pytest.raises(FrameError, match=f"the header says {most}x{most} pixels"):
        open_dataset(f"msra:{tmp_path}")[0]


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 50_000,
        HEAD.replace(b'"msra21"', b'["msra21"]'),
        HEAD + b'{"key": "a", "joints_mm": ' + b"[" * 50_000,
        HEAD + b'{"key": "a", "joints_mm": [1e400]}',
        HEAD + b'{"key": "a", "joints_mm": [' + b"1" * 5000 + b"]}",
        HEAD + b'{"key": "a", "joints_mm": [' + b"1" * 400 + b"]}",
    ],
)
def test_hostile_json_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "predictions.jsonl"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"predictions\.jsonl:[12]: "):
        read_predictions(path)


def test_hostile_descriptions_and_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"[" * 100_000)
    (tmp_path / "weights.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")
    with pytest.raises(ValueError, match="is not a model description"):
        bundle.load(tmp_path)
    with pytest.raises(ValueError, match=r"config\.json cannot be read"):
        run.read(tmp_path)
    assert not bundle.is_detector(tmp_path)
    shipped = json.loads((bundle.SHIPPED / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(shipped))
    for data in (struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 2) + b"{}", b"", b"\x10" + bytes(7) + b"[" * 16):
        (tmp_path / "weights.safetensors").write_bytes(data)
        with pytest.raises(ValueError, match="does not hold the networks"):
            bundle.load(tmp_path)


def test_onnx_that_reads_other_files_is_refused(tmp_path: Path) -> None:
    secret = TensorProto(name="x", data_type=TensorProto.FLOAT, dims=[10], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "../secret"), ("offset", "0"), ("length", "40")):
        secret.external_data.add(key=key, value=value)
    (tmp_path / "secret").write_bytes(np.ones(10, np.float32).tobytes())
    image = helper.make_tensor_value_info("depth", TensorProto.FLOAT, ["b", 1, 128, 128])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [10])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [image], [answer], [secret])
    path = tmp_path / "models" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    assert onnx.load(str(path), load_external_data=False).graph.initializer
    with pytest.raises(ValueError, match="is not a network that ONNX Runtime can read"):
        load_exported(path, "onnxruntime")


def test_names_cannot_command_a_terminal_or_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[2J\nb\u202e<script>"
    assert str(Problem(Path(name), "is broken")) == "a\\x1b[2J\\nb\\u202e<script>: is broken"
    with pytest.raises(SystemExit):
        end(f"there is no {name}", 2)
    assert "\x1b[2J" not in capsys.readouterr().err
    assert "<script>" not in row_html([name], "")
