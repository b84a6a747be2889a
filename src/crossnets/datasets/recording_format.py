"""Files of a recording, as docs/recording-format.md describes them: camera.json and labels.jsonl."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from crossnets.datasets.dataset import FrameError
from crossnets.datasets.file_checks import broken, read_lines, size_fault, sound_joints
from crossnets.datasets.png import png_size
from crossnets.geometry.camera import CameraPreset
from crossnets.geometry.lens import coefficients_of, lens_of
from crossnets.geometry.skeleton import SKELETONS, Skeleton, find_skeleton
from crossnets.json_text import parse_json
from crossnets.types import Lens, Pinhole

FORMAT = "crossnets-recording"
VERSION, LENS_VERSION = 1, 2
"""Recordings without and with a lens. Readers of version 1 alone would leave out the lens, so they must refuse it."""
OPENCV, MODIFIED = "opencv", "modified-brown-conrady"
"""Models of lenses."""
CAMERA_FILE = "camera.json"
LABELS_FILE = "labels.jsonl"
UNFINISHED_FILE = "labels.jsonl.partial"
"""Labels of a recording that has not been closed."""
KEYS_FILE = "keys.jsonl"
"""Keys and sequences of frames that were converted from another data set."""
DOCS = "See docs/recording-format.md."
MAX_COUNT = 65535
"""Largest depth count of 16 bits."""
_MOST = 1_000_000
"""Numbers of a camera are smaller."""


def camera_fields(camera: CameraPreset, name: str | None) -> dict[str, Any]:
    """Make the fields of camera.json. `name` is omitted if it is None."""
    fields: dict[str, Any] = {"format": FORMAT, "version": VERSION, **camera.pinhole._asdict()}
    fields |= {"width_px": camera.width_px, "height_px": camera.height_px, "depth_unit_mm": camera.depth_unit_mm}
    if camera.lens is not None:
        model = MODIFIED if camera.lens.modified else OPENCV
        fields |= {"version": LENS_VERSION, "lens": {"model": model, "coefficients": coefficients_of(camera.lens)}}
    return fields if name is None else {**fields, "name": name}


def read_camera(folder: Path, images: dict[str, Path]) -> CameraPreset:
    """Read the camera from camera.json of a folder. `images` are the PNGs of the folder.

    Raises:
        FileNotFoundError: camera.json is missing. The message contains an example.
        PermissionError: camera.json cannot be read.
        ValueError: camera.json is not JSON, or `parse_camera` rejects it.
    """
    path = folder / CAMERA_FILE
    if not path.is_file():
        raise FileNotFoundError(_camera_advice(folder, images))
    try:
        fields = parse_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}. {DOCS}") from error
    return parse_camera(fields, path)


def _camera_advice(folder: Path, images: dict[str, Path]) -> str:
    """Message with an example of camera.json that has the size of the images."""
    try:
        width, height = png_size(next(iter(images.values())))
    except FrameError:
        width, height = 640, 480
    unknown = CameraPreset(Pinhole(0.0, 0.0, width / 2, height / 2), width, height, 1.0, "")
    return (
        f"{folder} holds {len(images)} PNGs but no {CAMERA_FILE}, so pixels cannot be converted to millimetres. "
        f"Pass a camera, or write {folder / CAMERA_FILE} as below. Replace the zeros by the focal lengths of your "
        "camera. If you know its principal point and depth unit, replace those too.\n"
        f"{json.dumps(camera_fields(unknown, None), indent=2)}"
    )


def parse_camera(fields: Any, path: Path) -> CameraPreset:
    """Check the fields of camera.json and make a camera of them. `path` names the file in messages.

    Raises:
        ValueError: the format or version differs, or a field is missing or invalid.
    """
    if not isinstance(fields, dict) or fields.get("format") != FORMAT:
        found = fields.get("format") if isinstance(fields, dict) else type(fields).__name__
        raise ValueError(f'{path}: found format {found!r}, expected "format": "{FORMAT}". {DOCS}')
    version = fields.get("version")
    if version not in (VERSION, LENS_VERSION) or isinstance(version, bool):
        raise ValueError(
            f"{path}: found version {version!r}; this crossnets reads {VERSION} and {LENS_VERSION}. Update it."
        )
    lens = _lens(fields.get("lens"), path)
    if version == VERSION and lens is not None:
        raise ValueError(f'{path}: found a lens in version {VERSION}, expected "version": {LENS_VERSION}. {DOCS}')
    numbers = {name: _number(fields, name, path) for name in ("fx_px", "fy_px", "cx_px", "cy_px", "depth_unit_mm")}
    width, height = (_number(fields, name, path) for name in ("width_px", "height_px"))
    if not (width.is_integer() and height.is_integer()):
        raise ValueError(f"{path}: found an image of {width:g}x{height:g}, expected whole numbers of pixels. {DOCS}")
    if fault := size_fault(int(width), int(height)):
        raise ValueError(f"{path}: {fault}. {DOCS}")
    for name in ("fx_px", "fy_px", "depth_unit_mm"):
        if numbers[name] <= 0:
            raise ValueError(f"{path}: found {name} {numbers[name]:g}, expected more than 0. {DOCS}")
    unit = numbers.pop("depth_unit_mm")
    return CameraPreset(Pinhole(**numbers), int(width), int(height), unit, str(fields.get("name", path)), lens)


def _lens(fields: Any, path: Path) -> Lens | None:
    """The lens of camera.json. None if the field is missing or null."""
    if fields is None:
        return None
    model = fields.get("model", OPENCV) if isinstance(fields, dict) else None
    if model not in (OPENCV, MODIFIED):
        expected = '{"model": "opencv", "coefficients": [k1, k2, p1, p2, k3, k4, k5, k6]}'
        raise ValueError(f"{path}: found the lens {str(fields)[:80]}, expected {expected}. {DOCS}")
    try:
        return lens_of(fields.get("coefficients"), modified=model == MODIFIED)
    except ValueError as error:
        raise ValueError(f"{path}: {error} {DOCS}") from None


def _number(fields: dict[str, Any], name: str, path: Path) -> float:
    value = fields.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MOST:
        raise ValueError(f"{path}: found {name} {value!r}, expected a number below {_MOST}. {DOCS}")
    return float(value)


def skeleton_of(folder: Path) -> Skeleton | None:
    """Read the skeleton from the first line of labels.jsonl. None if the recording has no labels.

    Raises:
        OSError: labels.jsonl cannot be read.
        ValueError: labels.jsonl is empty, or its first line neither names a known skeleton nor declares one.
    """
    path = folder / LABELS_FILE
    if not path.exists():
        return None
    first = read_lines(path, "recording")[0]
    try:
        named = parse_json(first)["skeleton"]
    except (ValueError, TypeError, KeyError):
        raise ValueError(
            f'{path}:1: found {first[:80]!r}, expected {{"skeleton": NAME}} with one of {", ".join(SKELETONS)}. {DOCS}'
        ) from None
    try:
        # The path of a JSON file starts from the folder of the recording.
        return find_skeleton(folder / named if isinstance(named, str) and named.endswith(".json") else named)
    except (ValueError, OSError) as error:
        raise ValueError(f"{path}:1: found {first[:80]!r}. {error}") from None


def keys_text(places: Mapping[str, tuple[str, str]]) -> str:
    """Make the contents of `KEYS_FILE` from the key and sequence of each image."""
    lines = ({"frame": name, "key": key, "sequence": sequence} for name, (key, sequence) in places.items())
    return "".join(json.dumps(line) + "\n" for line in lines)


def read_keys(folder: Path, images: Mapping[str, Path]) -> dict[str, tuple[str, str]]:
    """Read key and sequence of each image from `KEYS_FILE`. Empty if there is no such file.

    Raises:
        OSError: the file cannot be read.
        ValueError: a line is broken, or it names an image that is missing or named before.
    """
    path = folder / KEYS_FILE
    if not path.exists():
        return {}
    places: dict[str, tuple[str, str]] = {}
    for number, line in enumerate(read_lines(path, "recording"), 1):
        if not line.strip():
            continue
        name, key, sequence = _key_line(line)
        if name not in images or name in places or not key or not sequence:
            expected = '{"frame": "000000.png", "key": "cvar/P1/000000", "sequence": "P1"}'
            raise ValueError(
                f"{path}:{number}: found {line[:80]!r}, expected a line such as {expected} for each image. Remove the "
                f"file to use the keys of a recording. {DOCS}"
            )
        places[name] = key, sequence
    return places


def _key_line(line: str) -> tuple[str, str, str]:
    """Image, key and sequence of a line of `KEYS_FILE`. All are empty if the line is broken."""
    try:
        fields = parse_json(line)
        texts = fields["frame"], fields["key"], fields["sequence"]
    except (ValueError, TypeError, KeyError):
        return "", "", ""
    return texts if all(isinstance(text, str) for text in texts) else ("", "", "")


def parse_label(line: str, path: Path, number: int) -> tuple[str, Any]:
    """Parse the name of the image and the joints of a line of labels.jsonl. The joints are not checked.

    Raises:
        FrameError: the line is not a JSON object with these fields.
    """
    try:
        fields = parse_json(line)
        name, joints = fields["frame"], fields["joints_mm"]
    except (ValueError, TypeError, KeyError):
        what = f'found {line[:60]!r}, expected {{"frame": "000000.png", "joints_mm": [[x, y, z], ...]}}'
        raise broken(path, what, number) from None
    if not isinstance(name, str):
        raise broken(path, f"found the frame {name!r}, expected the name of a PNG", number)
    return name, joints


def label_joints(joints: Any, skeleton: Skeleton, path: Path, number: int) -> Float32[np.ndarray, "J 3"]:
    """Check the joints of a label and convert them to an array in mm.

    Raises:
        FrameError: the number of joints is wrong, or `joint_fault` rejects a coordinate.
    """
    expected = f"expected {len(skeleton)} joints x 3 of {skeleton.name}"
    try:
        values = np.array(joints, dtype=np.float64)
    except (ValueError, TypeError):
        raise broken(path, f"the joints are not a table of numbers; {expected}", number) from None
    if values.shape != (len(skeleton), 3):
        raise broken(path, f"found joints of shape {values.shape}; {expected}", number)
    return sound_joints(values, path, number).astype(np.float32)
