"""Opens a data set that a text such as `cvar:PATH#P1,P4` or a folder names."""

from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Literal

import numpy as np

from crossnets.datasets import fpha
from crossnets.datasets.cvar import CVAR
from crossnets.datasets.dataset import HandDataset
from crossnets.datasets.dexycb import INTRINSICS, DexYCB
from crossnets.datasets.file_checks import require_folder
from crossnets.datasets.h2o import H2O, LISTS, list_of
from crossnets.datasets.hands17 import FOLDERS, LABELS, Hands17
from crossnets.datasets.ho3d import H2O3D, HO3D, shows_both_hands
from crossnets.datasets.icvl import ICVL
from crossnets.datasets.msra import MSRA
from crossnets.datasets.nyu import NYU
from crossnets.datasets.own_readers import OwnReader, own_readers
from crossnets.datasets.recording import Recording, looks_like_recording
from crossnets.datasets.shard_format import looks_like_shards
from crossnets.datasets.shards import Shards
from crossnets.geometry.camera import CameraPreset
from crossnets.paths import expanded

FORMATS = {
    "nyu": "dataset/train and dataset/test with joint_data.mat",
    "icvl": "Training and Testing with labels.txt or test_seq_1.txt",
    "msra": "P0 to P8, each with gestures that hold joint.txt",
    "cvar": "P1, P4 and so on, each with joint.txt",
    "hands17": "training and frame with images, and Training_Annotation.txt in training",
    "fpha": "Video_files and Hand_pose_annotation_v1_1 with Subject_1 to Subject_6",
    "dexycb": "calibration/intrinsics and 20200709-subject-01 and so on, each with sequences that hold meta.yml",
    "ho3d": "train.txt, evaluation.txt, and train and evaluation with sequences that have depth and meta",
    "h2o3d": "the same as ho3d, with labels of both hands",
    "h2o": "label_split with pose_train.txt and pose_test.txt, and subject1 to subject4",
    "recording": "16-bit depth PNGs and camera.json, or folders of such",
    "shards": "index.json and shard-000000.tar and so on, as crossnets data pack writes them",
}
"""Expected contents of the folder of each format."""
_KEPT_BYTES = 16 << 20
"""Two frames of 1280 x 720 pixels as float32, with what decoding them needs."""


def open_dataset(
    spec: str, split: Literal["train", "test"] = "train", camera: CameraPreset | None = None
) -> HandDataset:
    """Open a data set.

    Args:
        spec: `FORMAT:PATH` or `PATH`. The format of a bare `PATH` is detected from its files. `#A,B` after the path
            selects parts: `cvar:PATH#P1,P4` sequences, `msra:PATH#P0` subjects, `nyu:PATH#1,2` cameras,
            `recording:PATH#NAME` recordings, `shards:PATH#P1` sequences, `icvl:PATH#seq1` test sequences,
            `icvl:PATH#2014,45` the first characters of training lines, `icvl:PATH#all` all training lines,
            `fpha:PATH#objects` the cross-object split, `dexycb:PATH#s1` the split of that name,
            `dexycb:PATH#s1-val` its validation, `ho3d:PATH#SM1` and `h2o3d:PATH#SM1` sequences,
            `h2o:PATH#subject3_k1` subjects and scenes, or `h2o:PATH#val` the frames of the validation. FORMAT may be
            one that `own_readers.reader` registered.
        split: For `nyu`, `icvl`, `hands17`, `fpha`, `dexycb`, `ho3d`, `h2o3d`, `h2o` and readers of one's own. The
            other formats are released without a split.
        camera: Replaces the preset of the format or camera.json of a recording. Shards, DexYCB, HO-3D, H2O-3D and H2O
            do not accept one.

    Raises:
        OSError: the folder or its labels are missing, empty or cannot be read.
        ValueError: the format or a part is unknown, the folder has another format, or the label file is unusable.
    """
    _keep_freed_memory()
    given, root, parts = parse_spec(spec)
    if given is not None and given not in FORMATS:
        return _open_own(given, own_readers()[given], root, parts, split, camera)
    require_folder(root, FORMATS[given] if given else "a data set")
    found = detect_format(root)
    if found == "cvar" and next(root.glob("*/*_depth.bin"), None):
        raise ValueError(f"{root} is one subject of MSRA. Give msra:{root.parent}#{root.name}.")
    if given is None and found is None:
        known = "; ".join(f"{name}: {holds}" for name, holds in FORMATS.items())
        raise ValueError(f"{root} has an unknown format. Expected one of {known}. See docs/datasets.md.")
    if given and found and given != found:
        raise ValueError(
            f"{root} was given as {given}, which expects {FORMATS[given]}, but it looks like {found}. "
            f"Give it as {found}:{root}, or give another folder."
        )
    return _open(given or found or "", root, parts, split, camera)


def _keep_freed_memory() -> None:
    """Let the process keep the memory of a freed image for the next one.

    The C library of Linux returns large blocks to the system when they are freed, so that each image gets its memory
    from the system anew, which takes a third of the time of reading it. The library stops doing that for blocks that
    are smaller than one that it has returned before (`man mallopt`, M_MMAP_THRESHOLD). It then keeps at most twice
    their size. The block is not written, so it takes no memory. Other systems are not affected.
    """
    np.empty(_KEPT_BYTES, np.uint8)


