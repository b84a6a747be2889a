"""Output of a benchmark: tables on the console, or JSON, and a file with the JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from crossnets.atomic import write_text

_WIDTH = 150
"""Width of the tables where standard output is not a terminal."""


def require_file(out: Path | None) -> None:
    """Check before the measurements that `out` can be a file.

    Raises:
        IsADirectoryError: it is a folder.
    """
    if out is not None and out.is_dir():
        raise IsADirectoryError(f"{out} is a folder. Give a file for the JSON as --out.")


def publish(report: dict[str, Any], show: Callable[[Console], None], *, as_json: bool, out: Path | None) -> None:
    """Write the report into a file, and print it.

    Args:
        report: The report as plain values.
        show: Prints the tables on a console.
        as_json: Whether to print JSON instead of tables.
        out: Optional file for the JSON.

    Raises:
        OSError: the file cannot be written.
    """
    text = json.dumps(report, indent=2, allow_nan=False)
    if out is not None:
        write_text(out, text + "\n")
    if as_json:
        print(text)
        return
    console = Console()
    show(console if console.is_terminal else Console(width=_WIDTH))
