"""Parse JSON from files that other programs may have written or damaged."""

import json
from typing import Any

_MOST_DIGITS = 300
"""A whole number of more digits may not fit into a float."""


def parse_json(text: str | bytes) -> Any:
    """Parse JSON whose whole numbers all fit into floats.

    Raises:
        ValueError: the text is not JSON, its values are nested too deeply, or a whole number has too many digits.
    """
    try:
        return json.loads(text, parse_int=_whole_number)
    except RecursionError:
        raise ValueError("its values are nested too deeply") from None


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"found a whole number of {len(digits)} digits, expected at most {_MOST_DIGITS}")
    return int(digits)
