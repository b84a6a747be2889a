"""A tracker from the model in the package, from a run, or from an exported file."""

from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from crossnets.geometry.localise import Centers, find_center
from crossnets.geometry.thinned import LENGTH_MM
from crossnets.inference.detector import MOST_HANDS, Detection, Finder, load_detector
from crossnets.inference.engines import Precision, Runtime, check_settings, load_exported
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.smoothing import OneEuroConfig
from crossnets.inference.tracker import Tracker
from crossnets.types import Pinhole, Refinement
from crossnets.weights import SHIPPED

Finding: TypeAlias = Literal["auto", "detector", "image", "image-paper", "label"]
"""How hands are found: by the package's detector, as `geometry.localise.Centers`, or as suits the model."""
NETWORK, INTEGERS, WEIGHTS, DETECTOR = "model.onnx", "model.int8.onnx", "weights.safetensors", "detector.onnx"
"""File names in a model's folder."""
Arithmetic: TypeAlias = Precision | Literal["int8"]
"""What a network computes in."""


def load(
    path: str | Path | None = None,
    *,
    runtime: Runtime = "auto",
    threads: int = 1,
    precision: Arithmetic = "float32",
    hands: int = 2,
    smooth: bool | OneEuroConfig = False,
) -> Tracker:
    """What finds hands in depth images and estimates their joints.

    Args:
        path: The model that comes with the package unless given; else a run of `crossnets train`, a model folder, or
            a file of `crossnets export`. A run that was not exported needs torch (crossnets[train]).
        runtime: `auto` takes OpenVINO where it is installed (crossnets[fast]), else ONNX Runtime.
        threads: Of the processor, for each network; 1 is best for one hand.
        precision: bfloat16 is OpenVINO's alone: faster, joints move by some tenths of a millimetre in the mean and in
            rare frames by centimetres. int8 is for models that were exported so, as the package's is: joints move by
            1 to 2 mm in the mean. The detector stays float32 then.
        hands: Most hands in an image.
        smooth: Whether `Tracker.track` filters joints over time.

    Raises:
        FileNotFoundError: there is no model.
        ModuleNotFoundError: what would run it is not installed.
        ValueError: the model's files are damaged, the settings are none or not of this model or runtime, or `hands`
            is not 1 or 2.
    """
    if not 1 <= hands <= MOST_HANDS:
        raise ValueError(f"hands={hands}: expected 1 to {MOST_HANDS}, which is what the detector finds in an image.")
    estimator = open_estimator(Path(path) if path is not None else SHIPPED, runtime, threads, precision)
    finder = open_finder(runtime, threads, "float32" if precision == "int8" else precision)
    return Tracker(estimator, finder, hands=hands, smooth=smooth)


def open_estimator(
    path: Path = SHIPPED, runtime: Runtime = "auto", threads: int = 1, precision: Arithmetic = "float32"
) -> CropEstimator:
    """A run, a model folder or an exported file as an estimator; an exported network is preferred, and needs no torch.

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
    """As `open_estimator`, with the latent space where a refinement needs it.

    Raises:
        FileNotFoundError, ModuleNotFoundError: as `load`.
        ValueError: as `load`, or the model has nothing to refine with.
    """
    if refinement == "none":
        return open_estimator(path)
    from crossnets.inference import bundle

    estimator = bundle.load(path)
    if not estimator.latent_networks().disc.metric_learned():
        raise ValueError(
            f"The model of {path} cannot refine: its metric head was not trained, as with --no-smoothness. Predict "
            "without refining, or train with that term."
        )
    return estimator


def finding(
    how: Finding, estimator: CropEstimator, *, sure_of_a_hand: bool = False
) -> tuple[Centers | Literal["detector"], Finder | None]:
    """What `auto` means for a model, and the finder where one is used.

    Where every frame is known to show a hand, as in a benchmark, our finder without a network adds one more place, and
    the likeliest is taken.

    A model that looks twice forgives where it looks first. The others were trained on centres of one kind and get
    those, except that no label is taken unless it is asked for.

    Raises:
        FileNotFoundError: the detector is asked for, and the package has none.
    """
    there = (SHIPPED / DETECTOR).is_file()
    if how == "auto":
        how = estimator.model.centers
        if how == "label":
            how = "image"
        if there and estimator.model.looks > 1:
            how = "detector"
    if how != "detector":
        return how, None
    if not there:
        raise FileNotFoundError("This copy of the package has no detector in it; use --centers image.")
    detector = open_finder()
    if not sure_of_a_hand:
        return "detector", detector
    return "detector", lambda depth_mm, camera: [*detector(depth_mm, camera), *_nearest(depth_mm, camera)]


def is_model(path: Path) -> bool:
    """Whether a path is of a run or model folder, or of an exported network."""
    if path.is_file():
        return path.suffix in (".onnx", ".xml")
    return any((folder / name).is_file() for folder in (path, path / "model") for name in (NETWORK, WEIGHTS))


def open_finder(runtime: Runtime = "auto", threads: int = 1, precision: Precision = "float32") -> Finder:
    """The detector that comes with the package; without one, the finder that needs no network.

    Raises:
        ModuleNotFoundError: the runtime is not installed.
        ValueError: the detector's file is damaged.
    """
    path = SHIPPED / DETECTOR
    return load_detector(path, runtime, threads=threads, precision=precision) if path.is_file() else _nearest


def _nearest(depth_mm: np.ndarray, camera: Pinhole) -> list[Detection]:
    """The nearest hand, as `find_center` finds it."""
    center_mm = find_center(depth_mm.astype(np.float32), camera)
    if center_mm is None:
        return []
    return [Detection(center_mm, 0.5, 0.5, LENGTH_MM)]
