"""Skeletons of the data sets: names, parents and colours of joints, evaluated joints, and maps between skeletons.

Other skeletons are declared in JSON files. docs/datasets.md describes them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Float32

from crossnets.geometry.finger_colours import COLOURS
from crossnets.json_text import parse_json
from crossnets.paths import expanded

FINGERS = ("thumb", "index", "middle", "ring", "little")
SavedSkeleton: TypeAlias = str | dict[str, Any]
"""A skeleton in a file: the name of a built-in skeleton, or the declaration of another one."""


@dataclass(frozen=True)
class Skeleton:
    """Ordered joints of one data set."""

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    """Index of the parent of each joint, -1 for a root. Bones connect each joint with its parent."""
    reference: int
    """Joint that the paper subtracts from a pose (spec 1.2)."""
    center: int
    """Joint that a cube is centred on if the user asks for centres of labels."""
    palm_frame: tuple[int, int, int] | None = None
    """(wrist, middle knuckle, little knuckle), which define yaw and pitch of the palm (spec 6.1). None if
    unlabelled."""
    evaluation: tuple[int, ...] = field(default=())
    """Joints that papers report. Empty stands for all joints."""
    standard: tuple[str | None, ...] = field(default=(), repr=False)
    """Standard joint (`STANDARD_JOINTS`) of each joint of a declared skeleton, or None. Empty for built-in
    skeletons."""

    def __post_init__(self) -> None:
        assert len(self.joints) == len(self.parents) == len(set(self.joints)), self.name
        assert len(self.standard) in (0, len(self.joints)), self.name

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) of every bone."""
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)

    @property
    def colours(self) -> tuple[tuple[float, float, float], ...]:
        """RGB of each joint, and of the bone to its parent."""
        return tuple(COLOURS.get(place.split("_")[0], COLOURS["palm"]) for place in self.places)

    @property
    def places(self) -> tuple[str, ...]:
        """Place of each joint on the hand. Joints of two skeletons with the same place are the same joint.

        A place is the name of a joint of a built-in skeleton. A joint without a standard joint has a unique place.
        """
        if not self.standard:
            return self.joints
        pairs = zip(self.joints, self.standard, strict=True)
        return tuple(f"{self.name}/{joint}" if place is None else place for joint, place in pairs)

    def shared_with(self, other: "Skeleton") -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Indices in both skeletons of the joints with the same place, in the order of this skeleton.

        Raises:
            ValueError: the two skeletons share no joint.
        """
        shared = [place for place in self.places if place in other.places]
        if not shared:
            raise ValueError(f"{self.name} and {other.name} have no joint at the same place of the hand.")
        return tuple(map(self.places.index, shared)), tuple(map(other.places.index, shared))

    def order_of(self, other: "Skeleton") -> tuple[int, ...] | None:
        """Indices in this skeleton of the joints of `other`. None unless both have the same joints in some order."""
        if set(self.places) != set(other.places):
            return None
        return tuple(map(self.places.index, other.places))

    def evaluated(self) -> "Skeleton":
        """The skeleton of the evaluated joints. It is the same skeleton if all joints are evaluated."""
        return self if not self.evaluation else EVALUATED[self.name]

    def saved(self) -> SavedSkeleton:
        """Return the skeleton as files store it. `find_skeleton` reads it."""
        if SKELETONS.get(self.name) == self:
            return self.name
        joints = [
            {
                "name": name,
                "parent": None if parent < 0 else self.joints[parent],
                "standard": place if place in STANDARD_JOINTS else None,
            }
            for name, parent, place in zip(self.joints, self.parents, self.places, strict=True)
        ]
        return {"name": self.name, "root": self.joints[self.reference], "joints": joints}


def joint_name(finger: str, part: str) -> str:
    """Return the name of a finger's joint for its part: mcp, pip, dip or tip. The thumb has cmc, mcp, ip and tip.

    The thumb has one phalanx less than a finger, so its joints lie one bone nearer to the wrist.
    """
    thumb = {"mcp": "cmc", "pip": "mcp", "dip": "ip"}
    return f"{finger}_{thumb.get(part, part) if finger == 'thumb' else part}"


def _chain(fingers: tuple[str, ...], parts: tuple[str, ...], root: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return names and parents of a root joint and one chain for each finger, from base to tip."""
    names = [root]
    parents = [-1]
    for finger in fingers:
        for depth, part in enumerate(parts):
            parents.append(0 if depth == 0 else len(names) - 1)
            names.append(joint_name(finger, part))
    return tuple(names), tuple(parents)


