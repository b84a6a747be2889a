"""Protocols of the data sets' papers: camera, joints, sequences, number of frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from crossnets.geometry.camera import CAMERAS, parse_camera
from crossnets.geometry.skeleton import CVAR21, ICVL16, MSRA21, NYU36, Skeleton
from crossnets.types import Pinhole

DatasetName: TypeAlias = Literal["nyu", "icvl", "msra", "cvar"]


@dataclass(frozen=True)
class Protocol:
    """How results on one data set are compared."""

    name: str
    skeleton: Skeleton
    """All annotated joints; papers report `skeleton.evaluated()`."""
    camera: Pinhole
    """Used to score text files. The field's own, whatever a reader takes."""
    parts: tuple[tuple[str, int], ...]
    """Sequences of the full test set, in file order, with their numbers of frames; empty where it has no fixed one."""
    folds: bool = False
    """Each sequence is a subject, left out of the training of the model that is tested on it."""

    @property
    def frames(self) -> int | None:
        """Frames of the full protocol. None if their number is not fixed."""
        return sum(count for _, count in self.parts) or None

    def sequences(self, count: int, listed: Sequence[str] | None = None) -> tuple[str, ...]:
        """Sequence of each of the first `count` frames of the test set.

        Args:
            count: Number of frames.
            listed: Paths of the frames in file order, from the data set's test list, where there is one.

        Raises:
            ValueError: the list has fewer entries than there are frames.
        """
        if listed is not None:
            if len(listed) < count:
                raise ValueError(f"The list names {len(listed)} frames, but the labels have {count}.")
            return tuple(_sequence_of(path) for path in listed[:count])
        if self.frames is None or count > self.frames:
            return ("all",) * count
        return tuple(name for name, size in self.parts for _ in range(size))[:count]


_MSRA_FRAMES = (8499, 8492, 8412, 8488, 8500, 8497, 8497, 8498, 8492)
"""Valid frames of P0 to P8 (spec 1.8)."""

PROTOCOLS: dict[str, Protocol] = {
    "nyu": Protocol("nyu", NYU36, CAMERAS["nyu-kinect"].pinhole, (("s1", 2440), ("s2", 5812))),
    "icvl": Protocol("icvl", ICVL16, CAMERAS["icvl-senz3d"].pinhole, (("seq1", 702), ("seq2", 894))),
    "msra": Protocol(
        "msra",
        MSRA21,
        CAMERAS["msra-senz3d"].pinhole,
        tuple((f"P{subject}", frames) for subject, frames in enumerate(_MSRA_FRAMES)),
        folds=True,
    ),
    "cvar": Protocol("cvar", CVAR21, CAMERAS["cvar-senz3d"].pinhole, ()),
}
"""Splits from spec 1.8: NYU's first 2,440 frames show the training subject; ICVL has two recordings."""


def scoring_camera(text: str) -> Pinhole:
    """A named preset, or `fx,fy,cx,cy` in pixels.

    Raises:
        ValueError: neither a preset nor four numbers that a camera has; in these files v points down.
    """
    if text.count(",") == 4:
        raise ValueError(f"Found camera {text!r}, expected fx,fy,cx,cy: scores have no use for a depth unit.")
    return parse_camera(text).pinhole


def read_list(path: Path) -> tuple[str, ...]:
    """Paths of a test list, one a line.

    Raises:
        FileNotFoundError: no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No test list at {path}. It holds one image path a line, in the order of the labels.")
    return tuple(line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def subset_of(skeleton: Skeleton, joints: Sequence[int]) -> Skeleton:
    """The skeleton of some joints in the given order. A bone skips joints that are left out."""
    order = tuple(joints)
    if order == tuple(range(len(skeleton))):
        return skeleton

    def nearest_kept(joint: int) -> int:
        parent = skeleton.parents[joint]
        while parent >= 0 and parent not in order:
            parent = skeleton.parents[parent]
        return order.index(parent) if parent >= 0 else -1

    def place(joint: int) -> int:
        return order.index(joint) if joint in order else 0

    palm = skeleton.palm_frame
    return Skeleton(
        f"{skeleton.name}-{len(order)}",
        tuple(skeleton.joints[joint] for joint in order),
        tuple(nearest_kept(joint) for joint in order),
        place(skeleton.reference),
        place(skeleton.center),
        (place(palm[0]), place(palm[1]), place(palm[2])) if palm and set(palm) <= set(order) else None,
    )


def _sequence_of(path: str) -> str:
    """First folder of a listed path; `test/` is not one, and ICVL's and NYU's lists need no list at all."""
    folders = [part for part in Path(path).parts[:-1] if part != "test"]
    return folders[0] if folders else "all"
