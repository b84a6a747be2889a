"""Run exported networks with ONNX Runtime or OpenVINO."""

import functools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from jaxtyping import Float32

from crossnets.geometry.skeleton import find_skeleton
from crossnets.inference.description import KEY, OUTPUTS, digest, from_text, weights_of
from crossnets.inference.estimator import CropEstimator, Raw

Runtime: TypeAlias = Literal["auto", "onnxruntime", "openvino"]
Precision: TypeAlias = Literal["float32", "bfloat16"]
Run: TypeAlias = Callable[[np.ndarray], list[Any]]
"""Computes the outputs of a network for a batch of images."""
_RunOne: TypeAlias = Callable[[np.ndarray], list[Any]]
"""Computes the outputs for one image. The image has no batch axis, and the outputs have one."""


def load_exported(
    path: Path,
    runtime: Runtime = "auto",
    *,
    threads: int = 1,
    precision: Precision = "float32",
    weights: Path | None = None,
) -> CropEstimator:
    """Load an exported network as an estimator.

    Args:
        path: File of `crossnets export RUN --to onnx`.
        runtime: `auto` chooses OpenVINO if it is installed.
        threads: Threads of the processor. One thread is fastest for one hand at a time.
        precision: bfloat16 needs OpenVINO and changes joints by some tenths of a millimetre.
        weights: File that the network must have been exported from. None accepts any network.

    Raises:
        FileNotFoundError: the file does not exist.
        ModuleNotFoundError: the requested runtime is not installed.
        ValueError: the file is not a network of crossnets, or the runtime does not support the precision.
    """
    text, run = open_network(path, runtime, threads=threads, precision=precision, names=OUTPUTS)
    model, maps = from_text(text, str(path))
    if weights is not None and weights_of(text) != digest(weights):
        raise ValueError(f"{path} was exported from other weights than {weights}. Run `crossnets export` again.")
    joints = len(find_skeleton(model.skeleton))

    def network(images: Float32[np.ndarray, "B 1 S S"]) -> Raw:
        number = len(images)
        said = run(images)
        check_shapes(path, said, [(number, joints, 3), (number, joints), *3 * [(number,)]])
        return Raw(*said)

    return CropEstimator(model, network, maps)


def check_shapes(path: Path, outputs: Sequence[Any], shapes: Sequence[tuple[int, ...]]) -> None:
    """Refuse outputs of a network that are not floats of these shapes. Only the first may be there.

    Raises:
        ValueError: they are not.
    """
    found = [np.shape(one) for one in outputs]
    if not found or found != list(shapes[: len(found)]) or any(one.dtype.kind != "f" for one in outputs):
        raise ValueError(
            f"{path} outputs arrays of {', '.join(f'{one.dtype} {one.shape}' for one in outputs) or 'no values'}, "
            f"expected floats of {', '.join(map(str, shapes))}. Export the run again."
        )


def open_network(
    path: Path, runtime: Runtime, *, threads: int, precision: Precision, names: Sequence[str]
) -> tuple[str | None, Run]:
    """Open a network file. Return its description and a function that runs the network.

    OpenVINO compiles a network for each shape of image, which takes a moment the first time, and runs the images of a
    batch one after another. A network of one fixed shape is up to a quarter faster than one for all shapes, and batches
    would gain less than that.

    Args:
        path: The file.
        runtime: Runtime, as for `load_exported`.
        threads: Threads of the processor.
        precision: Number format of the arithmetic.
        names: Names of the outputs in the order of the result. A network may have only the first ones.

    Raises:
        FileNotFoundError, ModuleNotFoundError, ValueError: as for `load_exported`.
    """
    check_settings(runtime, threads, precision)
    if not path.is_file():
        raise FileNotFoundError(f"There is no exported network {path}. `crossnets export RUN` writes one.")
    if runtime == "auto":
        runtime = "openvino" if _has_openvino() else "onnxruntime"
    if path.suffix == ".xml" and runtime == "onnxruntime":
        raise ValueError(
            f"{path} has OpenVINO's format, which ONNX Runtime cannot read. Run pip install 'crossnets[fast]' and "
            "leave the runtime out, or export with --to onnx."
        )
    if runtime == "openvino":
        text, run = _openvino(path, threads, precision, names)
    elif precision != "float32":
        raise ValueError("ONNX Runtime computes in float32 on processors. bfloat16 needs runtime='openvino'.")
    else:
        text, run = _onnxruntime(path, threads, names)

    def runs(images: np.ndarray) -> list[Any]:
        try:
            return run(images)
        except Exception as error:  # both runtimes raise classes of their own
            raise ValueError(f"{path} cannot be run on an image of shape {images.shape}: {str(error)[:300]}") from error

    return text, runs


