"""Does every damaged or hostile input either load or give one of the package's own errors?

    make fuzz SECONDS=60                                          # all targets, this long each
    python scripts/fuzz.py --seconds 60 --only shards --out fuzz

A target is a folder of valid files, which the package's own writers made, and the readers of them. Each execution
replaces one of the files and reads the folder. Allowed are a frame or a value without NaN, a `FrameError`, an `OSError`
and a `ValueError` that the package itself raised. A finding is any other exception, also a ValueError of a library; an
input that takes more than 10 s, needs more than 1 GiB or ends the process; and a frame with an impossible depth.

With atheris (`pip install '.[fuzz]'`) libFuzzer keeps inputs that reach new code of the package, and changes them
again. Without it, valid inputs are changed at random. In half of the inputs the checksums of PNGs and the digests of
shards are put right, as nothing behind them would be reached otherwise. The folder --out has the kept inputs, those of
findings, and fuzz.json with the counts. Exits with 1 if there is a finding.
"""

import argparse
import dis
import hashlib
import io
import json
import os
import pickle
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tarfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal
from unittest.mock import patch

import numpy as np

try:
    import atheris
except ImportError:
    atheris = None

_READERS = [f"crossnets.{name}" for name in ("atomic", "cameras", "datasets", "evaluation", "geometry", "inference")]
_READERS += ["crossnets.viewer"]
_READERS += [f"crossnets.training.{name}" for name in ("checkpoints", "crops", "progress", "run", "schedule")]

# libFuzzer sees which code an input reaches only in modules that are imported in here.
with nullcontext() if atheris is None else atheris.instrument_imports(include=_READERS):
    import onnx
    import torch
    from onnx import TensorProto, helper
    from torch import nn

    import crossnets
    from crossnets.atomic import UnfinishedMark, write_text
    from crossnets.cameras.frames import DepthFrame
    from crossnets.cameras.opening import open_source
    from crossnets.datasets.dataset import FrameError, HandDataset
    from crossnets.datasets.dexycb import INTRINSICS
    from crossnets.datasets.image_sources import ArrayFile, ImageFiles
    from crossnets.datasets.opening import open_dataset, parse_spec
    from crossnets.datasets.packing import PackConfig, pack
    from crossnets.datasets.pickled import numbers_of, read_pickle
    from crossnets.datasets.png import read_png_rgb, save_png
    from crossnets.datasets.recording import Recording, RecordingWriter
    from crossnets.datasets.writers import old_pickle, set_writer
    from crossnets.evaluation.matching import read_predicted
    from crossnets.evaluation.predictions import PredictionHeader, write_predictions, write_uvd_text
    from crossnets.evaluation.protocols import PROTOCOLS
    from crossnets.evaluation.sweep import read_results, read_sweep
    from crossnets.geometry.camera import CAMERAS, parse_camera
    from crossnets.geometry.lens import lens_table
    from crossnets.geometry.skeleton import CVAR21, HANDS17_21, HO3D_21, ICVL16, MEDIAPIPE21, MSRA21, NYU36
    from crossnets.inference import bundle
    from crossnets.inference import detector as exported_detector
    from crossnets.inference.description import KEY, to_text
    from crossnets.inference.engines import Runtime, load_exported
    from crossnets.inference.estimator import CropModel
    from crossnets.inference.torch_models import Detector, DetectorConfig
    from crossnets.models.detector import DetectorNet, DetectorNetConfig
    from crossnets.training import checkpoints, presets, progress, run
    from crossnets.training.crops import parse_labels
    from crossnets.training.schedule import parse_budget
    from crossnets.types import Lens, LensCamera, Pinhole, PredictedFrame
    from crossnets.viewer import server as live
    from crossnets.viewer.state import LiveState
    from crossnets.weights import SHIPPED

LONGEST_S = 10
MOST_BYTES = 1 << 30
LEAKED_BYTES = 1 << 28
"""atheris 3.0 never frees the results of comparisons in the code that it watches. A process that has grown by this much
ends, and another one goes on with the kept inputs. The engine without atheris shows leaks of the readers themselves."""
GROWN = 75
"""Exit code of such a process."""
_FRAMES = 8
"""Most frames of a data set that an execution reads."""
_REPAIRED = 0x80
"""Bit of an input's first byte: checksums are put right. The other bits choose the file."""
_RSS_UNITS_PER_MIB = 1024 if sys.platform == "linux" else 1 << 20
"""Linux counts resident memory in KiB, macOS in bytes."""
_PACKAGE = str(Path(crossnets.__file__).parent)
_TOKENS = (
    *(b"0", b"-1", b"1e999", b"-1e-320", b"NaN", b"Infinity", b"99999999999999999999", b"9" * 400, b"null", b"true"),
    *(b"[", b"[[[[", b"{}", b'"', b'""', b"\\ud800", b"\0", b"\xff", b"\n", b"\r\n", b"../", b"#", b"%", b",,", b":"),
    *(struct.pack("<i", 2**31 - 1), struct.pack(">I", 2**31 - 1), struct.pack("<Q", 2**62), b"\xef\xbb\xbf"),
)


