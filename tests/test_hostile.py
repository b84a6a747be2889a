"""Files that somebody made to do harm: they are refused in words, quickly, and without much memory."""

import io
import json
import os
import resource
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from rich.console import Console
from safetensors.torch import save_file
from scipy.io import savemat
from torch import nn

from crossnets.cli.ending import end
from crossnets.cli.predict import predict
from crossnets.datasets import nyu
from crossnets.datasets.dataset import FrameError, Problem
from crossnets.datasets.file_checks import numbered_rows
from crossnets.datasets.image_sources import open_sources
from crossnets.datasets.info import describe, render
from crossnets.datasets.opening import open_dataset
from crossnets.datasets.png import read_png16
from crossnets.datasets.recording import Recording
from crossnets.datasets.recording_format import KEYS_FILE, LABELS_FILE
from crossnets.evaluation.predictions import read_predictions
from crossnets.evaluation.report.page import row_html
from crossnets.evaluation.sweep import read_sweep
from crossnets.geometry.camera import as_camera
from crossnets.geometry.lens import lens_table
from crossnets.inference import bundle, detector
from crossnets.inference.description import KEY, from_text, to_text, weights_of
from crossnets.inference.engines import Runtime, load_exported
from crossnets.inference.estimator import CropModel
from crossnets.inference.torch_models import Detector, DetectorConfig
from crossnets.models.detector import DetectorNet, DetectorNetConfig
from crossnets.training import checkpoints, run
from crossnets.training.progress import cut_log
from crossnets.types import Lens, LensCamera, Pinhole
from tests.datasets.make import make_nyu, make_recording, make_shards

HEAD = b'{"format": "crossnets-predictions", "version": 1, "skeleton": "msra21", "centers": "image", "model": "m"}\n'


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunk(*one) for one in chunks) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore:The principal point")
@pytest.mark.parametrize("size", [(65535, 65535), (8192, 8192), (4097, 4096), (2**31 - 1, 1), (0, 7)])
def test_image_bombs_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "0.png"
    path.write_bytes(png(*size, (b"IDAT", zlib.compress(bytes(1_000_000)))))
    with pytest.raises(FrameError, match=f"found an image of {size[0]}x{size[1]}, expected 1 to 16777216 pixels"):
        read_png16(path, [size])
    with pytest.raises(FrameError, match="16777216 pixels"):
        open_sources([str(tmp_path)], "500,500,320,240")[0][0]


@pytest.mark.parametrize("shape", [(8192, 8192), (3, 4097, 4096), (1, 1, 1 << 25)])
def test_arrays_that_claim_huge_images_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "a.npy"
    # The file has no blocks on the disk, whatever its header claims.
    np.lib.format.open_memmap(path, "w+", np.uint16, shape).flush()
    with pytest.raises(ValueError, match=rf"a\.npy: found an image of {shape[-1]}x{shape[-2]}, expected 1 to 16777216"):
        open_sources([str(path)], "500,500,320,240")


def test_many_frames_of_an_array_are_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.lib.format.open_memmap(path, "w+", np.uint16, (1000, 480, 640)).flush()
    (source,) = open_sources([str(path)], "500,500,320,240")
    assert (len(source), source[999].depth_mm.shape) == (1000, (480, 640))


def test_a_text_that_grows_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "0.png"
    packer = zlib.compressobj()
    text = b"".join(packer.compress(bytes(1_000_000)) for _ in range(400)) + packer.flush()
    path.write_bytes(png(4, 4, (b"zTXt", b"a\0\0" + text), (b"IDAT", zlib.compress(bytes(36)))))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    np.testing.assert_array_equal(read_png16(path, [(4, 4)]), 0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000, "the text has 400 MB"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_devices_and_pipes_are_no_images(tmp_path: Path) -> None:
    (tmp_path / "0.png").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "1.png")
    for name in ("0.png", "1.png"):
        with pytest.raises(FrameError, match="it is not a plain file"):
            read_png16(tmp_path / name, [(4, 4)])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_labels_that_are_devices_or_pipes_are_refused(tmp_path: Path) -> None:
    for name in (LABELS_FILE, KEYS_FILE):
        made = make_recording(tmp_path / name)
        (made.root / name).unlink(missing_ok=True)
        os.mkfifo(made.root / name)
        with pytest.raises(ValueError, match=f"{name} is a device or a pipe; expected a plain file"):
            Recording(made.root)
        with pytest.raises(ValueError, match="is a device or a pipe"):
            numbered_rows(made.root / name, "FPHA")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_calibration_that_is_a_pipe_or_has_a_null_byte_in_its_name_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("pipe.json", "a\0b.json"):
        with pytest.raises(FileNotFoundError, match=r"There is no plain file .*\.json\. Expected the calibration"):
            as_camera(f"azure-kinect-nfov:{tmp_path / name}")