_INDEX_FIRST = ("index", "middle", "ring", "little", "thumb")
_FOUR_PARTS = ("mcp", "pip", "dip", "tip")
"""Parts of a finger from knuckle to tip. The thumb's joints are cmc, mcp, ip and tip."""

MSRA21 = Skeleton("msra21", *_chain(_INDEX_FIRST, _FOUR_PARTS, "wrist"), reference=0, center=5, palm_frame=(0, 5, 13))
"""Spec 6.1 defines MSRA's palm frame with joint 5 (called middle) and joint 13 (called little)."""
MEDIAPIPE21 = Skeleton(
    "mediapipe21", *_chain(FINGERS, _FOUR_PARTS, "wrist"), reference=0, center=9, palm_frame=(0, 9, 17)
)
"""The joints of MSRA in the order of MediaPipe Hands, which starts with the thumb."""
_HANDS17_NAMES = (
    "wrist",
    *(joint_name(finger, "mcp") for finger in FINGERS),
    *(joint_name(finger, part) for finger in FINGERS for part in ("pip", "dip", "tip")),
)
_HANDS17_PARENTS = (-1, 0, 0, 0, 0, 0, *(1 + k // 3 if k % 3 == 0 else 5 + k for k in range(15)))
HANDS17_21 = Skeleton("hands17-21", _HANDS17_NAMES, _HANDS17_PARENTS, reference=0, center=3, palm_frame=(0, 3, 5))
"""The joints of MSRA in the order of BigHand2.2M and HANDS17: the wrist, the first joints of all fingers with the thumb
first, then the other joints finger by finger."""
_HO3D_FINGERS = ("index", "middle", "little", "ring", "thumb")
HO3D_21 = Skeleton(
    "ho3d-21",
    (
        "wrist",
        *(joint_name(finger, part) for finger in _HO3D_FINGERS for part in ("mcp", "pip", "dip")),
        *(joint_name(finger, "tip") for finger in FINGERS),
    ),
    (*(0 if k % 3 == 1 else k - 1 for k in range(16)), 15, 3, 6, 12, 9),
    reference=0,
    center=4,
    palm_frame=(0, 4, 7),
)
"""The joints of MSRA in the order of HO-3D, which is that of the hand model MANO with the tips, thumb first, at the
end."""
CVAR21 = Skeleton("cvar21", *_chain(_INDEX_FIRST, _FOUR_PARTS, "palm"), reference=0, center=5, palm_frame=(0, 5, 13))
"""The root lies in the palm, well above the wrist, so it is not MSRA's wrist."""
ICVL16 = Skeleton(
    "icvl16", *_chain(FINGERS, ("base", "mid", "tip"), "palm"), reference=0, center=0, palm_frame=(0, 7, 13)
)

_NYU_PARTS = ("tip", "dip", "middle", "pip", "proximal", "mcp")
"""Parts of a finger from tip to knuckle. `middle` and `proximal` lie about half-way along these bones."""
_NYU_PALM = ("wrist_little_side", "wrist_thumb_side", "palm", "palm_little_side", "palm_thumb_side", "wrist")
NYU36 = Skeleton(
    "nyu36",
    tuple(joint_name(finger, part) for finger in reversed(FINGERS) for part in _NYU_PARTS) + _NYU_PALM,
    (*(32 if i % 6 == 5 else i + 1 for i in range(30)), 35, 35, -1, 32, 32, 32),
    reference=32,
    center=32,
    palm_frame=(35, 17, 5),
    evaluation=(0, 3, 6, 9, 12, 15, 18, 21, 24, 25, 27, 30, 31, 32),
)
NYU14 = Skeleton(
    "nyu14",
    tuple(NYU36.joints[i] for i in NYU36.evaluation),
    (1, 13, 3, 13, 5, 13, 7, 13, 9, 10, 13, 13, 13, -1),
    reference=13,
    center=13,
)

SKELETONS = {s.name: s for s in (NYU36, NYU14, ICVL16, MSRA21, CVAR21, MEDIAPIPE21, HANDS17_21, HO3D_21)}
EVALUATED = {"nyu36": NYU14}


STANDARD_JOINTS = tuple(name for name in NYU36.joints if name != "palm")
"""Places of the hand that joints of declared skeletons can correspond to: the 21 joints of MSRA, the middles of bones,
and points of the wrist and palm. Joints called palm are left out, as each data set has its own at another place."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MOST_JOINTS = 256
_MOST_BYTES = 1 << 20
_EXAMPLE = (
    '{"name": "two", "root": "wrist", "joints": [{"name": "wrist", "parent": null}, '
    '{"name": "nail", "parent": "wrist", "standard": "index_tip"}]}'
)


def find_skeleton(named: object) -> Skeleton:
    """Find a skeleton.

    Args:
        named: Name of a built-in skeleton, path of a JSON file (a `Path`, or a text that ends in .json), or result of
            `Skeleton.saved`. The value may come from a file, so other types are rejected as well.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: no skeleton has this name, or the declaration is damaged.
    """
    if isinstance(named, Mapping):
        return _declared(named, "The declaration of the skeleton")
    if isinstance(named, Path) or (isinstance(named, str) and named.endswith(".json")):
        return _read_declaration(expanded(named))
    if not isinstance(named, str) or named not in SKELETONS:
        raise ValueError(
            f"Unknown skeleton {str(named)[:80]!r}. Known: {', '.join(SKELETONS)}, and JSON files that declare others. "
            "See docs/datasets.md."
        )
    return SKELETONS[named]


def weights_between(
    own: Skeleton, wanted: Skeleton, maps: Mapping[str, Float32[np.ndarray, "_ J"]]
) -> Float32[np.ndarray, "K J"] | None:
    """Return weights that give the K joints of `wanted` from the J joints of `own`. None if they cannot be computed.

    Args:
        own: Skeleton of the known joints.
        wanted: Skeleton of the joints to compute.
        maps: Fitted weights of built-in skeletons by name, as `synth.hand.skeleton_maps` computes them.
    """
    if SKELETONS.get(wanted.name) == wanted and wanted.name in maps:
        return maps[wanted.name]
    order = own.order_of(wanted)
    if order is None and not (own.standard or wanted.standard):
        return None
    rows = []
    for place in wanted.places:
        if place in own.places:
            rows.append(np.eye(len(own), dtype=np.float32)[own.places.index(place)])
        elif place in STANDARD_JOINTS and NYU36.name in maps:
            rows.append(maps[NYU36.name][NYU36.joints.index(place)])
        else:
            return None
    return np.stack(rows)


def _read_declaration(path: Path) -> Skeleton:
    """Read the JSON file that declares a skeleton."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no skeleton file {path}. Expected a JSON file such as {_EXAMPLE}.")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, expected a skeleton file of at most {_MOST_BYTES}.")
    try:
        fields = parse_json(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}). Expected a skeleton such as {_EXAMPLE}.") from None
    return _declared(fields, str(path))