# --- targets ---


@dataclass(frozen=True)
class Target:
    """Valid files, and what reads them."""

    files: dict[str, bytes]
    """Contents by path. Each of them is changed in turn."""
    read: Callable[[Path], object]
    """Reads the folder with these files."""
    fixed: dict[str, bytes] = field(default_factory=dict)
    """Files that are never changed."""
    write: Callable[[Path, str, bytes, bool], None] = lambda root, name, data, repaired: _write(
        root, name, with_checksums(data) if repaired and name.endswith(".png") else data
    )
    """Puts one changed file into the folder."""

    @property
    def seeds(self) -> list[bytes]:
        """An input for each file, which changes nothing."""
        return [bytes([number]) + data for number, data in enumerate(self.files.values())]


def _write(root: Path, name: str, data: bytes) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)


def _files_in(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def with_checksums(data: bytes) -> bytes:
    """A PNG with the checksum of each chunk put right, as far as there are whole chunks."""
    fixed, at = data[:8], 8
    while at + 12 <= len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        body = data[at + 4 : at + 8 + size]
        if len(body) < 4 + size:
            break
        fixed += data[at : at + 4] + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + size
    return fixed + data[at:]


def read_frames(dataset: HandDataset) -> None:
    """Read frames, and check what `HandFrame` promises of them."""
    for index in range(min(len(dataset), _FRAMES)):
        dataset.sequence_of(index)
        try:
            frame = dataset[index]
        except FrameError:
            continue
        assert np.isfinite(frame.depth_mm).all(), "a depth is not finite"
        assert (frame.depth_mm >= 0).all(), "a depth is negative"
        assert frame.joints_mm is None or np.isfinite(frame.joints_mm).all(), "a joint is not finite"


def _joints(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform([-60, -60, 380], [60, 60, 460], (count, 3)).astype(np.float32)


def _depth(width: int, height: int) -> np.ndarray:
    """A plane with a hole."""
    depth_mm = np.full((height, width), 431.0, np.float32)
    depth_mm[: height // 2, : width // 2] = 0
    return depth_mm


def released(name: str, skeleton: Any, camera: str, split: Literal["train", "test"] = "test") -> Target:
    """A data set in a benchmark's format."""
    with TemporaryDirectory() as made:
        preset = CAMERAS[camera]
        writer = set_writer(name, Path(made), split, 2, preset, skeleton)
        for _ in range(2):  # ICVL has two test sequences
            writer.add(_depth(preset.width_px, preset.height_px), _joints(len(skeleton)))
        writer.close()
        files = _files_in(Path(made))
    return Target(files, lambda root: read_frames(open_dataset(f"{name}:{root}", split)))


def dexycb() -> Target:
    """A sequence of DexYCB with one frame of one camera."""
    with TemporaryDirectory() as made:
        root = Path(made)
        writer = set_writer("dexycb", root, "train", 1, CAMERAS["dexycb-d415"], MEDIAPIPE21)
        writer.add(_depth(640, 480), _joints(len(MEDIAPIPE21)))
        writer.close()
        (image,) = root.rglob("*.png")
        (label,) = root.rglob("*.npz")
        camera = root / INTRINSICS / f"{image.parent.name}_640x480.yml"
        paths = (image, label, image.parent.parent / "meta.yml", camera)
        files = {str(path.relative_to(root)): path.read_bytes() for path in paths}
    return Target(files, lambda root: read_frames(open_dataset(f"dexycb:{root}")))


def h2o3d() -> Target:
    """H2O-3D: files of HO-3D with labels of both hands."""
    joints_m = -_joints(21) / 1000
    label = {"camMat": np.array([[614.0, 0, 320], [0, 614, 240], [0, 0, 1]]), "jointValidLeft": np.ones(21)}
    label |= {"leftHandJoints3D": joints_m, "rightHandJoints3D": joints_m}
    files = dict(released("ho3d", HO3D_21, "ho3d-sr300", "train").files)
    files |= {name: old_pickle(label) for name in files if name.endswith(".pkl")}
    return Target(files, lambda root: read_frames(open_dataset(f"h2o3d:{root}")))


def pickled() -> Target:
    """Labels of HO-3D in pickles of several protocols."""
    label = {"camMat": np.eye(3), "handJoints3D": -_joints(21), "scale": np.float64(2.0)}
    label |= {"handBoundingBox": [1, 2.5], "objName": "box", "objRot": None}
    files = {f"{protocol}.pkl": pickle.dumps(label, protocol) for protocol in (0, 2, 4, 5)}
    files["old.pkl"] = old_pickle(label)

    def read(root: Path) -> None:
        for name in files:
            fields = read_pickle(root / name)
            for name_of_array in ("camMat", "handJoints3D", "scale"):
                numbers_of(fields, name_of_array, [(3, 3), (21, 3), ()], root / name)

    return Target(files, read)


def _make_recording(root: Path, lens: Lens | None) -> None:
    pinhole = Pinhole(15.0, 15.0, 9.5, 7.5)
    camera = CAMERAS["msra-senz3d"]._replace(pinhole=pinhole, width_px=20, height_px=16, depth_unit_mm=0.25, lens=lens)
    with RecordingWriter(root, camera, MSRA21, "camera") as writer:
        writer.add(_depth(20, 16), _joints(21))


def recording() -> Target:
    """A recording of a camera with a lens."""
    with TemporaryDirectory() as made:
        _make_recording(Path(made) / "take", Lens(0.1, 0.02, 0.0, 0.0))
        files = _files_in(Path(made) / "take")
    return Target(files, lambda root: read_frames(Recording(root)))


def shards() -> Target:
    """One shard. The members of its frame are changed too, within a whole tar file."""
    with TemporaryDirectory() as made:
        root = Path(made)
        _make_recording(root / "take", None)
        pack({"take": Recording(root / "take")}, root / "shards", PackConfig())
        files = _files_in(root / "shards")
    with tarfile.open(fileobj=io.BytesIO(files["shard-000000.tar"])) as tar:
        members = {one.name: _member(tar, one) for one in tar.getmembers()}
    png, record = members

    def write(root: Path, name: str, data: bytes, repaired: bool) -> None:
        if name in members:
            changed = {**members, name: data}
            if repaired:
                changed[png] = with_checksums(changed[png])
                changed[record] = _with_digests(changed[record], changed[png])
            name, data = "shard-000000.tar", _tar_of(changed)
            repaired = True
        if name == "shard-000000.tar" and repaired:
            index = json.loads(files["index.json"])
            index["shards"][0] |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            _write(root, "index.json", json.dumps(index).encode())
        _write(root, name, data)

    def read(root: Path) -> None:
        for name in members:
            (root / name).unlink(missing_ok=True)
        for parts in ("", "#take"):
            read_frames(open_dataset(f"shards:{root}{parts}"))

    return Target({**files, **members}, read, write=write)


def _member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    assert file is not None
    return file.read()


def _tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _with_digests(record: bytes, png: bytes) -> bytes:
    """A record that states the digests of its image and of itself, if it is JSON."""
    try:
        fields = json.loads(record)
        fields["png_sha256"] = hashlib.sha256(png).hexdigest()
        fields.pop("record_sha256", None)
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return record
    return json.dumps({**fields, "record_sha256": hashlib.sha256(text.encode()).hexdigest()}).encode()


def images() -> Target:
    """PNGs and arrays without camera.json, with a camera whose size is unknown."""
    camera = parse_camera("20,20,10,8,0.25:0.1,0.02,0,0")
    with TemporaryDirectory() as made:
        root = Path(made)
        depth = _depth(20, 16)
        save_png(root / "0.png", depth.astype(np.uint16))
        save_png(root / "rgb.png", np.zeros((4, 5, 3), np.uint8))
        np.save(root / "mm.npy", depth)
        np.save(root / "counts.npy", depth.astype(np.uint16)[None])
        files = _files_in(root)

    def read(root: Path) -> None:
        for what in (
            lambda: ImageFiles([root / "0.png"], camera._replace(width_px=20, height_px=16)),
            lambda: ImageFiles([root / "0.png"], camera._replace(lens=None)),
            lambda: ArrayFile(root / "mm.npy", camera),
            lambda: ArrayFile(root / "counts.npy", camera._replace(lens=None)),
        ):
            read_frames(what())
        read_png_rgb(root / "rgb.png", [(5, 4)])

    return Target(files, read)


def predictions() -> Target:
    """Files of predictions, in our format and in the field's."""
    joints_mm = _joints(21)
    with TemporaryDirectory() as made:
        root = Path(made)
        frames = [
            PredictedFrame("a/1", "P1", joints_mm[0], joints_mm, np.full(21, 9.0, np.float32)),
            PredictedFrame("a/2", "P1", None, None),
        ]
        write_predictions(root / "predictions.jsonl", PredictionHeader("cvar21", "image", "m"), frames)
        write_uvd_text(root / "uvd.txt", joints_mm[None])
        files = _files_in(root)

    def read(root: Path) -> None:
        camera = CAMERAS["cvar-senz3d"].pinhole
        for name in ("predictions.jsonl", "uvd.txt"):
            found = read_predicted([root / name], PROTOCOLS["cvar"], camera)
            assert not np.isinf(found.joints_mm).any(), "a joint is infinite"

    return Target(files, read)


def words() -> Target:
    """Words of the command line: cameras, data sets, shares of labels, times."""
    azure = {
        "ModelType": "CALIBRATION_LensDistortionModelBrownConrady",
        "ModelParameters": [0.5, 0.5, 0.49, 0.49, 6.1, 4.4, 0.24, 6.4, 6.5, 1.2, 0, 0, 7e-5, -6e-5],
    }
    depth = {"Purpose": "CALIBRATION_CameraPurposeDepth", "Intrinsics": azure}
    texts = {
        "camera": "475.1,475.2,16.0,12.0,0.125:4.725,3.209,0,0,0.171,5.056,4.776,0.886",
        "preset": "realsense-sr305:0.1,0.2,0,0",
        "azure.json": json.dumps({"CalibrationInformation": {"Cameras": [depth]}}),
        "data": "cvar:PATH#P1,P4",
        "labels": "2%",
        "budget": "1.5h",
        "source": "virtual:realsense-d455",
        "film": "film.db3",
    }

    def text(root: Path, name: str) -> str:
        # A file name of the command line, and so the text of an option, cannot hold these.
        return (root / name).read_bytes().decode(errors="replace").replace("\0", "")

    def read(root: Path) -> None:
        for camera in (text(root, "camera"), text(root, "preset"), f"azure-kinect:{root / 'azure.json'}"):
            found = parse_camera(camera)
            if found.lens is not None:
                lens_table.__wrapped__(LensCamera(found.pinhole, found.lens, 32, 24))
        parse_spec(text(root, "data"))
        parse_labels(text(root, "labels"))
        parse_budget(text(root, "budget"))
        for name in ("source", "film"):
            with suppress(FileNotFoundError):
                open_source(text(root, name))

    return Target({name: value.encode() for name, value in texts.items()}, read)


def run_folder() -> Target:
    """The files of a run that a training reads when it continues."""
    request = run.request_of(presets.paper(CVAR21), {"data": "cvar", "labels": "all"})
    lines = [{"stage": "joint", "stage_number": 1, "step": step, "loss": 0.5} for step in (1, 2)]
    with TemporaryDirectory() as made:
        root = Path(made)
        run.begin(root, request, [3, 4], "cpu")
        write_text(root / "log.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        UnfinishedMark(root, "evaluation", {"data": "cvar"}).set()
        files = _files_in(root)
    known = json.loads(files["environment.json"])

    def read(root: Path) -> None:
        found = run.read(root)
        if found is not None:
            run.check_same(root, found, request)
        with patch.object(run, "environment", lambda device: known):  # which asks git
            run.changes(root, "cpu")
        progress.cut_log(root, 1, 1)
        UnfinishedMark(root, "evaluation", {"data": "cvar"}).is_there()

    return Target(files, read)


def _network() -> tuple[nn.Module, dict[str, torch.optim.Adam]]:
    """A small network and its optimiser, which has made a step."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    return network, {"joint": optimiser}


def checkpoint() -> Target:
    """A checkpoint."""
    with TemporaryDirectory() as made:
        checkpoints.save(Path(made), checkpoints.Place(1, 2, 3.0), *_network())
        files = _files_in(Path(made))

    def read(root: Path) -> None:
        checkpoints.load_place(root)
        checkpoints.restore(root, *_network())

    return Target(files, read)


def model() -> Target:
    """Model folders: a small detector, and the description of the package's estimator."""
    sizes = DetectorNetConfig(widths=(4, 4, 4, 4), depths=(1, 1, 1))
    network = DetectorNet(sizes, torch.Generator().manual_seed(0))
    with TemporaryDirectory() as made:
        bundle.save(Detector(DetectorConfig(preset="detector", networks=sizes), network), Path(made) / "detector")
        files = _files_in(Path(made))
    files["estimator/config.json"] = (SHIPPED / "config.json").read_bytes()
    weights = {"estimator/weights.safetensors": (SHIPPED / "weights.safetensors").read_bytes()}

    def read(root: Path) -> None:
        assert not bundle.is_detector(root / "estimator") or (root / "estimator").is_dir()
        bundle.load_detector(root / "detector")
        bundle.load(root / "estimator")

    return Target(files, read, weights)


def exported() -> Target:
    """Exported networks that only average, with the descriptions that ours carry, run by ONNX Runtime."""
    files = {f"{name}.onnx": data for name, data in _networks().items()}
    return Target(files, lambda root: _run_networks(root / "estimator.onnx", root / "detector.onnx", "onnxruntime"))


def openvino() -> Target:
    """The same networks in OpenVINO: the estimator in its own format, and the detector as ONNX."""
    from crossnets.export.networks import to_openvino

    networks = _networks()
    with TemporaryDirectory() as made:
        root = Path(made)
        (root / "estimator.onnx").write_bytes(networks["estimator"])
        to_openvino(root / "estimator.onnx", root / "own" / "estimator.xml")
        files = _files_in(root / "own")
    files["detector.onnx"] = networks["detector"]
    return Target(files, lambda root: _run_networks(root / "estimator.xml", root / "detector.onnx", "openvino"))


def _run_networks(estimator: Path, detector: Path, runtime: Runtime) -> None:
    raw = load_exported(estimator, runtime).run(np.zeros((1, 1, 128, 128), np.float32))
    assert raw.joints.shape == (1, 21, 3), "joints of another shape"
    exported_detector.load_detector(detector, runtime).maps(np.zeros((1, 2, 16, 16), np.float32))


def _networks() -> dict[str, bytes]:
    maps = {"icvl16": np.full((16, 21), 1 / 21, np.float32)}
    ones = helper.make_tensor("ones", TensorProto.FLOAT, [1, 21, 3], [1.0] * 63)
    shape = helper.make_tensor("shape", TensorProto.INT64, [3], [-1, 1, 1])
    estimator = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], ["one"]),
        helper.make_node("Mul", ["one", "ones"], ["joints"]),
    ]
    detector = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Concat", ["cells"] * 3, [exported_detector.OUTPUT], axis=1),
    ]
    of_detector = exported_detector.to_text(exported_detector.DetectorModel(preset="detector"))
    of_estimator = to_text(CropModel(preset="paper", skeleton="cvar21"), maps)
    return {
        "estimator": _onnx(of_estimator, ["b", 1, 128, 128], estimator, ["b", 21, 3], [ones, shape]),
        "detector": _onnx(of_detector, ["b", 2, "h", "w"], detector, ["b", 6, "i", "j"], []),
    }


