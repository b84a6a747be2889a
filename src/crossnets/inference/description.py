"""Description in the file of an exported network: how crops are cut for it, and the meaning of its outputs."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from crossnets.inference.estimator import CropModel, current_names
from crossnets.json_text import parse_json

KEY = "crossnets"
"""Key of the text in the metadata of the file."""
FORMAT = "crossnets-network"
VERSION = 1
OUTPUTS = ("joints", "log_spread", "side", "log_size", "hand")
"""Outputs in the order of the fields of `inference.estimator.Raw`. Networks that estimate only joints have only the
first output. Networks that also estimate deviations have the first two. The last one is the newest, and networks of
earlier versions lack it."""


def to_text(model: CropModel, maps: Mapping[str, Float32[np.ndarray, "K J"]], weights: str | None = None) -> str:
    """The description as JSON. `weights` is the `digest` of the file that the network was exported from."""
    listed = {name: np.round(weights, 6).tolist() for name, weights in maps.items()}
    fields = {name: asdict(model)[name] for name in CropModel.__dataclass_fields__}
    return json.dumps({"format": FORMAT, "version": VERSION, "model": fields, "maps": listed, "weights": weights})


def fields_of(text: str | bytes | None, form: str, version: int) -> dict[str, Any]:
    """Fields of a description in JSON, without its header.

    Raises:
        ValueError: the description is missing, or it has another format or version.
    """
    if text is None:
        raise ValueError("it has no description")
    fields: dict[str, Any] = parse_json(text)
    found = fields.pop("format", None), fields.pop("version", None)
    if found != (form, version):
        raise ValueError(f"its format is {found[0]!r} version {found[1]!r}, not {form!r} version {version}")
    return fields


def digest(path: Path) -> str:
    """Return the digest of a file. It identifies the weights that a network was exported from."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights_of(text: str | None) -> str | None:
    """Return the digest of the weights that a network was exported from. None if the description does not contain
    it."""
    return None if text is None else parse_json(text).get("weights")


def from_text(text: str | None, path: str) -> tuple[CropModel, dict[str, Float32[np.ndarray, "K J"]]]:
    """Read a description that `to_text` wrote.

    Raises:
        ValueError: the file at `path` was not exported by this version of crossnets.
    """
    try:
        fields = fields_of(text, FORMAT, VERSION)
        maps = {name: np.array(weights, np.float32) for name, weights in fields["maps"].items()}
        return CropModel(**current_names(fields["model"])), maps
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} was not made by `crossnets export` of this version: {error}. Export the run again."
        ) from error
