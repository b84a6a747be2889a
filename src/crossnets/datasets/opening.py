"""Open a data set by a short text such as `cvar:PATH#P1,P4`, or by its folder alone."""

from pathlib import Path
from typing import Literal

from crossnets.datasets.cvar import CVAR
from crossnets.datasets.dataset import HandDataset
from crossnets.datasets.files import require_folder
from crossnets.datasets.icvl import ICVL
from crossnets.datasets.msra import MSRA
from crossnets.datasets.nyu import NYU
from crossnets.datasets.recording import CAMERA_FILE, Recording, images_in
from crossnets.geometry.camera import CameraPreset

FORMATS = {
    "nyu": "dataset/train and dataset/test with joint_data.mat",
    "icvl": "Training and Testing with labels.txt or test_seq_1.txt",
    "msra": "P0 to P8, each with gestures that hold joint.txt",
    "cvar": "P1, P4 and so on, each with joint.txt",
    "recording": "16-bit depth PNGs and camera.json, or folders of such",
}
"""Contents of each format's folder."""


def open_dataset(
    spec: str, split: Literal["train", "test"] = "train", camera: CameraPreset | None = None
) -> HandDataset:
    """Open a data set.

    Args:
        spec: `FORMAT:PATH` or `PATH`, whose format is then read off its files; `#A,B` after it chooses parts:
            `cvar:PATH#P1,P4` sequences, `msra:PATH#P0` subjects, `nyu:PATH#1,2` cameras, `recording:PATH#NAME`
            recordings, `icvl:PATH#seq1` test sequences, `icvl:PATH#2014,45` starts of training lines or `#all`.
        split: For `nyu` and `icvl`, the only ones released with a split.
        camera: Instead of the format's preset, or of a recording's camera.json.

    Raises:
        OSError: the folder or its labels are missing, empty or may not be read.
        ValueError: no such format or part, the folder is of another format, or its label file is unusable.
    """
    given, root, parts = parse_spec(spec)
    require_folder(root, FORMATS[given] if given else "a data set")
    found = detect_format(root)
    if found == "cvar" and next(root.glob("*/*_depth.bin"), None):
        raise ValueError(f"{root} is one subject of MSRA. Give msra:{root.parent}#{root.name}.")
    if given is None and found is None:
        known = "; ".join(f"{name}: {holds}" for name, holds in FORMATS.items())
        raise ValueError(f"{root} is of no known format. Expected one of {known}. See docs/datasets.md.")
    if given and found and given != found:
        raise ValueError(
            f"{root} was given as {given}, which holds {FORMATS[given]}; but it looks like {found}. "
            f"Give it as {found}:{root}, or another folder."
        )
    return _open(given or found or "", root, parts, split, camera)


def _open(
    name: str, root: Path, parts: tuple[str, ...] | None, split: Literal["train", "test"], camera: CameraPreset | None
) -> HandDataset:
    if name == "nyu":
        return NYU(root, split, _cameras(parts), camera=camera)
    if name == "icvl":
        return ICVL(root, split, parts, camera=camera)
    reader = {"msra": MSRA, "cvar": CVAR, "recording": Recording}[name]
    return reader(root, parts, camera=camera)


def _cameras(parts: tuple[str, ...] | None) -> tuple[int, ...]:
    if parts is None:
        return (1,)
    if not all(part in ("1", "2", "3") for part in parts):
        raise ValueError(f"Found NYU's cameras {','.join(parts)}; expected some of 1, 2, 3, as in nyu:PATH#1,2.")
    return tuple(int(part) for part in parts)


def parse_spec(spec: str) -> tuple[str | None, Path, tuple[str, ...] | None]:
    """Format (None: not given), folder and parts (None: not given) of a data set's text.

    Raises:
        ValueError: there is no folder, no such format, or an empty part.
    """
    name, colon, rest = spec.partition(":")
    if colon and name not in FORMATS and "/" not in name and not Path(spec.partition("#")[0]).exists():
        raise ValueError(f"There is no format {name!r} in {spec!r}. Known: {', '.join(FORMATS)}, as in nyu:PATH.")
    given, text = (name, rest) if colon and name in FORMATS else (None, spec)
    # A folder may have # in its name; only the last one can start the parts.
    path, mark, chosen = (text, "", "") if Path(text).exists() else text.rpartition("#")
    if not mark:
        path, chosen = text, ""
    parts = tuple(part.strip() for part in chosen.split(",")) if mark else None
    if not path.strip() or (parts is not None and not all(parts)):
        raise ValueError(f"Found the data set {spec!r}; expected FORMAT:PATH, PATH or FORMAT:PATH#PART,PART.")
    return given, Path(path).expanduser(), parts


def detect_format(root: Path) -> str | None:
    """The format whose files a folder holds; None when it holds none of them."""
    for base in (root / "dataset", root):
        if any((base / split / "joint_data.mat").is_file() for split in ("train", "test")):
            return "nyu"
    if (root / "Training" / "labels.txt").is_file() or any(
        (root / "Testing" / name).is_file() for name in ("labels.txt", "test_seq_1.txt", "test_seq_2.txt")
    ):
        return "icvl"
    if next(root.glob("P*/*/joint.txt"), None):
        return "msra"
    if next(root.glob("*/joint.txt"), None) or (root / "joint.txt").is_file():
        return "cvar"
    folders = [root, *(path for path in root.iterdir() if path.is_dir())]
    if any((folder / CAMERA_FILE).is_file() or images_in(folder) for folder in folders):
        return "recording"
    return None
