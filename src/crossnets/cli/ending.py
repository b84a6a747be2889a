"""The end of a command that cannot go on."""

import sys
from typing import NoReturn

from rich.console import Console


def end(message: str, code: int) -> NoReturn:
    """Say why, and end the process."""
    Console(stderr=True).print(f"crossnets: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)
