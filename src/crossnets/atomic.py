"""Files that appear whole or not at all, and folders whose work can be continued after a kill."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAKE_ROOM = "Make room and give the same command again. Whatever was finished stays and is used."


def is_full(error: Exception) -> bool:
    """Whether an error says that the disk is full, or the user's share of it."""
    # safetensors raises an error of its own, which has the number in its text alone.
    full = (errno.ENOSPC, errno.EDQUOT)
    return getattr(error, "errno", None) in full or any(f"(os error {number})" in str(error) for number in full)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, to write to; on success it replaces `path`, on an error it is removed.

    Raises:
        OSError: its folder cannot be made, or the disk is full.
    """
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    try:
        yield part
        # Whoever may read the folder may read the file. Some writers make their file private.
        part.chmod(path.parent.stat().st_mode & 0o666)
        part.replace(path)
    except Exception as error:
        if not is_full(error):
            raise
        raise OSError(f"No space left on device: {path} was not written. {MAKE_ROOM}") from error
    finally:
        part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder, unless it is there.

    Raises:
        OSError: it cannot be made.
        ValueError: its name has a null byte.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"Cannot make the folder {folder} ({error.strerror}). Name another place, where you may write."
        ) from error
    # Python raises it for a null byte alone.
    except ValueError as error:
        raise ValueError(f"Cannot make the folder {str(folder)!r}: no name holds a null byte.") from error


def allocate(path: Path) -> None:
    """Reserve space on the disk for a whole file.

    Without it, a process that writes to the file as a memory map is killed when the disk is full.

    Raises:
        OSError: the disk is too full.
    """
    if not hasattr(os, "posix_fallocate"):  # Windows and macOS
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


class UnfinishedMark:
    """A file that says that the work in a folder is not finished, and what was asked for.

    It is written before anything else and removed after everything else. A command that was killed finds it when it is
    given again, and continues. A folder without it is finished or belongs to somebody else.
    """

    def __init__(self, folder: Path, work: str, request: dict[str, Any]) -> None:
        """Name the mark. `work` says what is done, such as `evaluation`. `request` decides the files of the folder."""
        self._folder, self._work = folder, work
        self._path = folder / f"{work}.unfinished"
        self._request = json.loads(json.dumps(request))

    def is_there(self) -> bool:
        """Whether the same request was begun here and not finished.

        Raises:
            ValueError: another request was begun here, or the mark cannot be read.
        """
        if not self._folder.is_dir():  # nor for a name that no folder may have
            return False
        # A kill may have come while the mark itself was written. Nothing else is in the folder then.
        self._path.with_name(self._path.name + ".part").unlink(missing_ok=True)
        if not self._path.is_file():
            return False
        try:
            found = json.loads(self._path.read_bytes())
        except (ValueError, RecursionError):
            found = None
        if found != self._request:
            raise ValueError(
                f"{self._folder} holds an unfinished {self._work} of another command: {self._difference(found)}. "
                "Repeat that command to continue it, or give another folder as --out."
            )
        return True

    def set(self) -> None:
        """Write the mark."""
        write_text(self._path, json.dumps(self._request) + "\n")

    def remove(self) -> None:
        """The work is finished."""
        if self._folder.is_dir():
            self._path.unlink(missing_ok=True)

    def _difference(self, found: Any) -> str:
        if not isinstance(found, dict):
            return f"{self._path.name} cannot be read"
        for name in sorted({*found, *self._request}):
            if found.get(name) != self._request.get(name):
                return f"{name} was {str(found.get(name))[:80]!r}, is {str(self._request.get(name))[:80]!r}"
        return f"{self._path.name} differs"


class FolderGoneError(FileNotFoundError):
    """A folder that a command writes into was moved or deleted in the meantime."""

    def __init__(self, folder: Path, written: str = "") -> None:
        """`written` is a sentence that says what is in the folder."""
        super().__init__(f"The folder {folder} is gone. {written}It was moved or deleted while the command ran.")


@contextmanager
def staying(folder: Path) -> Iterator[None]:
    """Report a folder that is moved or deleted meanwhile, instead of the error of the file that could not be written.

    Writers make folders that are missing, so that the folder at the end may be another one of the same name.

    Args:
        folder: An existing folder.

    Raises:
        FolderGoneError: it is not at its path at the end, or when an error ends the work.
    """
    before = folder.stat()
    try:
        yield
    except FolderGoneError:
        raise
    except Exception as error:
        if not _is_same(folder, before):
            raise FolderGoneError(folder) from error
        raise
    if not _is_same(folder, before):
        raise FolderGoneError(folder)


def _is_same(folder: Path, before: os.stat_result) -> bool:
    try:
        return os.path.samestat(folder.stat(), before)
    except OSError:
        return False


@contextmanager
def held(folder: Path, doing: str) -> Iterator[None]:
    """Keep other processes from writing into `folder`. The lock ends with the process, however it ends.

    Windows has no such lock, so nothing is kept from writing there.

    Args:
        folder: An existing folder, which must stay there as `staying` describes.
        doing: What a process does in it, such as `packs into`.

    Raises:
        BlockingIOError: another process holds it.
        FolderGoneError: as for `staying`.
    """
    with locked(folder, doing), staying(folder):
        yield


@contextmanager
def locked(folder: Path, doing: str) -> Iterator[None]:
    """Keep other processes from writing into `folder`, as `held` does. The folder may be removed."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(f"Another process {doing} {folder}. Wait for it, or give another --out.") from error
        yield
    finally:
        os.close(opened)
