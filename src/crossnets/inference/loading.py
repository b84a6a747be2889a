"""A tracker from the model in the package, from a run, or from an exported file."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float32

from crossnets.geometry.lens import ideal_image
from crossnets.geometry.localise import Centers, center_of, find_center, find_center_slices
from crossnets.geometry.skeleton import Skeleton
from crossnets.inference.detector import MOST_HANDS, Detection, load_detector
from crossnets.inference.engines import Precision, Runtime, check_settings, load_exported
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.hand import Side
from crossnets.inference.smoothing import OneEuroConfig
from crossnets.inference.tracker import Image, Tracker
from crossnets.types import DepthImage, HandFrame, Pinhole, Refinement
from crossnets.weights import SHIPPED

Finding: TypeAlias = Literal["auto", "detector", "image", "image-paper", "label"]
"""How hands are found: by the package's detector, by one of `geometry.localise.Centers`, or as suits the model."""
NETWORK, INTEGERS, WEIGHTS, DETECTOR = "model.onnx", "model.int8.onnx", "weights.safetensors", "detector.onnx"
"""File names in a model's folder."""
Arithmetic: TypeAlias = Precision | Literal["int8"]
"""Number format of a network."""


def load(
    path: str | Path | None = None,
    *,
    runtime: Runtime = "auto",
    threads: int = 1,
    precision: Arithmetic = "float32",
    hands: int = 2,
    smooth: bool | OneEuroConfig = False,
    side: Side | None = None,
    mirrored: bool = False,
) -> Tracker:
    """A tracker, which finds hands in depth images and estimates their joints.

    Args:
        path: The model that comes with the package unless given; else a run of `crossnets train`, a model folder, or
            a file of `crossnets export`. A run that was not exported needs torch (crossnets[train]). A detector.onnx in
            the folder is used instead of the package's detector.
        runtime: `auto` takes OpenVINO where it is installed (crossnets[fast]), else ONNX Runtime.
        threads: Threads of the processor for each network. One is best for one hand.
        precision: bfloat16 is OpenVINO's alone: faster, joints move by some tenths of a millimetre in the mean and in
            rare frames by centimetres. int8 is for models that were exported so, as the package's is: joints move by
            1 to 2 mm in the mean. The detector stays float32 then.
        hands: Most hands in an image.
        smooth: Whether `Tracker.track` filters joints over time.
        side: The side of all hands, left or right, if it is known.
        mirrored: Whether images are mirrored, as those of a selfie camera. `Hand.side` is then that of the real hand.
            Joints stay those of the image.

    Raises:
        FileNotFoundError: the model does not exist.
        ModuleNotFoundError: what would run it is not installed.
        ValueError: the model's files are damaged, the settings are none or not of this model or runtime, or `hands`
            is not 1 or 2.
    """
    if not 1 <= hands <= MOST_HANDS:
        raise ValueError(f"hands={hands}: expected 1 to {MOST_HANDS}, which is what the detector finds in an image.")
    estimator = open_estimator(Path(path) if path is not None else SHIPPED, runtime, threads, precision)
    floats = "float32" if precision == "int8" else precision
    detector = detector_of(None if path is None else Path(path))
    found = candidates_of("auto", estimator, detector=detector, runtime=runtime, threads=threads, precision=floats)
    tracker = Tracker(
        estimator,
        lambda depth_mm, of: found.find(Image(depth_mm, of)),
        hands=hands,
        smooth=smooth,
        side=side,
        mirrored=mirrored,
    )
    # A network cannot be pickled. Another process may start in another folder, so the path is absolute.
    where = None if path is None else Path(path).absolute()
    return tracker.reloaded_by(
        partial(
            load,
            where,
            runtime=runtime,
            threads=threads,
            precision=precision,
            hands=hands,
            smooth=smooth,
            side=side,
            mirrored=mirrored,
        )
    )


def open_estimator(
    path: Path = SHIPPED, runtime: Runtime = "auto", threads: int = 1, precision: Arithmetic = "float32"
) -> CropEstimator:
    """A run, a model folder or an exported file as an estimator. An exported network is preferred, and needs no torch.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ValueError: as `load`.
    """
    name, floats = (INTEGERS, "float32") if precision == "int8" else (NETWORK, precision)
    check_settings(runtime, threads, floats)
    if path.is_file():
        if precision == "int8":
            raise ValueError(f"{path} is one file, which computes in what it was exported to; leave precision out.")
        return load_exported(path, runtime, threads=threads, precision=floats)
    for folder in (path, path / "model"):
        if (folder / name).is_file():
            weights = folder / WEIGHTS
            weights = weights if weights.is_file() else None
            return load_exported(folder / name, runtime, threads=threads, precision=floats, weights=weights)
    if precision == "int8":
        raise FileNotFoundError(f"There is no {INTEGERS} in {path}; `crossnets export {path} --int8` writes it.")
    if path == SHIPPED:
        raise FileNotFoundError(
            "This copy of the package has no model in it. Train one with `crossnets train --preset crossnets --out "
            "RUN` and name it, or install a release."
        )
    if is_model(path) and (runtime != "auto" or precision != "float32"):
        raise ValueError(
            f"{path} was not exported, so PyTorch runs it, in float32. Leave runtime and precision out, or `crossnets "
            f"export {path} --to onnx` first."
        )
    if not is_model(path) and not find_spec("torch"):  # else what loads it says more
        raise FileNotFoundError(f"No model at {path}: expected a run, a model folder or an exported file.")
    from crossnets.inference import bundle

    return bundle.load(path)


