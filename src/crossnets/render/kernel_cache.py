"""What numba compiled is kept beside its source, and is forgotten when any source of the renderer changes.

numba takes a kept function if its own file is as it was, whatever happened to the files of the functions that it calls.
"""

import hashlib
from contextlib import suppress
from pathlib import Path

from crossnets.atomic import write_text

_STAMP = "kernels.sha256"


def forget_if_changed(folder: Path) -> bool:
    """Remove compiled functions of a folder's sources unless they are of these sources; whether there was a change.

    A folder that cannot be written to is left alone.
    """
    sources = sorted(folder.glob("*.py"))
    digest = hashlib.sha256(b"".join(source.name.encode() + source.read_bytes() for source in sources)).hexdigest()
    cache = folder / "__pycache__"
    stamp = cache / _STAMP
    if stamp.is_file() and stamp.read_text() == digest:
        return False
    with suppress(OSError):
        cache.mkdir(exist_ok=True)
        for compiled in [*cache.glob("*.nbi"), *cache.glob("*.nbc")]:
            compiled.unlink(missing_ok=True)
        write_text(stamp, digest)
    return True