def _open(
    name: str, root: Path, parts: tuple[str, ...] | None, split: Literal["train", "test"], camera: CameraPreset | None
) -> HandDataset:
    if name == "nyu":
        return NYU(root, split, _cameras(parts), camera=camera)
    if name == "icvl":
        return ICVL(root, split, parts, camera=camera)
    if name == "hands17":
        if parts is not None:
            raise ValueError(f"Found the parts {','.join(parts)} of HANDS17, which has none. Omit the # and the parts.")
        return Hands17(root, split, camera=camera)
    with_split = {"fpha": fpha.FPHA, "dexycb": DexYCB, "ho3d": HO3D, "h2o3d": H2O3D, "h2o": H2O}
    if name in with_split:
        return with_split[name](root, split, parts, camera=camera)
    reader = {"msra": MSRA, "cvar": CVAR, "recording": Recording, "shards": Shards}[name]
    return reader(root, parts, camera=camera)


def _open_own(
    name: str,
    reader: OwnReader,
    path: Path,
    parts: tuple[str, ...] | None,
    split: Literal["train", "test"],
    camera: CameraPreset | None,
) -> HandDataset:
    """Open a data set with a registered reader.

    Raises:
        FileNotFoundError: the path does not exist.
        ValueError: a camera is given, or the reader returns something other than a `HandDataset`.
    """
    if camera is not None:
        raise ValueError(f"The reader of {name} says its camera itself. Omit --camera.")
    if not path.exists():
        raise FileNotFoundError(f"There is no {path}. The reader of {name} expects {reader.holds}.")
    dataset = reader.open(path, split, parts)
    if not isinstance(dataset, HandDataset):
        raise ValueError(
            f"The reader of {name} returned {type(dataset).__name__}, expected a HandDataset: name, skeleton, camera, "
            "problems, __len__, __getitem__ and sequence_of. See docs/own-data.md."
        )
    return dataset


def _cameras(parts: tuple[str, ...] | None) -> tuple[int, ...]:
    if parts is None:
        return (1,)
    if not all(part in ("1", "2", "3") for part in parts):
        raise ValueError(f"Found NYU's cameras {','.join(parts)}; expected some of 1, 2, 3, as in nyu:PATH#1,2.")
    return tuple(int(part) for part in parts)


def parse_spec(spec: str) -> tuple[str | None, Path, tuple[str, ...] | None]:
    """Split the text that names a data set into format, folder and parts. Format and parts are None if omitted.

    Raises:
        ValueError: the folder is not named, the format is unknown, or a part is empty.
    """
    name, colon, rest = spec.partition(":")
    drive = PureWindowsPath(spec).drive  # C: is no format
    named = colon and not drive and "/" not in name and not Path(spec.partition("#")[0]).exists()
    known = [*FORMATS, *own_readers()] if named and name not in FORMATS else FORMATS
    if named and name not in known:
        raise ValueError(f"Unknown format {name!r} in {spec!r}. Known formats: {', '.join(known)}, as in nyu:PATH.")
    given, text = (name, rest) if colon and name in known else (None, spec)
    path = text
    parts = None
    # A folder may have # in its name. If the whole text is a path, it names no parts. Otherwise only the last # can
    # start the parts.
    if "#" in text and not Path(text).exists():
        path, _, chosen = text.rpartition("#")
        parts = tuple(part.strip() for part in chosen.split(","))
    if not path.strip() or (parts is not None and not all(parts)):
        raise ValueError(f"Found the data set {spec!r}; expected FORMAT:PATH, PATH or FORMAT:PATH#PART,PART.")
    return given, expanded(path), parts


def detect_format(root: Path) -> str | None:
    """Detect the format of a folder from its files. None if no format matches."""
    return "shards" if looks_like_shards(root) else _detect_released(root)


def _detect_released(root: Path) -> str | None:
    """Detect any format except shards."""
    return next((name for name, fits in _LOOKS.items() if fits(root)), None)


def _looks_like_recordings(root: Path) -> bool:
    folders = [root, *(path for path in root.iterdir() if path.is_dir())]
    return any(looks_like_recording(folder) for folder in folders)


def _looks_like_ho3d(root: Path) -> bool:
    return any((root / f"{name}.txt").is_file() and (root / name).is_dir() for name in ("train", "evaluation"))


def _has_any(root: Path, *names: str) -> bool:
    return any((root / name).exists() for name in names)


_LOOKS: dict[str, Callable[[Path], bool]] = {
    "nyu": lambda root: _has_any(
        root, *(f"{base}{split}/joint_data.mat" for base in ("dataset/", "") for split in ("train", "test"))
    ),
    "icvl": lambda root: _has_any(
        root, "Training/labels.txt", *(f"Testing/{name}.txt" for name in ("labels", "test_seq_1", "test_seq_2"))
    ),
    "hands17": lambda root: _has_any(root, *(f"{FOLDERS[split]}/{LABELS[split]}" for split in FOLDERS)),
    "fpha": lambda root: _has_any(root, *fpha.LABELS),
    "dexycb": lambda root: _has_any(root, INTRINSICS),
    "h2o3d": lambda root: _looks_like_ho3d(root) and shows_both_hands(root),
    "ho3d": _looks_like_ho3d,
    "h2o": lambda root: any(list_of(root, name) for name in LISTS),
    "msra": lambda root: next(root.glob("P*/*/joint.txt"), None) is not None,
    "cvar": lambda root: next(root.glob("*/joint.txt"), None) is not None or _has_any(root, "joint.txt"),
    "recording": _looks_like_recordings,
}
"""How the files of each format but shards are recognised. The first that fits is taken."""
