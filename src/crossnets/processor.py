"""The processor, for records of runs and measurements."""

import platform
from pathlib import Path

_SPEAKING = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
"""Instructions that matter to networks."""


def processor_name() -> str:
    """The processor's name, where the system tells."""
    return _fields().get("model name") or platform.processor() or platform.machine()


def processor_instructions() -> tuple[str, ...]:
    """Instructions of the processor that matter to networks, where the system lists them."""
    flags = _fields().get("flags", "").split()
    return tuple(name for name in _SPEAKING if name in flags)


def _fields() -> dict[str, str]:
    """Properties of Linux's first processor. Empty elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    first = path.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    rows = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in rows}
