"""Description of the machine that runs a benchmark."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from crossnets.processor import processor_instructions, processor_name

_PACKAGES = ("crossnets", "numpy", "opencv-python-headless", "onnx", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Machine:
    """Processor, system and versions of the installed packages."""

    processor: str
    cores: int
    load: float | None
    """Mean number of runnable processes in the minute before. None if the system does not count them."""
    system: str
    python: str
    packages: dict[str, str]


def machine() -> Machine:
    """Describe this machine at this time."""
    return Machine(
        _processor(),
        os.cpu_count() or 1,
        round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        f"{platform.system()} {platform.machine()}",
        platform.python_version(),
        {name: installed for name in _PACKAGES if (installed := _version(name))},
    )


def _processor() -> str:
    """Name of the processor and its instructions that speed up networks."""
    instructions = processor_instructions()
    return processor_name() + (f" ({', '.join(instructions)})" if instructions else "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
