"""The end of a command that cannot go on."""

import sys
from typing import NoReturn

from rich.console import Console

from crossnets.datasets.dataset import printable


def end(message: str, code: int) -> NoReturn:
    """Say why, and end the process."""
    # Lines stay lines. Other control characters may come from the name of a file.
    message = "\n".join(map(printable, message.split("\n")))
    Console(stderr=True).print(f"crossnets: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)