def _declared(fields: Any, where: str) -> Skeleton:
    """Build a skeleton from its declaration. `where` names the declaration in messages."""
    _check_keys(fields, ("name", "root", "joints"), (), where)
    name = fields["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in SKELETONS:
        why = "which is built in" if isinstance(name, str) and name in SKELETONS else "which is not a valid name"
        raise ValueError(
            f"{where}: found the name {str(name)[:80]!r}, {why}. Expected letters, digits, dots and hyphens."
        )
    listed = fields["joints"]
    if not isinstance(listed, list) or not 2 <= len(listed) <= _MOST_JOINTS:
        found = f"{len(listed)} joints" if isinstance(listed, list) else f"joints {str(listed)[:60]!r}"
        raise ValueError(f"{where}: found {found}, expected a list of 2 to {_MOST_JOINTS}, such as in {_EXAMPLE}.")
    for number, joint in enumerate(listed):
        _check_keys(joint, ("name",), ("parent", "standard"), f"{where}: joint {number}")
    joints = tuple(joint["name"] for joint in listed)
    for joint in joints:
        if not (isinstance(joint, str) and 0 < len(joint) <= 64 and joint.isprintable()):
            raise ValueError(f"{where}: found the joint {str(joint)[:80]!r}, expected a printable name of a joint.")
        if joints.count(joint) > 1:
            raise ValueError(f"{where}: found two joints called {joint!r}. Give each joint a name of its own.")
    root = fields["root"]
    if root not in joints:
        raise ValueError(f"{where}: found the root {str(root)[:80]!r}, expected one of the joints {', '.join(joints)}.")
    parents = _parents(joints, {joint["name"]: joint.get("parent") for joint in listed}, root, where)
    standard = tuple(_standard_joint(joint, where) for joint in listed)
    for place in standard:
        if place is not None and standard.count(place) > 1:
            both = [joint for joint, other in zip(joints, standard, strict=True) if other == place]
            raise ValueError(
                f"{where}: the joints {' and '.join(both)} both correspond to {place}. Expected one for each standard "
                'joint. Give the others "standard": null.'
            )
    knuckles = [standard.index(place) if place in standard else -1 for place in ("wrist", "middle_mcp", "little_mcp")]
    wrist, middle, little = knuckles
    reference = joints.index(root)
    return Skeleton(
        name,
        joints,
        parents,
        reference=reference,
        center=reference if middle < 0 else middle,
        palm_frame=None if min(knuckles) < 0 else (wrist, middle, little),
        standard=standard,
    )


def _check_keys(fields: Any, needed: tuple[str, ...], optional: tuple[str, ...], where: str) -> None:
    """Check that `fields` is an object with all of the needed keys and no unknown ones."""
    if not isinstance(fields, Mapping):
        raise ValueError(f"{where}: found {str(fields)[:60]!r}, expected a JSON object, as in {_EXAMPLE}.")
    if missing := [key for key in needed if key not in fields]:
        raise ValueError(f"{where}: the key {missing[0]!r} is missing. Expected {', '.join(needed)}, as in {_EXAMPLE}.")
    if unknown := [str(key) for key in fields if key not in (*needed, *optional)]:
        raise ValueError(f"{where}: found the key {unknown[0][:40]!r}, expected {', '.join((*needed, *optional))}.")


def _parents(joints: tuple[str, ...], named: Mapping[str, Any], root: str, where: str) -> tuple[int, ...]:
    """Return the indices of the parents, -1 for the root. All joints must descend from the root."""
    for joint, parent in named.items():
        if joint == root and parent is not None:
            raise ValueError(f'{where}: the root {root} has the parent {str(parent)[:80]!r}, expected "parent": null.')
        if joint != root and parent not in joints:
            found = "no parent" if parent is None else f"the parent {str(parent)[:80]!r}"
            raise ValueError(
                f"{where}: {joint} has {found}, expected the name of a joint. Only the root has no parent."
            )
    for joint in joints:
        passed = [joint]
        while (parent := named[passed[-1]]) is not None:
            if parent in passed:
                cycle = " - ".join([*passed[passed.index(parent) :], parent])
                raise ValueError(f"{where}: the parents form a cycle: {cycle}. Expected bones that lead to {root}.")
            passed.append(parent)
    return tuple(-1 if named[joint] is None else joints.index(named[joint]) for joint in joints)


def _standard_joint(joint: Mapping[str, Any], where: str) -> str | None:
    """Return the standard joint of a declared joint. Without the key it is the standard joint of the same name, if
    any."""
    name = joint["name"]
    if "standard" not in joint:
        return name if name in STANDARD_JOINTS else None
    place = joint["standard"]
    if place is None or place in STANDARD_JOINTS:
        return place
    near = get_close_matches(str(place), STANDARD_JOINTS, 1)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(
        f"{where}: {name} has the standard joint {str(place)[:80]!r}, expected null or one of "
        f"{', '.join(STANDARD_JOINTS)}.{meant}"
    )
