"""What runs an exported network: ONNX Runtime, or OpenVINO where it is installed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float32

from crossnets.estimation import CropEstimator, Raw
from crossnets.runtime.description import KEY, OUTPUTS, digest, from_text, weights_of

Runtime: TypeAlias = Literal["auto", "onnxruntime", "openvino"]
Precision: TypeAlias = Literal["float32", "bfloat16"]
Run: TypeAlias = Callable[[np.ndarray], list[Any]]
"""Images to the outputs of a network."""


def load_exported(
    path: Path,
    runtime: Runtime = "auto",
    *,
    threads: int = 1,
    precision: Precision = "float32",
    weights: Path | None = None,
) -> CropEstimator:
    """An exported network, ready to estimate.

    Args:
        path: File of `crossnets export RUN --to onnx`.
        runtime: `auto` takes OpenVINO where it is installed.
        threads: Of the processor; one is fastest for one hand at a time, and leaves the others to you.
        precision: bfloat16 is OpenVINO's alone, and changes joints by some tenths of a millimetre.
        weights: The file that the network must have been exported from; None: any.

    Raises:
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: the runtime that was asked for is not installed.
        ValueError: the file is none of ours, or the precision is not one of the runtime's.
    """
    text, run = open_network(path, runtime, threads=threads, precision=precision, names=OUTPUTS)
    model, maps = from_text(text, str(path))
    if weights is not None and weights_of(text) != digest(weights):
        raise ValueError(f"{path} was exported from other weights than {weights}; run `crossnets export` again.")
    return CropEstimator(model, lambda images: Raw(*run(images)), maps)


def open_network(
    path: Path, runtime: Runtime, *, threads: int, precision: Precision, names: Sequence[str], every_shape: bool = True
) -> tuple[str | None, Run]:
    """The description that a network's file carries, and what runs it.

    Args:
        path: The file.
        runtime: As of `load_exported`, with `threads` and `precision`.
        threads: Of the processor.
        precision: Of its sums.
        names: Of the outputs, in the order they are wanted in; a network may have the first ones alone.
        every_shape: Whether one network serves inputs of all shapes; otherwise OpenVINO makes one for each shape that
            comes, which takes a moment the first time and is faster from then on.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ValueError: as `load_exported`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no exported network {path}; `crossnets export RUN` writes one.")
    if runtime == "auto":
        runtime = "openvino" if _has_openvino() else "onnxruntime"
    if runtime == "openvino":
        return _openvino(path, threads, precision, names, every_shape)
    if precision != "float32":
        raise ValueError("ONNX Runtime computes in float32 on processors; bfloat16 needs runtime='openvino'.")
    return _onnxruntime(path, threads, names)


def _has_openvino() -> bool:
    try:
        import openvino  # noqa: F401
    except ImportError:
        return False
    return True


def _onnxruntime(path: Path, threads: int, names: Sequence[str]) -> tuple[str | None, Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that it does not export
        raise ValueError(f"{path} is not a network that ONNX Runtime can read: {str(error)[:300]}") from error
    name, taken = session.get_inputs()[0].name, list(names[: len(session.get_outputs())])

    def run(images: Float32[np.ndarray, "B C H W"]) -> list[Any]:
        return list(session.run(taken, {name: images}))

    return session.get_modelmeta().custom_metadata_map.get(KEY), run


def _openvino(
    path: Path, threads: int, precision: Precision, names: Sequence[str], every_shape: bool
) -> tuple[str | None, Run]:
    import openvino

    core = openvino.Core()
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    requests: dict[tuple[int, ...], tuple[Any, list[Any]]] = {}

    def prepared(shape: tuple[int, ...]) -> tuple[Any, list[Any]]:
        if shape not in requests:
            if shape:
                read.reshape(list(shape))
            compiled = core.compile_model(read, "CPU", settings)
            outputs = [compiled.output(name) for name in names[: len(compiled.outputs)]]
            requests[shape] = compiled.create_infer_request(), outputs
        return requests[shape]

    try:
        read = core.read_model(str(path))
        if every_shape:
            prepared(())
    except RuntimeError as error:
        raise ValueError(f"{path} is not a network that OpenVINO can read: {str(error)[:300]}") from error
    found = read.get_rt_info()
    text = found["framework"][KEY].astype(str) if "framework" in found and KEY in found["framework"] else None

    def run(images: Float32[np.ndarray, "B C H W"]) -> list[Any]:
        request, outputs = prepared(() if every_shape else images.shape)
        request.infer({0: images})
        return [request.get_tensor(output).data.copy() for output in outputs]

    return text, run
