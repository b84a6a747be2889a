"""Load trackers and estimators from the package, from runs, or from exported files."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, get_args

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
"""Method that finds hands: the detector of the package, one of `geometry.localise.Centers`, or a choice for the
model."""
NETWORK = "model.onnx"
INTEGERS = "model.int8.onnx"
WEIGHTS = "weights.safetensors"
DETECTOR = "detector.onnx"
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
    """Load a tracker, which detects hands in depth images and estimates their joints.

    Args:
        path: A run of `crossnets train`, a model folder, or a file of `crossnets export`. The default is the model of
            the package. A run that was not exported needs torch (crossnets[train]). A detector.onnx in the folder
            replaces the detector of the package.
        runtime: `auto` chooses OpenVINO if it is installed (crossnets[fast]), else ONNX Runtime.
        threads: Threads of the processor for each network. One thread is best for one hand.
        precision: bfloat16 needs OpenVINO and is faster. It moves joints by some tenths of a millimetre in the mean and
            by centimetres in rare frames. int8 needs a model that was exported with it, such as that of the package. It
            moves joints by 1 to 2 mm in the mean, and the detector stays in float32.
        hands: Largest number of hands in an image.
        smooth: Whether `Tracker.track` filters joints over time.
        side: The side of all hands, left or right, if it is known.
        mirrored: Whether images are mirrored, as those of a selfie camera. `Hand.side` is then that of the real hand.
            Joints stay those of the image.

    Raises:
        FileNotFoundError: the model does not exist.
        ModuleNotFoundError: the package that runs it is not installed.
        ValueError: the model's files are damaged, the model or runtime does not support the settings, or `hands` is not
            1 or 2.
    """
    if hands not in range(1, MOST_HANDS + 1):
        raise ValueError(f"hands={hands!r}: expected 1 to {MOST_HANDS}. The detector finds no more hands in an image.")
    formats = (*get_args(Precision), "int8")
    if precision not in formats:
        raise ValueError(f"precision={precision!r}: expected {', '.join(formats)}.")
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
    """Open a run, a model folder or an exported file as an estimator.

    An exported network is preferred because it does not need torch.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ValueError: as for `load`.
    """
    name, floats = (INTEGERS, "float32") if precision == "int8" else (NETWORK, precision)
    check_settings(runtime, threads, floats)
    if path.is_file():
        if precision == "int8":
            raise ValueError(
                f"{path} is a single file whose number format was chosen at its export. Leave precision out."
            )
        return load_exported(path, runtime, threads=threads, precision=floats)
    for folder in (path, path / "model"):
        if (folder / name).is_file():
            weights = folder / WEIGHTS
            weights = weights if weights.is_file() else None
            return load_exported(folder / name, runtime, threads=threads, precision=floats, weights=weights)
    if precision == "int8":
        raise FileNotFoundError(f"There is no {INTEGERS} in {path}. `crossnets export {path} --int8` writes it.")
    if path == SHIPPED:
        raise FileNotFoundError(
            "This copy of the package has no model. Train one with `crossnets train --preset crossnets --out RUN` and "
            "give its folder, or install a release."
        )
    if is_model(path) and (runtime != "auto" or precision != "float32"):
        raise ValueError(
            f"{path} was not exported, so PyTorch runs it in float32. Leave runtime and precision out, or run "
            f"`crossnets export {path} --to onnx` first."
        )
    if not is_model(path) and not find_spec("torch"):  # with torch, bundle.load raises a more precise error
        raise FileNotFoundError(f"No model at {path}: expected a run, a model folder or an exported file.")
    from crossnets.inference import bundle

    return bundle.load(path)


def estimator_for(path: Path, refinement: Refinement) -> CropEstimator:
    """Open an estimator, with the latent space where a refinement needs it.

    Raises:
        FileNotFoundError, ModuleNotFoundError: as for `load`.
        ValueError: as for `load`, or the model cannot refine.
    """
    if refinement == "none":
        return open_estimator(path)
    from crossnets.inference import bundle

    estimator = bundle.load(path)
    if not estimator.refining_networks().disc.metric_learned():
        raise ValueError(
            f"The model of {path} cannot refine, because its metric head was not trained (--no-smoothness). Predict "
            "without refinement, or train with this term."
        )
    return estimator


@dataclass(frozen=True)
class Candidates:
    """A method that finds candidates for hands in depth images."""

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
    """Choose the method that finds candidates for a model.

    `auto` chooses the detector for a model that refines its estimate, because such a model tolerates the detector's
    errors. Other models get centres of the kind on which they were trained. Labels are used only on request.

    Args:
        how: The requested method.
        estimator: The model.
        detector: File of the detector, see `detector_of`.
        skeleton: Skeleton of the frames' labels, for `label`.
        runtime: Runtime of the detector.
        threads: Threads of the detector.
        precision: Precision of the detector.

    Raises:
        FileNotFoundError: the detector is requested, and this copy of the package does not contain it.
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
        raise FileNotFoundError("This copy of the package has no detector. Use --centers image.")
    search = load_detector(detector, runtime, threads=threads, precision=precision)
    return Candidates("detector", lambda image: search(image.depth_mm, image.camera), _nearest)


def model_name(path: Path) -> str:
    """Return the name of a model for predictions: folder or file, version of the package, and digest of the weights."""
    folder = next((one for one in (path, path / "model") if (one / WEIGHTS).is_file()), path)
    files = (path,) if path.is_file() else (folder / WEIGHTS, folder / NETWORK)
    weights = next((file for file in files if file.is_file()), None)
    name = "crossnets" if path == SHIPPED else path.resolve().name
    hashed = "" if weights is None else f", weights {hashlib.sha256(weights.read_bytes()).hexdigest()[:12]}"
    return f"{name} ({version('crossnets')}{hashed})"


def is_model(path: Path) -> bool:
    """Whether a path is a run, a model folder or an exported network."""
    if path.is_file():
        return path.suffix in (".onnx", ".xml")
    return any((folder / name).is_file() for folder in (path, path / "model") for name in (NETWORK, WEIGHTS))


def _labelled(skeleton: Skeleton | None, image: DepthImage) -> list[Detection]:
    assert isinstance(image, HandFrame), "only frames of data sets have labels"
    return _at(center_of(image, skeleton, "label"))


def _nearest(image: DepthImage) -> list[Detection]:
    """Find the nearest hand with `find_center`, without a network."""
    return _at(find_center(*_ideal(image)))


def _none(image: DepthImage) -> list[Detection]:
    return []


def _ideal(image: DepthImage) -> tuple[Float32[np.ndarray, "H W"], Pinhole]:
    """Return the image without distortion, which the finders without a network need."""
    depth_mm, camera = ideal_image(image.depth_mm, image.camera)
    return depth_mm.astype(np.float32, copy=False), camera


def _at(center_mm: Float32[np.ndarray, "3"] | None) -> list[Detection]:
    return [] if center_mm is None else [Detection.at(center_mm)]