def test_null_bytes_in_names_are_refused_or_replaced(tmp_path: Path) -> None:
    made = make_recording(tmp_path / "hands", frames=2)
    lines = [{"frame": f"{k:06d}.png", "key": f"a\0{k}", "sequence": "s\0"} for k in range(2)]
    (made.root / KEYS_FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    predict((str(made.root),), out=tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir()) == ["a_0.png", "a_1.png"]
    with pytest.raises(ValueError, match=r"Cannot make the folder '.*a\\x00b': no name holds a null byte"):
        predict((str(made.root),), out=tmp_path / "a\0b")
    experiment = tmp_path / "sweep.toml"
    for train, test in (("b\\u0000", "b"), ("b", "b\\u0000")):
        experiment.write_text(f'[train]\ndata = "{train}"\n[[fold]]\nname = "a"\ntest = "{test}"\n')
        with pytest.raises(ValueError, match=r"sweep\.toml: found the text 'b\\x00', but no name or argument holds"):
            read_sweep(experiment, {})


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
    (tmp_path / "config.json").write_text(json.dumps(shipped).replace('"bones": [[0, 1]', '"bones": [[0, 1e999]'))
    with pytest.raises(ValueError, match="is not a model description"):
        bundle.load(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(shipped))
    for data in (struct.pack("<Q", 2**62) + b"{}", struct.pack("<Q", 2) + b"{}", b"", b"\x10" + bytes(7) + b"[" * 16):
        (tmp_path / "weights.safetensors").write_bytes(data)
        with pytest.raises(ValueError, match="does not contain the networks"):
            bundle.load(tmp_path)


@pytest.mark.parametrize(
    "sizes",
    [
        {"widths": [16, 48, 96, 4096]},
        {"depths": [1, 2, 30_000, 1]},
        {"depths": [1, 2, 2**62, 1]},
        {"depths": [1, 1, 2**62, 1], "widths": [16, 16, 16, 16]},
        {"widths": [16, 48, 96, 2**40]},
    ],
)
def test_huge_networks_of_a_description_take_no_memory(tmp_path: Path, sizes: dict[str, list[int]]) -> None:
    (tmp_path / "weights.safetensors").symlink_to(bundle.SHIPPED / "weights.safetensors")
    config = json.loads((bundle.SHIPPED / "config.json").read_text())
    config["networks"]["dense"] |= sizes
    (tmp_path / "config.json").write_text(json.dumps(config))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="cannot be built: they are larger than their weights"):
        bundle.load(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000, "4096 channels take 800 MB"


def test_huge_detectors_of_a_description_take_no_memory(tmp_path: Path) -> None:
    config = DetectorConfig(preset="detector", networks=DetectorNetConfig(widths=(8, 8, 8, 8)))
    bundle.save(Detector(config, DetectorNet(config.networks, torch.Generator())), tmp_path)
    bundle.load_detector(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(fields | {"networks": {"widths": [8, 8, 8, 100_000]}}))
    with pytest.raises(ValueError, match="cannot be built: they are larger than their weights"):
        bundle.load_detector(tmp_path)


@pytest.mark.parametrize("value", ["[" * 50_000, "1" * 400])
def test_hostile_descriptions_of_exported_networks_are_refused(value: str) -> None:
    model = CropModel(preset="paper", skeleton="cvar21")
    for text in (f'{{"weights": {value}}}', to_text(model, {}).replace('"maps": {}', f'"maps": {{"a": [{value}]}}')):
        with pytest.raises(ValueError, match=r"a\.onnx was not made by `crossnets export`"):
            from_text(text, "a.onnx")
        with pytest.raises(ValueError, match=r"nested too deeply|a whole number of 400 digits"):
            weights_of(text)
        with pytest.raises(ValueError, match=r"a\.onnx is not a detector"):
            detector.from_text(text, "a.onnx")


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


def network(path: Path, entry: list[object], inputs: tuple[str, ...] = ("image",)) -> None:
    """An exported estimator, as its description says, which gives its first input back."""
    nodes = [helper.make_node("Identity", ["image" if inputs else "one"], ["joints"])]
    one = helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])
    taken = [helper.make_tensor_value_info(name, TensorProto.FLOAT, entry) for name in inputs]
    graph = helper.make_graph(
        nodes, "g", taken, [helper.make_tensor_value_info("joints", TensorProto.FLOAT, entry)], [one]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.helper.set_model_props(made, {KEY: to_text(CropModel(preset="paper", skeleton="cvar21"), {})})
    path.write_bytes(made.SerializeToString())


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"entry": ["b", 1, 128, 128]},
            r"outputs arrays of float32 \(1, 1, 128, 128\), expected floats of \(1, 21, 3\)",
        ),
        ({"entry": [1], "inputs": ()}, r"model\.onnx is not a network that \w+ ?\w* can read"),
        ({"entry": ["b", 1, 128, 128], "inputs": ("image", "other")}, r"model\.onnx is not a network that"),
        ({"entry": ["b", 3]}, r"model\.onnx (cannot be run on an image of shape|outputs arrays of)"),
    ],
    ids=["output", "no input", "two inputs", "input"],
)
def test_networks_of_other_inputs_and_outputs_are_refused(
    tmp_path: Path, runtime: Runtime, change: dict[str, Any], message: str
) -> None:
    pytest.importorskip(runtime)
    network(tmp_path / "model.onnx", **change)
    with pytest.raises(ValueError, match=message):
        load_exported(tmp_path / "model.onnx", runtime).run(np.zeros((1, 1, 128, 128), np.float32))


