"""Paths as users write them."""

import os
from pathlib import Path


def expanded(text: str | Path) -> Path:
    """Return a path whose leading `~` or `~user` is replaced by the home folder. The name of an unknown user stays.

    `Path.expanduser` raises a RuntimeError for an unknown user.
    """
    return Path(os.path.expanduser(text))  # noqa: PTH111
