"""The command `export`: write a run as a file that does not need torch, and compare both on real or rendered hands."""

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float

from crossnets import metrics
from crossnets.datasets.dataset import readable_frames
from crossnets.datasets.opening import open_dataset
from crossnets.export.int8 import to_int8
from crossnets.export.networks import detector_to_onnx, to_onnx, to_openvino
from crossnets.geometry.crop import crop_hand
from crossnets.geometry.localise import find_center
from crossnets.geometry.skeleton import Skeleton
from crossnets.geometry.thinned import as_image, stride_of, thin
from crossnets.inference import bundle
from crossnets.inference import detector as detect
from crossnets.inference.engines import Runtime, load_exported
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.torch_models import Detector, Estimator
from crossnets.synth.stream import KINDS_OF_SENSOR, SyntheticConfig, SyntheticHands
from crossnets.synth.surroundings.clutter import Clutter
from crossnets.types import HandCrop

Format: TypeAlias = Literal["onnx", "openvino"]

_COMPARED = 128
_CALIBRATION = 512
"""Numbers of rendered hands."""
_SEEDS = {"calibrate": 10**12 + 10**6, "compare": 10**12 + 2 * 10**6}
"""Seeds that no training uses."""


@dataclass(frozen=True)
class Compared:
    """Crops with their labels in mm."""

    crops: list[HandCrop]
    joints_mm: Float[np.ndarray, "N J 3"] | None
    skeleton: Skeleton | None
    what: str


def export_command(run: Path, to: Format, int8: bool, data: str | None, out: Path | None) -> None:
    """Export a run. Print the distance between the joints of the file and those of torch, and both errors.

    Raises:
        OSError: the model does not exist.
        ValueError: its files are damaged, int8 is requested for a detector, or the data contain no hand.
    """
    folder = bundle.model_folder(run)
    suffix = ".xml" if to == "openvino" else ".onnx"
    if bundle.is_detector(run):
        if int8 or data is not None:
            raise ValueError(
                "A detector stays in float32 and is compared on rendered frames. Leave --int8 and --data out."
            )
        _export_detector(bundle.load_detector(run), to, out or folder / f"detector{suffix}")
        return
    estimator = bundle.load(run)
    path = _named(out or folder / f"model{'.int8' if int8 else ''}{suffix}", to)
    cube_mm = estimator.config.cube_mm
    compared = rendered(_COMPARED, "compare", cube_mm) if data is None else _real(data, cube_mm)
    with tempfile.TemporaryDirectory() as temporary:
        exact = Path(temporary) / "model.onnx"
        last = path if to == "onnx" else Path(temporary) / "last.onnx"
        to_onnx(estimator, exact if int8 else last, folder / "weights.safetensors")
        if int8:
            to_int8(exact, last, estimator.arrays(rendered(_CALIBRATION, "calibrate", cube_mm).crops))
        if to == "openvino":
            to_openvino(last, path)
    print(f"{path}: {_megabytes(path):.1f} MB")
    _tell(estimator, load_exported(path, "openvino" if to == "openvino" else "onnxruntime"), compared, to)


def _named(path: Path, to: Format) -> Path:
    if (path.suffix == ".xml") != (to == "openvino"):
        wanted = ".xml. Its .bin lies beside it" if to == "openvino" else ".onnx"
        raise ValueError(f"Found --out {path}, but a file for {to} ends in {wanted}.")
    return path


def _megabytes(path: Path) -> float:
    files = {path, path.with_suffix(".bin")} if path.suffix == ".xml" else {path}
    return sum(file.stat().st_size for file in files) / 1e6


def rendered(count: int, what: str, cube_mm: float) -> Compared:
    """Render hands of all cameras that no training uses, and crop them in cubes of this side."""
    crops = []
    joints = []
    for number, camera in enumerate(KINDS_OF_SENSOR):
        config = SyntheticConfig(camera=camera, seed=_SEEDS[what] + number, noise=(0.5, 1.5), clutter=Clutter())
        hands = SyntheticHands(config)
        for frame in map(hands.frame, range(count // len(KINDS_OF_SENSOR))):
            assert frame.joints_mm is not None
            crops.append(crop_hand(frame.depth_mm, frame.camera, frame.joints_mm.mean(axis=0), cube_mm))
            joints.append(frame.joints_mm)
    return Compared(crops, np.stack(joints), SyntheticConfig().skeleton, f"{count} rendered hands")


def _real(data: str, cube_mm: float) -> Compared:
    """Crop every frame of a data set in which `find_center` finds a hand, in cubes of this side."""
    dataset = open_dataset(data)
    crops: list[HandCrop] = []
    labels: list[Float[np.ndarray, "J 3"]] = []
    problems = list(dataset.problems)
    for _, frame in readable_frames(dataset, problems):
        center_mm = find_center(frame.depth_mm, frame.camera)
        if center_mm is not None:
            crops.append(crop_hand(frame.depth_mm, frame.camera, center_mm, cube_mm))
            if frame.joints_mm is not None:
                labels.append(frame.joints_mm)
    if problems:
        print(f"Left out {len(problems)} damaged frames, such as {problems[0]}", file=sys.stderr)
    if not crops:
        raise ValueError(f"No hand was found in the frames of {data}. Give other frames for the comparison.")
    joints = np.stack(labels) if len(labels) == len(crops) else None
    return Compared(crops, joints, dataset.skeleton, f"{len(crops)} frames of {data}")


def _tell(exact: Estimator, exported: CropEstimator, compared: Compared, to: Format) -> None:
    """Print the distance between both estimators, and the error of each if the data have labels of these joints."""
    found = {name: estimator.estimate(compared.crops).joints_mm for name, estimator in (("a", exact), ("b", exported))}
    apart = np.linalg.norm(found["a"] - found["b"], axis=-1)
    runtime = "OpenVINO" if to == "openvino" else "ONNX Runtime"
    print(f"{runtime} against torch on {compared.what}: {apart.mean():.2g} mm mean, {apart.max():.2g} most")
    speaking = [estimator.speaking(compared.skeleton) for estimator in (exact, exported)]
    if compared.joints_mm is None or speaking[0].skeleton != compared.skeleton:
        return
    errors = [
        metrics.joint_errors_mm(estimator.estimate(compared.crops).joints_mm, compared.joints_mm).mean()
        for estimator in speaking
    ]
    print(f"Mean error: {errors[0]:.2f} mm in torch, {errors[1]:.2f} exported, {errors[1] - errors[0]:+.2f}")


def _export_detector(detector: Detector, to: Format, path: Path) -> None:
    """Export a detector. Print the difference between the maps of the file and those of torch on rendered frames."""
    path = _named(path, to)
    with tempfile.TemporaryDirectory() as temporary:
        last = path if to == "onnx" else Path(temporary) / "last.onnx"
        detector_to_onnx(detector, last)
        if to == "openvino":
            to_openvino(last, path)
    hands = SyntheticHands(SyntheticConfig(seed=_SEEDS["compare"]))
    frames = [hands.frame(k) for k in range(_COMPARED // 2)]
    images = np.stack([as_image(thin(frame.depth_mm, stride_of(frame.camera))) for frame in frames])
    runtime: Runtime = "openvino" if to == "openvino" else "onnxruntime"
    apart = np.abs(detect.load_detector(path, runtime).maps(images) - detector.maps(images))
    print(f"{path}: {_megabytes(path):.2f} MB")
    print(f"Against torch on {len(frames)} rendered frames: maps differ by {apart.mean():.2g} in the mean, ", end="")
    print(f"{apart.max():.2g} at most")
