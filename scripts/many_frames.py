"""Write a data set of many frames, which are hard links to copies of the first one's files.

crossnets synthesize --as ho3d --frames 1 --out one
python scripts/many_frames.py ho3d one many --frames 100000
python scripts/reading_speed.py ho3d:many --frames 100000

`--blank` replaces the image by one without depth, which is decoded faster, and that of H2O by one of 128 x 72 pixels.
Index and labels are those of so many frames, so the memory of a reader can be measured. The label of H2O is changed to
show both hands.
"""

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from crossnets.datasets.png import save_png

_PER_SEQUENCE = 1000


def main() -> None:
    """Read the arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("format", choices=["ho3d", "h2o"])
    parser.add_argument("one", type=Path, help="a data set of that format")
    parser.add_argument("out", type=Path, help="a new folder on the same disk")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--blank", action="store_true")
    asked = parser.parse_args()
    write = {"ho3d": _ho3d, "h2o": _h2o}[asked.format]
    write(asked.one, asked.out, asked.frames, blank=asked.blank)


def _ho3d(one: Path, out: Path, frames: int, *, blank: bool) -> None:
    image = _first(one, "train/*/depth/*.png")
    label = _first(one, "train/*/meta/*.pkl")
    out.mkdir()
    if blank:
        image = _blank(out / "blank.png", np.zeros((480, 640, 3), np.uint8))
    lines: list[str] = []
    for sequence, number in _numbered(frames):
        folder = out / "train" / f"SYN{sequence}"
        _link(image, folder / "depth" / f"{number:04d}.png")
        _link(label, folder / "meta" / f"{number:04d}.pkl")
        lines.append(f"SYN{sequence}/{number:04d}")
    (out / "train.txt").write_text("\n".join(lines) + "\n")


def _h2o(one: Path, out: Path, frames: int, *, blank: bool) -> None:
    image = _first(one, "subject*/*/*/cam4/depth/*.png")
    label = _first(one, "subject*/*/*/cam4/hand_pose/*.txt")
    intrinsics = image.parents[1] / "cam_intrinsics.txt"
    out.mkdir()
    if blank:
        *camera, _, _ = intrinsics.read_text().split()
        intrinsics = out / "small.txt"
        intrinsics.write_text(" ".join([*camera, "128", "72"]))
        image = _blank(out / "blank.png", np.zeros((72, 128), np.uint16))
    words = label.read_text().split()
    hand = words[64:] if words[64] == "1" else words[:64]
    label = out / "both.txt"
    label.write_text(" ".join([*hand, *hand]))
    lines: list[str] = []
    for sequence, number in _numbered(frames // 2):
        folder = out / "subject1" / "h1" / str(sequence) / "cam4"
        _link(image, folder / "depth" / f"{number:06d}.png")
        _link(label, folder / "hand_pose" / f"{number:06d}.txt")
        if number == 0:
            _link(intrinsics, folder / "cam_intrinsics.txt")
        lines.append(f"subject1/h1/{sequence}/cam4/rgb/{number:06d}.png")
    (out / "label_split").mkdir()
    (out / "label_split" / "pose_train.txt").write_text("\n".join(lines) + "\n")


def _first(folder: Path, pattern: str) -> Path:
    found = next(folder.glob(pattern), None)
    if found is None:
        raise FileNotFoundError(f"{folder} has no {pattern}. Write it with `crossnets synthesize --frames 1`.")
    return found


def _blank(path: Path, image: np.ndarray) -> Path:
    save_png(path, image)
    return path


def _numbered(frames: int) -> Iterator[tuple[int, int]]:
    """Sequence and number of each frame."""
    return (divmod(index, _PER_SEQUENCE) for index in range(frames))


def _link(file: Path, name: Path) -> None:
    """Link a file to the first one of its folder, which is a copy, as a file has at most some 65,000 names."""
    name.parent.mkdir(parents=True, exist_ok=True)
    first = name.parent / f"first{name.suffix}"
    if not first.exists():
        shutil.copyfile(file, first)
    name.hardlink_to(first)


if __name__ == "__main__":
    main()
