"""Open a source of depth frames by a short text."""

import sys
from difflib import get_close_matches
from typing import Any

from crossnets.cameras.folders import FolderSource
from crossnets.cameras.frames import DepthSource, Tell
from crossnets.cameras.reconnecting import Retries, Retrying
from crossnets.geometry.camera import as_camera
from crossnets.paths import expanded

SOURCES = (
    "virtual or virtual:CAMERA (a rendered hand), realsense or realsense:SERIAL, a .db3 file of a RealSense, "
    "a recording, or a folder of 16-bit PNGs with --camera"
)


def open_source(
    text: str,
    camera: Any = None,
    *,
    seed: int = 0,
    retries: Retries | None = None,
    tell: Tell | None = None,
    held: int = 2,
) -> DepthSource:
    """The source that a text names; enter it, then iterate.

    Args:
        text: `virtual`, `virtual:realsense-d455`, `realsense`, `realsense:SERIAL`, a path that ends in .db3 or .bag,
            or a folder: a recording, or 16-bit PNGs.
        camera: Camera of a folder of PNGs: a preset's name, fx,fy,cx,cy in pixels and optionally mm per depth count,
            either with a lens after a colon, or anything else that `geometry.camera.as_camera` takes.
        seed: Seed of the virtual camera.
        retries: When a live camera counts as lost, and how often it is opened again.
        tell: Takes messages. They go to standard error unless given.
        held: Frames of a live camera that wait until they are fetched. After that the oldest are lost.

    Raises:
        OSError: the file or folder does not exist, or it may not be read. A live camera is looked for on entering.
        ModuleNotFoundError: the source needs a package that is not installed.
        ValueError: the text does not name a source, or the camera is missing or unknown, or one is given for a source
            that has its own.
    """
    tell = tell or _to_stderr
    kind, _, rest = text.partition(":")
    path = expanded(text)
    folder = kind not in ("virtual", "realsense") and path.suffix not in (".db3", ".bag")
    if camera is not None and not folder:
        raise ValueError(f"--camera is for folders of PNGs; {text} knows its own. Leave it out.")
    if kind == "virtual":
        from crossnets.cameras.virtual import CAMERA, VirtualCamera

        return VirtualCamera(rest or CAMERA, seed)
    if kind == "realsense":
        from crossnets.cameras import realsense

        realsense.load_library()
        return Retrying(text, lambda: realsense.open_camera(rest or None, tell), retries or Retries(), tell, held)
    if not folder:
        from crossnets.cameras import realsense

        return realsense.open_recording(path, tell)
    if not path.is_dir():
        raise FileNotFoundError(f"Found no folder {text!r}.{guess_of(text)} A source is one of: {SOURCES}.")
    return FolderSource(path, None if camera is None else as_camera(camera), tell)


def guess_of(text: str) -> str:
    """A sentence for a message that guesses which camera a mistyped text means. Empty if it resembles none."""
    near = get_close_matches(text.partition(":")[0], ("virtual", "realsense"), 1)
    return f" Did you mean {near[0]}?" if near else ""


def _to_stderr(message: str) -> None:
    print(message, file=sys.stderr)