def _onnx(description: str, entry: list[Any], nodes: list[Any], exit_: list[Any], constants: list[Any]) -> bytes:
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, entry)
    answer = helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, exit_)
    graph = helper.make_graph(nodes, "g", [image], [answer], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.helper.set_model_props(made, {KEY: description})
    return made.SerializeToString()


class Wire:
    """One connection of a viewer: the bytes that it sends, and those that it gets."""

    def __init__(self, data: bytes) -> None:
        self._data, self.answer = data, b""

    def makefile(self, mode: str, size: int = -1) -> io.BytesIO:
        """Stands in for the socket's."""
        return io.BytesIO(self._data)

    def sendall(self, data: bytes) -> None:
        """Stands in for the socket's."""
        self.answer += bytes(data)

    def settimeout(self, seconds: float | None) -> None:
        """Stands in for the socket's."""

    def setsockopt(self, *options: int) -> None:
        """Stands in for the socket's."""


_COMMAND = b"POST /command HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


def server() -> Target:
    """Requests to the server of `crossnets live`, and commands in whole requests. One server needs a token."""
    texts = {
        "page": b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: a=b\r\n\r\n",
        "next": b"GET /next?after=-1 HTTP/1.1\r\nHost: localhost:80\r\nOrigin: http://localhost:80\r\n\r\n",
        "frame": b"GET /frame?number=0 HTTP/1.1\r\nHost: [::1]\r\n\r\n",
        "post": _COMMAND + b'Content-Length: 15\r\n\r\n{"pause": true}',
        "command": b'{"record": true}',
    }
    servers = [live.LiveServer(_live_state(), "127.0.0.1", 0) for _ in range(2)]
    for one in servers:
        one.server_close()  # requests come over a `Wire`
    servers[1].token = "0123456789abcdef"

    def read(root: Path) -> None:
        for name in texts:
            data = (root / name).read_bytes()
            if name == "command":
                data = _COMMAND + f"Content-Length: {len(data)}\r\n\r\n".encode() + data
            for serving in servers:
                wire = Wire(data)
                try:
                    with patch.object(live, "_WAIT_S", 0.0):
                        live._Handler(wire, ("127.0.0.1", 1), serving)  # pyright: ignore[reportArgumentType]
                except Exception as error:
                    raise RuntimeError("the server does not answer") from error
                assert serving.token is None or b" 200 OK" not in wire.answer, "an answer without the token"

    return Target(texts, read)


def _live_state() -> LiveState:
    state = LiveState("frames", "no hand", 10.0)
    camera = CAMERAS["msra-senz3d"].pinhole
    state.add(DepthFrame(np.full((4, 5), 400, np.uint16), camera, 0.0, 0), (), {"find": 1.0}, 30.0)
    return state


def sweep() -> Target:
    """An experiment and the results of another machine."""
    experiment = """
labels = ["all", "2%"]
seeds = [1]
[train]
preset = "paper"
epochs = ["joint=1"]
[evaluate]
centers = "label"
[[fold]]
name = "one"
train = { data = "{data}" }
test = "{data}"
[[variant]]
name = "all"
train = { budget = "20m" }
"""
    with TemporaryDirectory() as made:
        write_text(Path(made) / "experiment.toml", experiment)
        first = read_sweep(Path(made) / "experiment.toml", {"data": "cvar"})[0]
    row = {"run": first.name, "fold": "one", "labels": "all", "variant": "all", "seed": 1}
    row |= {"arguments": list(first.declared), "mean_mm": 1.0, "median_mm": 1.0, "root_aligned_mean_mm": 1.0}

    def read(root: Path) -> None:
        cells = read_sweep(root / "experiment.toml", {"data": "cvar"})
        read_results([root / "results.json"], cells)

    return Target({"experiment.toml": experiment.encode(), "results.json": json.dumps([row]).encode()}, read)


TARGETS: dict[str, Callable[[], Target]] = {
    "nyu": lambda: released("nyu", NYU36, "nyu-kinect"),
    "icvl": lambda: released("icvl", ICVL16, "icvl-senz3d"),
    "msra": lambda: released("msra", MSRA21, "msra-senz3d"),
    "cvar": lambda: released("cvar", CVAR21, "cvar-senz3d"),
    "hands17": lambda: released("hands17", HANDS17_21, "realsense-sr300"),
    "fpha": lambda: released("fpha", HANDS17_21, "realsense-sr300"),
    "dexycb": dexycb,
    "ho3d": lambda: released("ho3d", HO3D_21, "ho3d-sr300"),
    "h2o": lambda: released("h2o", MEDIAPIPE21, "h2o-azure-kinect"),
    "h2o3d": h2o3d,
    "pickled": pickled,
    "images": images,
    "recording": recording,
    "shards": shards,
    "predictions": predictions,
    "words": words,
    "run": run_folder,
    "checkpoint": checkpoint,
    "model": model,
    "exported": exported,
    "sweep": sweep,
    "server": server,
}
if find_spec("openvino") is not None:
    TARGETS["openvino"] = openvino


# --- one execution ---


class Hang(BaseException):
    """An execution takes too long. It is no Exception, so that no reader takes it for a fault of its file."""


@dataclass
class Session:
    """Executions of one target in a folder of its own, and what they found."""

    target: Target
    folder: Path
    """Place for the files, for the input that is being tried, and for those of findings."""
    executions: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """Executions that gave an error that is allowed, by its type."""
    findings: dict[str, str] = field(default_factory=dict)
    """Tracebacks by place and type."""
    slowest_s: float = 0.0

    def attempt(self, data: bytes) -> str | None:
        """Try an input. Returns the name of what it finds, or None."""
        if not data:
            return None
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "current").write_bytes(data)  # if the process dies
        number, repaired = (data[0] & ~_REPAIRED) % len(self.target.files), bool(data[0] & _REPAIRED)
        root = self.folder / "files"
        shutil.rmtree(root, ignore_errors=True)
        for name, content in {**self.target.files, **self.target.fixed}.items():
            _write(root, name, content)
        self.target.write(root, list(self.target.files)[number], data[1:], repaired)
        began = time.monotonic()
        found = self._read(root)
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)
        self.executions += 1
        if found is not None and found not in self.findings:
            self.findings[found] = self._said
            # An earlier process of this target may have left some.
            number = len(list(self.folder.glob("findings/*.bin"))) + 1
            _write(self.folder, f"findings/{number}.bin", data)
            _write(self.folder, f"findings/{number}.txt", f"{found}\n{self.findings[found]}".encode(errors="replace"))
        return found

    def _read(self, root: Path) -> str | None:
        self._said = ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", RuntimeWarning)
                self.target.read(root)
        except (Exception, Hang) as error:
            if not _is_refusal(error):
                self._said = traceback.format_exc()
                return _place(error)
            self.refused[type(error).__name__] += 1
        return None

    def to_dict(self) -> dict[str, Any]:
        """Counts for JSON."""
        return {
            "executions": self.executions,
            "refused": dict(self.refused),
            "slowest_s": round(self.slowest_s, 2),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // _RSS_UNITS_PER_MIB,
            "findings": list(self.findings),
        }


