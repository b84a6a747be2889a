"""Protocols of the data sets' papers: camera, joints, sequences, number of frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from crossnets.geometry.camera import CAMERAS, parse_camera, without_lens
from crossnets.geometry.skeleton import CVAR21, HANDS17_21, HO3D_21, ICVL16, MEDIAPIPE21, MSRA21, NYU36, Skeleton
from crossnets.types import Pinhole

DatasetName: TypeAlias = Literal["nyu", "icvl", "msra", "cvar", "hands17", "fpha", "dexycb", "ho3d", "h2o"]


@dataclass(frozen=True)
class Protocol:
    """Rules by which results on one data set are compared."""

    name: str
    skeleton: Skeleton
    """All annotated joints. Papers report `skeleton.evaluated()`."""
    camera: Pinhole
    """Camera that the field uses to score text files. A reader of the data set may use another."""
    parts: tuple[tuple[str, int], ...]
    """Names and numbers of frames of the full test set's sequences, in file order. Empty if no test set is fixed."""
    folds: bool = False
    """Whether each sequence is a subject that is left out of the training of the model tested on it."""

    @property
    def frames(self) -> int | None:
        """Number of frames of the full protocol. None if it is not fixed."""
        return sum(count for _, count in self.parts) or None

    def sequences(self, count: int, listed: Sequence[str] | None = None) -> tuple[str, ...]:
        """Sequence of each of the first `count` frames of the test set.

        Args:
            count: Number of frames.
            listed: Paths of the frames in file order, from the data set's test list. None without a list.

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
    "hands17": Protocol("hands17", HANDS17_21, CAMERAS["realsense-sr300"].pinhole, ()),
    "fpha": Protocol("fpha", HANDS17_21, CAMERAS["realsense-sr300"].pinhole, ()),
    "dexycb": Protocol("dexycb", MEDIAPIPE21, CAMERAS["dexycb-d415"].pinhole, ()),
    "ho3d": Protocol("ho3d", HO3D_21, CAMERAS["ho3d-sr300"].pinhole, ()),
    "h2o": Protocol("h2o", MEDIAPIPE21, CAMERAS["h2o-azure-kinect"].pinhole, ()),
}
"""Splits from spec 1.8. NYU's first 2,440 frames show the training subject. ICVL has two recordings."""


def scoring_camera(text: str) -> Pinhole:
    """Parse the name of a preset, or `fx,fy,cx,cy` in pixels.

    Raises:
        ValueError: the text is neither a preset nor four valid numbers, or has a lens. Focal lengths are positive
            because v points down in these files.
    """
    if text.count(",") == 4:
        raise ValueError(f"Found camera {text!r}, expected fx,fy,cx,cy. Scoring does not use a depth unit.")
    return without_lens(parse_camera(text), "the camera of a scored data set").pinhole


def read_list(path: Path) -> tuple[str, ...]:
    """Read the paths of a test list, one per line.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"No test list at {path}. Expected one image path per line, in the order of the labels."
        )
    return tuple(line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip())


def subset_of(skeleton: Skeleton, joints: Sequence[int]) -> Skeleton:
    """Skeleton of the given joints, in the given order. Bones skip joints that are left out."""
    order = tuple(joints)
    if order == tuple(range(len(skeleton))):
        return skeleton

    def nearest_remaining_ancestor(joint: int) -> int:
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
        tuple(nearest_remaining_ancestor(joint) for joint in order),
        place(skeleton.reference),
        place(skeleton.center),
        (place(palm[0]), place(palm[1]), place(palm[2])) if palm and set(palm) <= set(order) else None,
        standard=tuple(skeleton.standard[joint] for joint in order) if skeleton.standard else (),
    )


def _sequence_of(path: str) -> str:
    """First folder of a listed path other than `test/`. `all` if it has none."""
    folders = [part for part in Path(path).parts[:-1] if part != "test"]
    return folders[0] if folders else "all"