def estimator_for(path: Path, refinement: Refinement) -> CropEstimator:
    """Open an estimator, with the latent space where a refinement needs it.

    Raises:
        FileNotFoundError, ModuleNotFoundError: as `load`.
        ValueError: as `load`, or the model has nothing to refine with.
    """
    if refinement == "none":
        return open_estimator(path)
    from crossnets.inference import bundle

    estimator = bundle.load(path)
    if not estimator.refining_networks().disc.metric_learned():
        raise ValueError(
            f"The model of {path} cannot refine: its metric head was not trained, as with --no-smoothness. Predict "
            "without refining, or train with that term."
        )
    return estimator


@dataclass(frozen=True)
class Candidates:
    """How candidates for hands are found in depth images."""

    how: Centers | Literal["detector"]
    find: Callable[[DepthImage], Sequence[Detection]]
    more: Callable[[DepthImage], Sequence[Detection]]
    """More candidates, for benchmarks that want an answer for every frame."""


def detector_of(path: Path | None) -> Path:
    """The detector in a model's folder, or in the folder `model` of a run. The package's where both lack one."""
    folders = () if path is None else (path, path / "model")
    return next((folder / DETECTOR for folder in folders if (folder / DETECTOR).is_file()), SHIPPED / DETECTOR)


def candidates_of(
    how: Finding,
    estimator: CropEstimator,
    *,
    detector: Path = SHIPPED / DETECTOR,
    skeleton: Skeleton | None = None,
    runtime: Runtime = "auto",
    threads: int = 1,
    precision: Precision = "float32",
) -> Candidates:
    """The way that a model's candidates are found.

    `auto` takes the detector for a model that refines its estimate, as such a model tolerates the detector's errors.
    The other models were trained on centres of one kind and get those. Labels are read only if that is asked for.

    Args:
        how: The way that is asked for.
        estimator: The model.
        detector: File of the detector, see `detector_of`.
        skeleton: Skeleton of the frames' labels, for `label`.
        runtime: Runtime of the detector.
        threads: Threads of the detector.
        precision: Precision of the detector.

    Raises:
        FileNotFoundError: the detector is asked for, and this copy of the package has none.
    """
    there = detector.is_file()
    if how == "auto":
        how = "image" if estimator.model.centers == "label" else estimator.model.centers
        if there and estimator.model.passes > 1:
            how = "detector"
    if how == "label":
        return Candidates(how, partial(_labelled, skeleton), _none)
    if how == "image-paper":
        return Candidates(how, lambda image: _at(find_center_slices(*_ideal(image))), _none)
    if how == "image":
        return Candidates(how, _nearest, _none)
    if not there:
        raise FileNotFoundError("This copy of the package has no detector in it; use --centers image.")
    search = load_detector(detector, runtime, threads=threads, precision=precision)
    return Candidates("detector", lambda image: search(image.depth_mm, image.camera), _nearest)


def model_name(path: Path) -> str:
    """Name of a model for records of predictions: folder or file, version of the package, and digest of the weights."""
    folder = next((one for one in (path, path / "model") if (one / WEIGHTS).is_file()), path)
    files = (path,) if path.is_file() else (folder / WEIGHTS, folder / NETWORK)
    weights = next((file for file in files if file.is_file()), None)
    name = "crossnets" if path == SHIPPED else path.resolve().name
    hashed = "" if weights is None else f", weights {hashlib.sha256(weights.read_bytes()).hexdigest()[:12]}"
    return f"{name} ({version('crossnets')}{hashed})"


def is_model(path: Path) -> bool:
    """Whether a path is of a run or model folder, or of an exported network."""
    if path.is_file():
        return path.suffix in (".onnx", ".xml")
    return any((folder / name).is_file() for folder in (path, path / "model") for name in (NETWORK, WEIGHTS))


def _labelled(skeleton: Skeleton | None, image: DepthImage) -> list[Detection]:
    assert isinstance(image, HandFrame), "only frames of data sets have labels"
    return _at(center_of(image, skeleton, "label"))


def _nearest(image: DepthImage) -> list[Detection]:
    """The nearest hand, as `find_center` finds it without a network."""
    return _at(find_center(*_ideal(image)))


def _none(image: DepthImage) -> list[Detection]:
    return []


def _ideal(image: DepthImage) -> tuple[Float32[np.ndarray, "H W"], Pinhole]:
    """The image without distortion, as the finders without a network take it."""
    depth_mm, camera = ideal_image(image.depth_mm, image.camera)
    return depth_mm.astype(np.float32, copy=False), camera


def _at(center_mm: Float32[np.ndarray, "3"] | None) -> list[Detection]:
    return [] if center_mm is None else [Detection.at(center_mm)]
