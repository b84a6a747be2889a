"""Read frames from any source: data sets, images and recordings on disk, and cameras."""

from collections.abc import Generator, Sequence
from typing import Any, Literal

import numpy as np

from crossnets.cameras import DepthSource, open_source
from crossnets.cameras.opening import guess_of
from crossnets.datasets.dataset import HandDataset, Problem, readable_frames
from crossnets.datasets.image_sources import open_sources
from crossnets.geometry.lens import ideal_image
from crossnets.paths import expanded
from crossnets.types import HandFrame


def is_camera(text: str) -> bool:
    """Whether a text names a camera or a RealSense file. Their frames can only be read in order."""
    path = expanded(text)
    return text.partition(":")[0] in ("virtual", "realsense") or path.suffix in (".db3", ".bag")


def open_frames(
    texts: Sequence[str], camera: Any = None, split: Literal["train", "test"] = "test", seed: int = 0
) -> list[HandDataset | DepthSource]:
    """Open all sources, in their order.

    Args:
        texts: Sources, as for `datasets.image_sources.open_sources` and `crossnets.open`.
        camera: Camera of images and arrays without a camera file, in any form of `geometry.camera.as_camera`.
        split: Split of NYU, ICVL, HANDS17, FPHA, DexYCB, HO-3D, H2O-3D and H2O.
        seed: Seed of the virtual camera.

    Raises:
        OSError: a path does not exist.
        ModuleNotFoundError: a camera needs a package that is not installed.
        ValueError: a source is unknown, a camera is missing, or a source is given twice.
    """
    stored = [text for text in texts if not is_camera(text)]
    for text in stored:
        if (guess := guess_of(text)) and not expanded(text).exists():
            raise FileNotFoundError(f"There is no file or folder {text!r}.{guess}")
    if camera is not None and not stored:
        raise ValueError(f"--camera {camera} applies to images, but {', '.join(texts)} has its own. Omit --camera.")
    opened = iter(open_sources(stored, camera, split) if stored else ())
    return [open_source(text, seed=seed) if is_camera(text) else next(opened) for text in texts]


def frames_of(
    source: HandDataset | DepthSource, problems: list[Problem]
) -> Generator[tuple[int, HandFrame], None, None]:
    """Read every frame with its number. Unreadable frames of data sets are appended to `problems`.

    Raises:
        SourceError: a camera gives no more frames.
    """
    if isinstance(source, HandDataset):
        yield from readable_frames(source, problems)
        return
    with source:
        for frame in source:
            key = f"{source.name}/{frame.number:06d}"
            depth_mm, camera = ideal_image(frame.depth_mm, frame.camera)
            yield frame.number, HandFrame(key, source.name, depth_mm.astype(np.float32, copy=False), camera, None)