def check_settings(runtime: str, threads: int, precision: str) -> None:
    """Reject unknown settings.

    Raises:
        ValueError: the runtime or precision is unknown, or there is less than one thread.
    """
    for what, found, known in (("runtime", runtime, get_args(Runtime)), ("precision", precision, get_args(Precision))):
        if found not in known:
            raise ValueError(f"{what}={found!r}: expected {', '.join(known)}.")
    if threads < 1:
        raise ValueError(f"threads={threads}: expected 1 or more.")


def _has_openvino() -> bool:
    try:  # it may be installed and still fail to load
        import openvino  # noqa: F401
    # OSError is that of a library of the system that is missing.
    except (ImportError, OSError):
        return False
    return True


def _onnxruntime(path: Path, threads: int, names: Sequence[str]) -> tuple[str | None, Run]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        text = session.get_modelmeta().custom_metadata_map.get(KEY)
        (name,) = (entry.name for entry in session.get_inputs())
    except Exception as error:  # onnxruntime does not export the classes of its exceptions
        raise ValueError(f"{path} is not a network that ONNX Runtime can read: {str(error)[:300]}") from error
    taken = list(names[: len(session.get_outputs())])

    def run(images: Float32[np.ndarray, "B C H W"]) -> list[Any]:
        return list(session.run(taken, {name: images}))

    return text, run


@functools.cache
def openvino_core() -> Any:
    """Return OpenVINO's core. The process has one core and never releases it.

    A core installs a signal stack in the thread that creates it. When it is released, it restores the previous signal
    stack, even if that belonged to a core that no longer exists. The next signal, such as Ctrl-C, then kills the
    process (openvino 2026.4.1, `SigAltStackSetup` in its CPU plugin).
    """
    import openvino

    return openvino.Core()


def _openvino(path: Path, threads: int, precision: Precision, names: Sequence[str]) -> tuple[str | None, Run]:
    core = openvino_core()
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    ready: dict[tuple[int, ...], _RunOne] = {}

    def one(shape: tuple[int, ...]) -> _RunOne:
        if shape not in ready:
            read.reshape([1, *shape])
            ready[shape] = _one_image(core.compile_model(read, "CPU", settings), names)
        return ready[shape]

    try:
        read = core.read_model(str(path))
        sides = list(read.input(0).partial_shape)[1:]
        if all(side.is_static for side in sides):
            one(tuple(side.get_length() for side in sides))
        found = read.get_rt_info()
        text = found["framework"][KEY].astype(str) if "framework" in found and KEY in found["framework"] else None
    except Exception as error:  # its own errors, and IndexError and TypeError of what a file leaves out
        raise ValueError(f"{path} is not a network that OpenVINO can read: {str(error)[:300]}") from error

    def run(images: Float32[np.ndarray, "B C H W"]) -> list[Any]:
        infer = one(images.shape[1:])
        said = [infer(image) for image in images]
        return said[0] if len(said) == 1 else [np.concatenate(parts) for parts in zip(*said, strict=True)]

    return text, run


def _one_image(compiled: Any, names: Sequence[str]) -> _RunOne:
    """Return a function that runs a network of one shape on one image.

    Inputs and outputs keep their memory, so a call neither allocates nor looks up tensors. The results are copied,
    because the next call overwrites them.
    """
    import openvino

    alone = threading.Lock()

    def tensor(port: Any) -> Any:
        return openvino.Tensor(port.element_type, port.shape)

    request = compiled.create_infer_request()
    entry = tensor(compiled.input(0))
    request.set_input_tensor(entry)
    said = []
    for name in names[: len(compiled.outputs)]:
        output = compiled.output(name)
        said.append(tensor(output))
        request.set_tensor(output, said[-1])
    taken = entry.data
    given = [part.data for part in said]

    def infer(image: Float32[np.ndarray, "C H W"]) -> list[Any]:
        with alone:
            taken[0] = image
            request.infer(share_outputs=True)
            return [part.copy() for part in given]

    return infer
