"""The machine of a benchmark."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from crossnets.processor import processor_instructions, processor_name

_PACKAGES = ("crossnets", "numpy", "opencv-python-headless", "onnx", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Machine:
    """The processor and the installed versions."""

    processor: str
    cores: int
    load: float | None
    """Processes that wanted the processor in the minute before; None where the system does not count them."""
    system: str
    python: str
    packages: dict[str, str]


def machine() -> Machine:
    """This one, now."""
    return Machine(
        _processor(),
        os.cpu_count() or 1,
        round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        f"{platform.system()} {platform.machine()}",
        platform.python_version(),
        {name: found for name in _PACKAGES if (found := _version(name))},
    )


def _processor() -> str:
    """Its name, and the instructions that matter to networks."""
    found = processor_instructions()
    return processor_name() + (f" ({', '.join(found)})" if found else "")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