def test_counts_of_frames_that_a_shard_cannot_hold_are_refused(tmp_path: Path) -> None:
    make_shards(tmp_path)
    path = tmp_path / "index.json"
    fields = json.loads(path.read_text())
    fields["shards"][0]["frames"] = 10**15
    fields["frames"] = 10**15 + sum(entry["frames"] for entry in fields["shards"][1:])
    path.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=r"found 1000000000000000 frames in the \d+ bytes of shard-000000\.tar"):
        open_dataset(f"shards:{tmp_path}")


def test_labels_that_claim_any_size_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = make_nyu(tmp_path)
    path = made.root / "dataset" / "test" / "joint_data.mat"
    savemat(path, {"joint_xyz": np.ones((3, 36))}, format="4")
    with pytest.raises(ValueError, match="has the format of MATLAB 4"):
        open_dataset(f"nyu:{tmp_path}", "test")
    savemat(path, {"joint_xyz": np.zeros((3, 7, 36, 3))}, do_compression=True)
    monkeypatch.setattr(nyu, "_MOST_FRAMES", 6)
    with pytest.raises(ValueError, match="joint_xyz has 7 frames, expected at most 6"):
        open_dataset(f"nyu:{tmp_path}", "test")
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="cannot be read as a MATLAB file"):
        open_dataset(f"nyu:{tmp_path}", "test")


def test_a_damaged_header_of_an_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.ones((4, 5), np.float32))
    path.write_bytes(path.read_bytes().replace(b"'shape': (4, 5)", b"'shape': (4, 5 "))
    with pytest.raises(ValueError, match=r"a\.npy cannot be read as a \.npy file"):
        open_sources([str(path)], "5,5,2,2")


def test_damaged_files_of_a_run_do_not_end_it(tmp_path: Path) -> None:
    lines = [b'{"stage_number": 0, "step": 1}', b"\xff{", b"3", b'{"step": 1}', b'{"stage_number": "a", "step": 1}']
    (tmp_path / "log.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    assert cut_log(tmp_path, 0, 1) == 1
    (tmp_path / "environment.json").write_text("[]")
    assert run.changes(tmp_path, "cpu") == []


def test_a_checkpoint_with_names_of_nothing_is_refused(tmp_path: Path) -> None:
    network = nn.Linear(3, 2)
    optimiser = torch.optim.Adam(network.parameters())
    weights = {f"networks/{name}": value for name, value in network.state_dict().items()}
    for name in ("optimisers/joint/0", "optimisers/joint/9/step", "optimisers/joint/a/step"):
        save_file({**weights, name: torch.zeros(1)}, tmp_path / "checkpoint.safetensors", {"place": "{}"})
        with pytest.raises(ValueError, match="does not hold the optimiser joint of these networks"):
            checkpoints.restore(tmp_path, network, {"joint": optimiser})


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("[" * 50_000, "its values are nested too deeply"),
        ("[]", ""),
        ('{"stage": "x", "step": 0, "elapsed_s": 1.0}', "found stage 'x', expected a number"),
        ('{"stage": 0, "step": true, "elapsed_s": 1.0}', "found step 'True', expected a number"),
        ('{"stage": 0, "step": 0, "elapsed_s": null}', "found elapsed_s 'None', expected a number"),
        ('{"stage": 0, "step": 0, "elapsed_s": 1, "best_mm": []}', r"found best_mm '\[\]', expected a number"),
    ],
)
def test_invalid_places_of_a_checkpoint_are_refused(tmp_path: Path, place: str, says: str) -> None:
    save_file({"networks/a": torch.zeros(1)}, tmp_path / checkpoints.FILE, {"place": place})
    with pytest.raises(ValueError, match=rf"is not a checkpoint that can be resumed: .*{says}"):
        checkpoints.load_place(tmp_path)


