"""Compiles the inner loops of the renderer with numba, and keeps what was compiled.

numba reuses a compiled function if the file of that function has not changed. It does not notice changes in the files
of the functions that it calls. So the compiled functions of this package are kept in a folder that is named by a digest
of all its sources, and a change of any source begins an empty folder.
"""

import functools
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core import config

_HERE = Path(__file__).parent


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator of a function that numba compiles when it is first called."""
    return _compile(function, parallel=False)


def compiled_parallel(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `compiled`, with loops over `numba.prange` spread over numba's threads."""
    return _compile(function, parallel=True)


def _compile(function: Callable[..., Any], *, parallel: bool) -> Callable[..., Any]:
    """Division by zero gives infinity and comparisons with NaN are false, so that a missed ray needs no branch."""
    folder = cache_folder(_HERE)
    # numba reads the setting here, while it wraps the function. It belongs to the whole process, so it is put back.
    before = getattr(config, "CACHE_DIR")  # noqa: B009 - numba sets the attribute at run time
    setattr(config, "CACHE_DIR", "" if folder is None else str(folder))  # noqa: B010
    try:
        return njit(
            function,
            cache=folder is not None,
            nogil=True,
            parallel=parallel,
            error_model="numpy",
            fastmath={"contract", "nsz"},
        )
    finally:
        setattr(config, "CACHE_DIR", before)  # noqa: B010


@functools.cache
def cache_folder(sources: Path) -> Path | None:
    """Folder for the compiled functions of these sources: beside them, else in the user's cache folder.

    Returns:
        None where neither can be written to.
    """
    digest = hashlib.sha256()
    for source in sorted(sources.rglob("*.py")):
        digest.update(source.relative_to(sources).as_posix().encode() + b"\0" + source.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    for parent in (sources / "__pycache__", Path.home() / ".cache" / "crossnets"):
        try:
            (parent / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        return parent / name
    print("crossnets: no cache folder can be written to, so the renderer is compiled anew each time.", file=sys.stderr)
    return None
