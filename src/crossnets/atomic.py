"""Files that appear whole or not at all: written under a temporary name, then renamed."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, to write to; on success it replaces `path`, on an error it is removed.

    Raises:
        OSError: its folder cannot be made.
    """
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    try:
        yield part
        part.chmod(path.parent.stat().st_mode & 0o666)  # readable by whom the folder is; some writers make it private
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder, unless it is there.

    Raises:
        OSError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"Cannot make the folder {folder} ({error.strerror}). Name one that is no file, where you may write."
        ) from error


def allocate(path: Path) -> None:
    """Give a file the room on the disk that its size says: the process would die of writing to it as memory without.

    Raises:
        OSError: the disk is too full.
    """
    if not hasattr(os, "posix_fallocate"):  # pragma: no cover - neither Linux nor BSD
        return
    size = path.stat().st_size
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            name, free = path.name.removesuffix(".part"), shutil.disk_usage(path.parent).free
            raise OSError(
                f"{path.parent} is on a disk that is too full: {name} takes {size / 1e9:.2f} GB, {free / 1e9:.2f} GB "
                "are free. Make room, or write to another disk."
            ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