def test_damaged_optimisers_of_a_stage_are_refused(tmp_path: Path) -> None:
    optimiser = torch.optim.Adam(nn.Linear(3, 2).parameters())
    path = tmp_path / "optimisers-joint.safetensors"
    save_file({"optimisers/joint/9/step": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"optimisers-joint\.safetensors is damaged .*Copy it again, or remove it"):
        checkpoints.end_step(tmp_path, "joint")
    with pytest.raises(ValueError, match=r"optimisers-joint\.safetensors does not hold the optimiser joint"):
        checkpoints.restore_end(tmp_path, "joint", {"joint": optimiser})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is damaged"):
        checkpoints.end_step(tmp_path, "joint")
    with pytest.raises(ValueError, match="is damaged"):
        checkpoints.restore_end(tmp_path, "joint", {"joint": optimiser})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('labels = [2]\n[[fold]]\nname = "a"\ntest = "b"', "found labels = '2', expected texts"),
        ('seeds = ["a"]\n[[fold]]\nname = "a"\ntest = "b"', "found seeds = 'a', expected whole numbers"),
        ("fold = [1]", "found the fold or variant = '1', expected a table"),
        ('[[fold]]\nname = 1\ntest = "b"', "found name = '1', expected a text"),
        ('train = 3\n[[fold]]\nname = "a"\ntest = "b"', "found train = '3', expected a table"),
    ],
)
def test_experiments_of_other_types_are_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "sweep.toml").write_text(text)
    with pytest.raises(ValueError, match=says):
        read_sweep(tmp_path / "sweep.toml", {})


def test_an_experiment_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"sweep\.toml is not valid TOML"):
        read_sweep(tmp_path / "sweep.toml", {})


@pytest.mark.parametrize(
    ("camera", "says"),
    [
        (LensCamera(Pinhole(20.0, 20.0, 0.0, 33.0), Lens(0.0, 0.0, 0.0, 0.0, k6=0.004), 2, 2), "All 2 x 2 pixels"),
        (LensCamera(Pinhole(9e3, 9e3, 8e3, 8e3), Lens(0.1, 0.0, 0.0, 0.0), 16384, 16384), "expected at most 8388608"),
    ],
)
def test_lenses_that_would_take_all_memory_or_show_nothing_are_refused(camera: LensCamera, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        lens_table(camera)


def test_names_cannot_command_a_terminal_or_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[2J\nb\u202e<script>"
    assert str(Problem(Path(name), "is broken")) == "a\\x1b[2J\\nb\\u202e<script>: is broken"
    with pytest.raises(SystemExit):
        end(f"there is no {name}", 2)
    assert "\x1b[2J" not in capsys.readouterr().err
    assert "<script>" not in row_html([name], "")


def test_names_in_tables_cannot_command_a_terminal(tmp_path: Path) -> None:
    recording = make_recording(tmp_path / "recording", frames=2)
    keys = [{"frame": f"{k:06d}.png", "key": f"k{k}", "sequence": "a\x1b[2J"} for k in range(2)]
    (recording.root / "keys.jsonl").write_text("".join(json.dumps(key) + "\n" for key in keys))
    console = Console(file=io.StringIO(), width=200)
    console.print(render(describe(f"recording:{recording.root}")))
    said = console.file.getvalue()
    assert "a\\x1b[2J" in said
    assert "\x1b" not in said
