"""A declared skeleton with names of its own, a joint without a standard joint, and few joints."""

from typing import Any

from crossnets.geometry.skeleton import Skeleton, find_skeleton

GLOVE: dict[str, Any] = {
    "name": "glove",
    "root": "base",
    "joints": [
        {"name": "base", "parent": None, "standard": "wrist"},
        {"name": "middle_mcp", "parent": "base"},
        {"name": "nail1", "parent": "base", "standard": "index_tip"},
        {"name": "nail2", "parent": "middle_mcp", "standard": "middle_tip"},
        {"name": "strap", "parent": "base"},
    ],
}


def glove(joints: int = 5) -> Skeleton:
    """The skeleton, or its first joints. Four of them correspond to standard joints."""
    return find_skeleton({**GLOVE, "joints": GLOVE["joints"][:joints]})