def _is_refusal(error: BaseException) -> bool:
    """Whether an error is one that the package promises. Memory must not have run out on the way to it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or "can't allocate memory" in str(cause):
            return False
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, FrameError | OSError):
        return True
    return type(error) is ValueError and _raised_by_package(error)


def _raised_by_package(error: BaseException) -> bool:
    """Whether a `raise` of the package raised an error, and not a function that the package called."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return False
    code = last.tb_frame.f_code
    return code.co_filename.startswith(_PACKAGE) and code.co_code[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def _place(error: BaseException) -> str:
    """The type of an error and the last line of the package that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    last = next((one for one in reversed(frames) if one.filename.startswith(_PACKAGE)), frames[-1])
    return f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"


# --- engines ---


def mutate(data: bytes, others: list[bytes], draw: random.Random) -> bytes:
    """Change an input at one to four places. Its first byte, which names the file, stays but for `_REPAIRED`."""
    first = (data[0] & ~_REPAIRED) | (_REPAIRED if draw.random() < 0.5 else 0)
    body = bytearray(data[1:])
    for _ in range(draw.randint(1, 4)):
        at = draw.randint(0, len(body))
        end = min(len(body), at + draw.choice((1, 2, 4, 16, 256)))
        kind = draw.randrange(8)
        if kind == 0 and body:
            body[min(at, len(body) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            body[at:end] = draw.randbytes(end - at)
        elif kind == 2:
            del body[at:end]
        elif kind == 3:
            body[at:at] = body[at:end] * draw.choice((1, 2, 50))
        elif kind == 4:
            body[at:at] = draw.choice(_TOKENS)
        elif kind == 5:
            other = draw.choice(others)
            body[at:end] = other[draw.randint(1, len(other)) :][:256]
        elif kind == 6:
            body = body[:at]
        else:
            body = _number_replaced(body, draw)
    return bytes([first]) + bytes(body)


def _number_replaced(body: bytearray, draw: random.Random) -> bytearray:
    """Put a token in the place of a number or word of a text."""
    places = list(re.finditer(rb"-?\d[\d.eE+-]*|true|false|null|\"[^\"]*\"", body[:100_000]))
    if not places:
        return body
    place = draw.choice(places)
    return body[: place.start()] + draw.choice(_TOKENS) + body[place.end() :]


def mutations(session: Session, seconds: float, seed: int, most: int | None = None) -> None:
    """Change valid inputs at random, for some seconds or `most` times."""
    draw = random.Random(seed)
    seeds = session.target.seeds
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and (most is None or session.executions < most):
        with limited(LONGEST_S):
            session.attempt(mutate(draw.choice(seeds), seeds, draw))


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `Hang` in this thread after some seconds."""

    def hang(number: int, frame: object) -> None:
        raise Hang(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, hang)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def guided(session: Session, seconds: float, seed: int, corpus: Path, save: Callable[[], None]) -> None:
    """libFuzzer on coverage of the package. It ends the process."""
    assert atheris is not None
    seeds = session.target.seeds
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    saved = [time.monotonic()]

    most_bytes = resident_bytes() + LEAKED_BYTES

    def one(data: bytes) -> None:
        session.attempt(data)
        if time.monotonic() - saved[0] > 0.5:
            save()
            saved[0] = time.monotonic()
            if resident_bytes() > most_bytes:
                os._exit(GROWN)

    def change(data: bytes, most: int, number: int) -> bytes:
        draw = random.Random(number)
        if len(data) < 2 or draw.random() < 0.5:
            return atheris.Mutate(data, most)
        return mutate(bytes(data), seeds, draw)[:most]

    longest = max(2 * max(map(len, seeds)), 4096)
    options = [f"-max_total_time={int(seconds)}", f"-seed={seed + 1}", f"-max_len={longest}", f"-timeout={LONGEST_S}"]
    options += [f"-artifact_prefix={session.folder}/", "-rss_limit_mb=0", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


# --- processes ---


def fuzz_here(name: str, seconds: float, seed: int, out: Path, engine: str) -> None:
    """Fuzz one target in this process, which the memory limit and a crash may end."""
    session = Session(TARGETS[name](), out)
    for data in session.target.seeds:
        session.attempt(data)
    assert not session.refused, f"a valid input of {name} is refused: {session.refused}"
    limit_memory()

    def save() -> None:
        write_text(out / "counts.json", json.dumps(session.to_dict()))

    save()
    if engine == "atheris":
        guided(session, seconds, seed, out / "corpus", save)
    else:
        mutations(session, seconds, seed)
    save()


def limit_memory() -> None:
    """Refuse this process more than 1 GiB beyond what it has. Python then raises MemoryError."""
    status = Path("/proc/self/status").read_text()
    used = 1024 * int(re.findall(r"VmData:\s+(\d+)", status)[0])
    resource.setrlimit(resource.RLIMIT_DATA, (used + MOST_BYTES, resource.RLIM_INFINITY))


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def fuzz(name: str, seconds: float, seed: int, out: Path, engine: str) -> dict[str, Any]:
    """Fuzz one target in forks, a new one after each death. Returns the counts."""
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    counts: dict[str, Any] = {"executions": 0, "refused": Counter(), "slowest_s": 0.0, "peak_mib": 0, "findings": []}
    ends = time.monotonic() + seconds
    while (left := ends - time.monotonic()) > 1:
        (folder / "counts.json").unlink(missing_ok=True)
        work = partial(fuzz_here, name, left, seed, folder, engine)
        code = _forked(work, folder / "log.txt", left)
        if (folder / "counts.json").is_file():
            found = json.loads((folder / "counts.json").read_text())
            counts["executions"] += found["executions"]
            counts["refused"] += Counter(found["refused"])
            for most in ("slowest_s", "peak_mib"):
                counts[most] = max(counts[most], found[most])
            counts["findings"] += [one for one in found["findings"] if one not in counts["findings"]]
        seed += 1
        if code == GROWN:
            continue
        if code == 0:
            break
        counts["findings"].append(f"the process ended with {code}")
        if (folder / "current").is_file():
            shutil.copy(folder / "current", folder / f"died-{len(counts['findings'])}.bin")
    corpus = folder / "corpus"
    counts["inputs"] = len(list(corpus.iterdir())) if corpus.is_dir() else len(TARGETS[name]().seeds)
    return {**counts, "refused": dict(counts["refused"])}


def _forked(work: Callable[[], None], log: Path, seconds: float) -> int:
    """Exit code of a fork that does the work. It is killed if it does not end in time."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for stream in (1, 2):
                os.dup2(file, stream)
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    latest = time.monotonic() + seconds + 6 * LONGEST_S
    while time.monotonic() < latest:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -signal.SIGKILL


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--only", nargs="*", default=[], choices=list(TARGETS), help="targets")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--engine", choices=("atheris", "mutations"), default="mutations" if atheris is None else "atheris"
    )
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for name in given.only or TARGETS:
        results[name] = fuzz(name, given.seconds, given.seed, given.out, given.engine)
        counts = results[name]
        print(f"{name}: {counts['inputs']} inputs, {counts['executions']} executions, findings: {counts['findings']}")
        write_text(given.out / "fuzz.json", json.dumps({"engine": given.engine, **results}, indent=2) + "\n")
    raise SystemExit(any(counts["findings"] for counts in results.values()))


if __name__ == "__main__":
    main()
