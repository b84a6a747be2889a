"""Engines that run a network on one thread. An engine is a runtime with a precision."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from crossnets.inference.engines import Precision, Run, Runtime, open_network, openvino_core

Engine: TypeAlias = Literal["onnxruntime", "openvino", "openvino-bf16"]
ENGINES: tuple[Engine, ...] = get_args(Engine)
TITLES: dict[Engine, str] = {
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "openvino-bf16": "OpenVINO bf16",
}


def runtime_of(engine: Engine) -> Runtime:
    """Library that runs the engine."""
    return "onnxruntime" if engine == "onnxruntime" else "openvino"


def precision_of(engine: Engine) -> Precision:
    """Number format in which the engine computes."""
    return "bfloat16" if engine == "openvino-bf16" else "float32"


def available() -> tuple[Engine, ...]:
    """Engines that are installed and that this processor supports."""
    return tuple(
        engine
        for engine in ENGINES
        if find_spec(str(runtime_of(engine))) and (precision_of(engine) == "float32" or _has_bf16())
    )


def chosen(wanted: Sequence[Engine]) -> tuple[Engine, ...]:
    """The wanted engines without repetitions, or all available engines if none are wanted.

    Raises:
        ModuleNotFoundError: a wanted engine is not installed, or no engine is.
        ValueError: the processor does not support bfloat16.
    """
    if not wanted:
        wanted = available() or ("onnxruntime",)
    for module in {str(runtime_of(engine)) for engine in wanted}:
        if not find_spec(module):
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
    if "openvino-bf16" in wanted and not _has_bf16():
        raise ValueError(
            "This processor has no instructions for bfloat16, so OpenVINO would not be faster with it. "
            "Leave openvino-bf16 out of --runtimes."
        )
    return tuple(dict.fromkeys(wanted))


def open_run(path: Path, engine: Engine, names: Sequence[str]) -> Run:
    """Open a network file as a function from images to outputs that runs on one thread.

    Raises:
        ValueError: the file does not contain a network.
    """
    _, run = open_network(path, runtime_of(engine), threads=1, precision=precision_of(engine), names=names)
    return run


def _has_bf16() -> bool:
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
