"""Groups of frames, such as those of seen and unseen subjects, from a text file."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from crossnets.evaluation.matching import Labelled

NO_GROUP = "no group"
"""Group of the frames that a file does not name."""
_EXPECTED = "the name of a frame and its group, such as `image_D00000001.png seen`"


def read_groups(path: Path) -> list[tuple[str, str]]:
    """Read a file with a name and a group in each line, separated by a tab, a comma or spaces.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: the file is empty or not text, or a line is not a name and a group.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file of groups {path}. Expected {_EXPECTED} in each line.")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file ({error}). Expected {_EXPECTED} in each line.") from None
    found: list[tuple[str, str]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        # Names of files may hold spaces, so a tab or a comma comes first.
        separator = next((one for one in ("\t", ",") if one in line), None)
        name, _, group = (part.strip() for part in line.strip().rpartition(separator or " "))
        if not name or not group:
            raise ValueError(f"{path}:{number}: found {line[:60]!r}, expected {_EXPECTED}.")
        found.append((name, group))
    if not found:
        raise ValueError(f"{path} is empty. Expected {_EXPECTED} in each line.")
    return found


def grouped(labelled: Labelled, path: Path) -> Labelled:
    """Replace the sequences of frames by their groups.

    A line names a frame by its key or by the end of it after a slash, with or without the suffix of a file. Labels of a
    text file have no keys. Their groups are in the order of the labels.

    Raises:
        OSError, ValueError: as `read_groups`. Also, the file has another number of lines than the text file of labels,
            names no frame of the data set, or gives a frame two groups.
    """
    lines = read_groups(path)
    if not labelled.keys:
        if len(lines) != len(labelled.joints_mm):
            raise ValueError(
                f"{path} has {len(lines)} lines, but there are {len(labelled.joints_mm)} labels. Expected a line for "
                "each label, in their order."
            )
        return replace(labelled, sequences=tuple(group for _, group in lines))
    groups = _by_name(lines, path)
    found = [_of(key, groups) for key in labelled.keys]
    used = Counter(name for name, _ in found)
    for name, count in used.items():
        if name is not None and count > 1:
            raise ValueError(f"{path}: {name} is the end of {count} names of frames. Give more of the name.")
    if not any(name for name in used):
        raise ValueError(
            f"{path} names none of the {len(labelled.keys)} labelled frames. The first line names {lines[0][0]}, the "
            f"first frame is {labelled.keys[0]}."
        )
    missing = used[None]
    notes = (f"Frames that {path} does not name: {missing}.",) if missing else ()
    return replace(labelled, sequences=tuple(group for _, group in found), notes=(*labelled.notes, *notes))


def _by_name(lines: Sequence[tuple[str, str]], path: Path) -> dict[str, str]:
    groups: dict[str, str] = {}
    for name, group in lines:
        known = groups.setdefault(_stem(name), group)
        if known != group:
            raise ValueError(f"{path}: {name} is in two groups, {known} and {group}.")
    return groups


def _stem(name: str) -> str:
    """A name without the suffix of an image, which keys do not have."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() == ".png" else path.as_posix()


def _of(key: str, groups: dict[str, str]) -> tuple[str | None, str]:
    """Name and group of a frame. The longest name that the file has for it counts."""
    parts = key.split("/")
    names = ["/".join(parts[start:]) for start in range(len(parts))]
    name = next((name for name in names if name in groups), None)
    return name, NO_GROUP if name is None else groups[name]
