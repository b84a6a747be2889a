"""Compile the inner loops of the renderer with numba and cache the compiled code.

numba reuses the cached code of a function if the file of that function has not changed. It does not notice changes in
the files of the functions that this function calls. The cache folder of this package is therefore named after a digest
of all its sources. A change of any source starts an empty folder.
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
    """Decorate a function that numba compiles at its first call."""
    folder = cache_folder(_HERE)
    # numba reads the cache folder while it wraps the function. The setting belongs to the whole process, so it is
    # restored afterwards.
    before = getattr(config, "CACHE_DIR")  # noqa: B009 - numba sets the attribute at run time
    setattr(config, "CACHE_DIR", "" if folder is None else str(folder))  # noqa: B010
    try:
        # With numpy's error model a division by zero gives infinity instead of an exception. Comparisons with NaN are
        # false. A ray that misses therefore needs no branch.
        return njit(
            function,
            cache=folder is not None,
            nogil=True,
            error_model="numpy",
            fastmath={"contract", "nsz"},
        )
    finally:
        setattr(config, "CACHE_DIR", before)  # noqa: B010


@functools.cache
def cache_folder(sources: Path) -> Path | None:
    """Return the folder for the compiled functions of these sources.

    The folder lies beside the sources, or in the user's cache folder if the sources cannot be written to.

    Returns:
        None if neither place can be written to.
    """
    digest = hashlib.sha256()
    for source in sorted(sources.rglob("*.py")):
        digest.update(source.relative_to(sources).as_posix().encode() + b"\0" + source.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    for parent in (sources / "__pycache__", Path.home() / ".cache" / "crossnets"):
        known = (parent / name).is_dir()
        try:
            (parent / name).mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if not known:
            print("crossnets: compiling the renderer for this machine, once; it takes about a minute.", file=sys.stderr)
        return parent / name
    print("crossnets: cannot write to any cache folder, so every process compiles the renderer again.", file=sys.stderr)
    return None
