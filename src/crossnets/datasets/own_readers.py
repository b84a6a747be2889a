"""Readers of data sets of one's own, which a decorator registers. docs/own-data.md leads through an example."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from crossnets.datasets.dataset import HandDataset
from crossnets.paths import expanded

VARIABLE = "CROSSNETS_READERS"
"""Environment variable with the Python files or modules whose readers are registered, separated as in PATH."""
GROUP = "crossnets.readers"
"""Entry points of installed packages: the name of a format, and its module or reader."""

Opener: TypeAlias = Callable[[Path, Literal["train", "test"], tuple[str, ...] | None], HandDataset]
"""Opens a folder or file with its split and, if the user selects some, its parts."""
AnyOpener = TypeVar("AnyOpener", bound=Opener)


class OwnReader(NamedTuple):
    """A registered reader."""

    open: Opener
    holds: str
    """Expected contents of the folder, for messages."""


_registered: dict[str, OwnReader] = {}
_imported: set[str] = set()


def reader(name: str, holds: str = "a data set of its own format") -> Callable[[AnyOpener], AnyOpener]:
    """Register a class or function that opens data sets `NAME:PATH`, as a decorator.

    It is called with the path, the split (train or test) and the parts that follow `#`, or None. It returns a
    `HandDataset`.

    Args:
        name: Name of the format: letters, digits, hyphens and underscores.
        holds: Expected contents of the folder, for messages.

    Raises:
        ValueError: the name is invalid, or the format is built in.
    """
    from crossnets.datasets.opening import FORMATS

    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"Invalid name {name!r} of a format. Expected letters, digits, hyphens and underscores.")
    if name in FORMATS:
        raise ValueError(f"The format {name!r} is built in. Give your reader another name.")

    def register(opener: AnyOpener) -> AnyOpener:
        _registered[name] = OwnReader(opener, holds)
        return opener

    return register


def own_readers() -> dict[str, OwnReader]:
    """All registered readers by name, after those of `CROSSNETS_READERS` and of installed packages are imported.

    Raises:
        OSError: a file of `CROSSNETS_READERS` is missing.
        ValueError: a file, module or entry point cannot be imported.
    """
    for text in filter(None, os.environ.get(VARIABLE, "").split(os.pathsep)):
        _import_once(f"{VARIABLE}={text}", lambda named=text: _module(named))
    for point in entry_points(group=GROUP):
        _import_once(f"the entry point {point.name} = {point.value}", point.load, point.name)
    return dict(_registered)


def _import_once(what: str, load: Callable[[], Any], name: str | None = None) -> None:
    """Import a reader unless that was done. `name` registers a class or function that no decorator registered."""
    if what in _imported:
        return
    try:
        loaded = load()
    except FileNotFoundError:
        raise
    # The code is the user's, so it may raise anything.
    except Exception as error:
        raise ValueError(f"The reader of {what} cannot be imported: {type(error).__name__}: {error}.") from error
    _imported.add(what)
    if name is not None and name not in _registered and not isinstance(loaded, ModuleType):
        reader(name)(loaded)


def _module(named: str) -> ModuleType:
    """Import a Python file, or a module by its name."""
    path = expanded(named)
    if path.suffix != ".py":
        return importlib.import_module(named)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}, which {VARIABLE} names. Expected a Python file or a module.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickles look up their module by its name.
    sys.modules.setdefault(path.stem, module)
    spec.loader.exec_module(module)
    return module
