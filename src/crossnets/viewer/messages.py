"""Messages from the server to the page: a JSON text, then the image."""

import json
import struct
from dataclasses import asdict
from typing import Any

from crossnets.inference.hand import Hand
from crossnets.viewer.state import UNIT_MM, LiveState

VERSION = 1
"""Version of the messages. A page of another version asks the user to reload it."""


def pack(state: LiveState, number: int | None = None) -> bytes:
    """Pack the moment with this number, or the last one.

    The first four bytes are the length of the JSON, little-endian. The JSON is padded so that the image starts at a
    multiple of four bytes. The image consists of 16-bit little-endian counts, row by row.
    """
    version, status, moment, (seconds, first, last) = state.look(number)
    head: dict[str, Any] = {"protocol": VERSION, "version": version, **asdict(status)}
    head["wants_recording"] = state.wants_recording
    head["kept"] = {"seconds": round(seconds, 3), "first": first, "last": last}
    head["frame"] = None
    image = b""
    if moment is not None:
        height, width = moment.counts.shape
        head["frame"] = {
            "number": moment.number,
            "time_s": round(moment.time_s, 4),
            "width": width,
            "height": height,
            "unit_mm": UNIT_MM,
            "camera": moment.camera,
            "hands": [_hand(hand) for hand in moment.hands],
            "stages_ms": {name: round(took, 2) for name, took in moment.stages_ms.items()},
            "fps": round(moment.fps, 1),
        }
        image = moment.counts.astype("<u2", copy=False).tobytes()
    text = json.dumps(head, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<I", len(text)) + text + image


def _hand(hand: Hand) -> dict[str, Any]:
    return {**hand.to_dict(), "bones": hand.skeleton.bones, "colours": hand.skeleton.colours}
