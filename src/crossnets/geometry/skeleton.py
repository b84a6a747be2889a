"""Joints of each data set: names, parents, colours, evaluation subset, and maps between skeletons."""

from dataclasses import dataclass, field

FINGERS = ("thumb", "index", "middle", "ring", "little")
COLOURS = {
    "palm": (0.65, 0.65, 0.65),
    "thumb": (0.90, 0.29, 0.24),
    "index": (0.95, 0.61, 0.07),
    "middle": (0.18, 0.70, 0.35),
    "ring": (0.16, 0.50, 0.87),
    "little": (0.60, 0.31, 0.78),
}
"""RGB, 0 to 1, of the bones of each part."""


@dataclass(frozen=True)
class Skeleton:
    """Ordered joints of one data set."""

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    """Index of the parent joint; -1 for a root. Bones go from each joint to its parent."""
    reference: int
    """The joint that the paper subtracts from a pose (spec 1.2)."""
    center: int
    """The joint a cube is centred on when the user asks for label centres."""
    palm_frame: tuple[int, int, int] | None = None
    """(wrist, middle knuckle, little knuckle), which define palm yaw and pitch (spec 6.1); None where unlabelled."""
    evaluation: tuple[int, ...] = field(default=())
    """Joints that papers report; empty means all of them."""

    def __post_init__(self) -> None:
        assert len(self.joints) == len(self.parents) == len(set(self.joints)), self.name

    def __len__(self) -> int:
        return len(self.joints)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) of every bone."""
        return tuple((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)

    @property
    def colours(self) -> tuple[tuple[float, float, float], ...]:
        """RGB of each joint, and of the bone to its parent."""
        return tuple(COLOURS.get(name.split("_")[0], COLOURS["palm"]) for name in self.joints)

    def shared_with(self, other: "Skeleton") -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Indices here and in `other` of the joints that sit at the same place of the hand, in this one's order.

        Raises:
            ValueError: the two skeletons share no joint.
        """
        names = [name for name in self.joints if name in other.joints]
        if not names:
            raise ValueError(f"{self.name} and {other.name} have no joint at the same place of the hand.")
        return tuple(map(self.joints.index, names)), tuple(map(other.joints.index, names))

    def order_of(self, other: "Skeleton") -> tuple[int, ...] | None:
        """Indices in this skeleton of the joints of `other`. None unless both have the same joints in some order."""
        if set(self.joints) != set(other.joints):
            return None
        return tuple(map(self.joints.index, other.joints))

    def evaluated(self) -> "Skeleton":
        """The skeleton of the evaluation joints alone; itself where all joints are evaluated."""
        return self if not self.evaluation else EVALUATED[self.name]


def joint_name(finger: str, part: str) -> str:
    """Name of a finger's joint from its part: mcp, pip, dip or tip. The thumb's are called cmc, mcp, ip and tip.

    The thumb has one phalanx less than a finger, so its joints lie one bone nearer to the wrist.
    """
    thumb = {"mcp": "cmc", "pip": "mcp", "dip": "ip"}
    return f"{finger}_{thumb.get(part, part) if finger == 'thumb' else part}"


def _chain(fingers: tuple[str, ...], parts: tuple[str, ...], root: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and parents of a root joint and one chain a finger, base to tip."""
    names, parents = [root], [-1]
    for finger in fingers:
        for depth, part in enumerate(parts):
            parents.append(0 if depth == 0 else len(names) - 1)
            names.append(joint_name(finger, part))
    return tuple(names), tuple(parents)


_INDEX_FIRST = ("index", "middle", "ring", "little", "thumb")
_FOUR_PARTS = ("mcp", "pip", "dip", "tip")
"""Knuckle to tip. The thumb's four joints are cmc, mcp, ip and tip."""

MSRA21 = Skeleton("msra21", *_chain(_INDEX_FIRST, _FOUR_PARTS, "wrist"), reference=0, center=5, palm_frame=(0, 5, 13))
"""Spec 6.1 defines MSRA's palm frame with joint 5 (called middle) and joint 13 (called little)."""
MEDIAPIPE21 = Skeleton(
    "mediapipe21", *_chain(FINGERS, _FOUR_PARTS, "wrist"), reference=0, center=9, palm_frame=(0, 9, 17)
)
"""The joints of MSRA in the order of MediaPipe Hands: thumb first."""
_HANDS17_NAMES = (
    "wrist",
    *(joint_name(finger, "mcp") for finger in FINGERS),
    *(joint_name(finger, part) for finger in FINGERS for part in ("pip", "dip", "tip")),
)
_HANDS17_PARENTS = (-1, 0, 0, 0, 0, 0, *(1 + k // 3 if k % 3 == 0 else 5 + k for k in range(15)))
HANDS17_21 = Skeleton("hands17-21", _HANDS17_NAMES, _HANDS17_PARENTS, reference=0, center=3, palm_frame=(0, 3, 5))
"""The joints of MSRA in the order of BigHand2.2M and HANDS17: the wrist, the first joints of all fingers with the thumb
first, then the other joints finger by finger."""
CVAR21 = Skeleton("cvar21", *_chain(_INDEX_FIRST, _FOUR_PARTS, "palm"), reference=0, center=5, palm_frame=(0, 5, 13))
"""The root lies in the palm, well above the wrist, so it is not MSRA's wrist."""
ICVL16 = Skeleton(
    "icvl16", *_chain(FINGERS, ("base", "mid", "tip"), "palm"), reference=0, center=0, palm_frame=(0, 7, 13)
)

_NYU_PARTS = ("tip", "dip", "middle", "pip", "proximal", "mcp")
"""Tip to knuckle; `middle` and `proximal` lie about half-way along those bones, as its authors' names for them say."""
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

SKELETONS = {s.name: s for s in (NYU36, NYU14, ICVL16, MSRA21, CVAR21, MEDIAPIPE21, HANDS17_21)}
EVALUATED = {"nyu36": NYU14}


def find_skeleton(name: object) -> Skeleton:
    """Find a skeleton by its name, which may come from a file and be of another type.

    Raises:
        ValueError: no skeleton has this name.
    """
    if not isinstance(name, str) or name not in SKELETONS:
        raise ValueError(f"Unknown skeleton {name!r}. Known: {', '.join(SKELETONS)}.")
    return SKELETONS[name]
