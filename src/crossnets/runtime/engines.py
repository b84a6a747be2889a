"""What runs an exported network: ONNX Runtime, or OpenVINO where it is installed."""

from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float32

from crossnets.estimation import CropEstimator, Raw
from crossnets.runtime.description import KEY, OUTPUTS, from_text

Runtime: TypeAlias = Literal["auto", "onnxruntime", "openvino"]
Precision: TypeAlias = Literal["float32", "bfloat16"]


def load_exported(
    path: Path, runtime: Runtime = "auto", *, threads: int = 1, precision: Precision = "float32"
) -> CropEstimator:
    """An exported network, ready to estimate.

    Args:
        path: File of `crossnets export RUN --to onnx`.
        runtime: `auto` takes OpenVINO where it is installed.
        threads: Of the processor; one is fastest for one hand at a time, and leaves the others to you.
        precision: bfloat16 is OpenVINO's alone, and changes joints by some tenths of a millimetre.

    Raises:
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: the runtime that was asked for is not installed.
        ValueError: the file is none of ours, or the precision is not one of the runtime's.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no exported network {path}; `crossnets export RUN` writes one.")
    if runtime == "auto":
        runtime = "openvino" if _has_openvino() else "onnxruntime"
    if runtime == "openvino":
        return _openvino(path, threads, precision)
    if precision != "float32":
        raise ValueError("ONNX Runtime computes in float32 on processors; bfloat16 needs runtime='openvino'.")
    return _onnxruntime(path, threads)


def _has_openvino() -> bool:
    try:
        import openvino  # noqa: F401
    except ImportError:
        return False
    return True


def _onnxruntime(path: Path, threads: int) -> CropEstimator:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that it does not export
        raise ValueError(f"{path} is not a network that ONNX Runtime can read: {str(error)[:300]}") from error
    model, maps = from_text(session.get_modelmeta().custom_metadata_map.get(KEY), str(path))
    name, names = session.get_inputs()[0].name, list(OUTPUTS[: len(session.get_outputs())])

    def network(images: Float32[np.ndarray, "B 1 S S"]) -> Raw:
        outputs: Any = session.run(names, {name: images})
        return Raw(*outputs)

    return CropEstimator(model, network, maps)


def _openvino(path: Path, threads: int, precision: Precision) -> CropEstimator:
    import openvino

    core = openvino.Core()
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        read = core.read_model(str(path))
        compiled = core.compile_model(read, "CPU", settings)
    except RuntimeError as error:
        raise ValueError(f"{path} is not a network that OpenVINO can read: {str(error)[:300]}") from error
    found = read.get_rt_info()
    text = found["framework"][KEY].astype(str) if "framework" in found and KEY in found["framework"] else None
    model, maps = from_text(text, str(path))
    request = compiled.create_infer_request()
    outputs = [compiled.output(name) for name in OUTPUTS[: len(compiled.outputs)]]

    def network(images: Float32[np.ndarray, "B 1 S S"]) -> Raw:
        request.infer({0: images})
        return Raw(*(request.get_tensor(output).data.copy() for output in outputs))

    return CropEstimator(model, network, maps)
