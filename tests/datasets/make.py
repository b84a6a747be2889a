"""Makes tiny data sets in the original formats. They show a hand of discs whose joints are known."""

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
from PIL import Image
from scipy.io import savemat

from crossnets.datasets.hand_size import ADULT_FINGERS_MM
from crossnets.datasets.packing import PackConfig, pack
from crossnets.datasets.recording import Recording, RecordingWriter
from crossnets.datasets.writers import SetWriter
from crossnets.geometry.camera import CAMERAS, CameraPreset, project
from crossnets.geometry.skeleton import CVAR21, ICVL16, MSRA21, NYU36, Skeleton

ANGLES_DEG = {"thumb": -50.0, "index": -15.0, "middle": 0.0, "ring": 14.0, "little": 28.0}
PALM_MM = 80.0
THUMB_MM = 65.0
BLOB_MM = 9.0


class Made(NamedTuple):
    """Frames that were written, in the order in which a reader returns them."""

    root: Path
    joints_mm: Float32[np.ndarray, "F J 3"]
    depth_mm: Float32[np.ndarray, "F H W"]


def hand_joints(
    skeleton: Skeleton, center_mm: tuple[float, float, float] = (20.0, 30.0, 600.0), scale: float = 1.0
) -> Float32[np.ndarray, "J 3"]:
    """Make an open right hand of an adult's mean size. The fingers point up (-y) and slightly to the camera."""
    joints = np.full((len(skeleton), 3), np.nan)
    fingers = [name.split("_")[0] for name in skeleton.joints]
    roots = [i for i, parent in enumerate(skeleton.parents) if parent < 0]
    joints[roots] = 0
    # Joints are placed from the roots outwards. A parent may come after its child in the order of the joints, so the
    # loop repeats until every joint is placed.
    while np.isnan(joints).any():
        for child, parent in enumerate(skeleton.parents):
            if parent >= 0 and np.isnan(joints[child]).any() and not np.isnan(joints[parent]).any():
                finger = fingers[child]
                angle = np.radians(ANGLES_DEG.get(finger, 180.0 + 20.0 * child))
                num_bones = fingers.count(finger) - 1
                if finger not in ANGLES_DEG:
                    length = 25.0
                elif fingers[parent] != finger:
                    length = PALM_MM
                else:
                    length = ADULT_FINGERS_MM.get(finger, THUMB_MM) / num_bones
                direction = np.array([np.sin(angle), -np.cos(angle), -0.1])
                joints[child] = joints[parent] + length * direction / np.linalg.norm(direction)
    return (joints * scale + np.array(center_mm)).astype(np.float32)


def hand_depth(
    joints_mm: Float32[np.ndarray, "J 3"], skeleton: Skeleton, camera: CameraPreset
) -> Float32[np.ndarray, "H W"]:
    """Draw discs along the bones. The depth of a disc is that of its centre, rounded to 1 mm. It is 0 elsewhere."""
    starts = np.array([joints_mm[parent] for parent, _ in skeleton.bones])
    ends = np.array([joints_mm[child] for _, child in skeleton.bones])
    points = np.concatenate([starts + share * (ends - starts) for share in np.linspace(0, 1, 5)])
    depth = np.full((camera.height_px, camera.width_px), np.inf)
    for x, y, z in project(points, camera.pinhole):
        radius = BLOB_MM * camera.pinhole.fx_px / z
        # Only the square around the disc is looked at, since tests draw many discs in large images.
        left, top = (max(int(np.floor(first - radius)), 0) for first in (x, y))
        right, bottom = (max(int(np.ceil(last + radius)) + 1, 0) for last in (x, y))
        square = depth[top:bottom, left:right]
        v, u = np.mgrid[top : top + square.shape[0], left : left + square.shape[1]]
        disc = (u - x) ** 2 + (v - y) ** 2 <= radius**2
        square[disc] = np.minimum(square[disc], np.rint(z))
    return np.where(np.isinf(depth), 0, depth).astype(np.float32)


def hands(skeleton: Skeleton, camera: CameraPreset, frames: int, depth_mm: float = 600.0, scale: float = 1.0) -> Made:
    """Make frames of a hand that moves a little."""
    joints = np.stack([hand_joints(skeleton, (10.0 * i, 30.0, depth_mm + 5 * i), scale) for i in range(frames)])
    return Made(Path(), joints, np.stack([hand_depth(pose, skeleton, camera) for pose in joints]))


def write_frames(writers: Iterable[SetWriter], made: Made) -> None:
    """Write all frames with one writer after the other, such as those of the splits."""
    for writer in writers:
        for depth, joints in zip(made.depth_mm, made.joints_mm, strict=True):
            writer.add(depth, joints)
        writer.close()


def mutations(path: Path, times: int) -> Iterator[None]:
    """Change up to eight bytes of a file, again and again, and cut off its end in half of the cases."""
    rng = np.random.default_rng(0)
    original = path.read_bytes()
    for _ in range(times):
        data = bytearray(original)
        for place in rng.integers(0, len(data), rng.integers(1, 9)):
            data[place] = int(rng.integers(0, 256))
        path.write_bytes(bytes(data if rng.random() < 0.5 else data[: rng.integers(1, len(data))]))
        yield


def write_png16(path: Path, counts: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(counts.astype(np.uint16)).save(path)


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{v:.4f}" for v in np.ravel(values))


def make_nyu(root: Path, split: str = "test", frames: int = 2, cameras: tuple[int, ...] = (1,)) -> Made:
    """Write `root/dataset/{split}`. Camera k sees the hand 50 (k - 1) mm farther away. The result is camera 1's."""
    folder = root / "dataset" / split
    folder.mkdir(parents=True, exist_ok=True)
    camera = CAMERAS["nyu-kinect"]
    views = np.zeros((3, frames, 36, 3))
    for view in (1, 2, 3):
        made = hands(NYU36, camera, frames, 600.0 + 50 * (view - 1))
        views[view - 1] = made.joints_mm * np.array([1, -1, 1])
        for number, depth in enumerate(made.depth_mm if view in cameras else [], 1):
            raw = depth.astype(np.uint16)
            rgb = np.stack([raw * 0, raw >> 8, raw & 255], axis=-1).astype(np.uint8)
            Image.fromarray(rgb).save(folder / f"depth_{view}_{number:07d}.png")
    savemat(folder / "joint_data.mat", {"joint_xyz": views})
    first = hands(NYU36, camera, frames)
    return Made(root, first.joints_mm, first.depth_mm)


def make_icvl(root: Path, split: str = "test", frames: int = 2) -> Made:
    """Write `Testing` or `Training` with `frames` frames in each folder.

    The test folders are the two sequences. The training folders are a 2014 folder and the rotations 45 and 90. The
    result does not contain rotation 90, which the reader leaves out by default.
    """
    camera = CAMERAS["icvl-senz3d"]
    made = hands(ICVL16, camera, frames, 400.0)
    base = root / ("Testing" if split == "test" else "Training")
    groups = ("test_seq_1", "test_seq_2") if split == "test" else ("201403121135", "45", "90")
    lines: dict[str, list[str]] = {}
    for group in groups:
        for i, (joints, depth) in enumerate(zip(made.joints_mm, made.depth_mm, strict=True)):
            name = f"{group}/image_{i:04d}.png"
            write_png16(base / "Depth" / name, np.where(depth > 0, depth, 32001 if i % 2 else 700))
            uvd = _numbers(project(joints, camera.pinhole))
            lines.setdefault(group if split == "test" else "labels", []).append(f"{name} {uvd} ")
    for name, text in lines.items():
        (base / f"{name}.txt").write_text("\n".join(text) + "\n\n")
    return Made(root, np.concatenate([made.joints_mm] * 2), np.concatenate([made.depth_mm] * 2))


def write_bin(path: Path, depth_mm: Float32[np.ndarray, "H W"]) -> None:
    """Write the box of the valid pixels as MSRA stores it."""
    rows, columns = np.nonzero(depth_mm)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    height, width = depth_mm.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack("<6i", width, height, left, top, right, bottom)
    path.write_bytes(header + depth_mm[top:bottom, left:right].astype("<f4").tobytes())


def make_msra(root: Path, subjects: tuple[str, ...] = ("P0",), gestures: tuple[str, ...] = ("1",), n: int = 2) -> Made:
    """Write the same `n` frames for each gesture of each subject."""
    made = hands(MSRA21, CAMERAS["msra-senz3d"], n, 350.0)
    for subject in subjects:
        for gesture in gestures:
            folder = root / subject / gesture
            for i, depth in enumerate(made.depth_mm):
                write_bin(folder / f"{i:06d}_depth.bin", depth)
            rows = [_numbers(joints * np.array([1, -1, -1])) for joints in made.joints_mm]
            (folder / "joint.txt").write_text("\n".join([str(n), *rows]) + "\n")
    times = len(subjects) * len(gestures)
    return Made(root, np.concatenate([made.joints_mm] * times), np.concatenate([made.depth_mm] * times))


def make_cvar(root: Path, scales: dict[str, float] | None = None, frames: int = 2, wide: tuple[str, ...] = ()) -> Made:
    """Write a sequence for each name in `scales`, its hand scaled. Sequences in `wide` have an empty column 321."""
    camera = CAMERAS["cvar-senz3d"]
    parts = []
    for name, scale in (scales or {"P1": 1.0}).items():
        made = hands(CVAR21, camera, frames, scale=scale)
        parts.append(made)
        rows = []
        detections = []
        for i, (joints, depth) in enumerate(zip(made.joints_mm, made.depth_mm, strict=True)):
            raw = np.where(depth > 0, depth, 32001)
            if name in wide:
                raw = np.pad(raw, ((0, 0), (0, 1)))
            write_png16(root / name / f"{i:06d}_depth.png", raw)
            uvd = project(joints, camera.pinhole)
            rows.append(f"./CVAR/{name}/{i:06d}_depth.png {_numbers(uvd)} ")
            detections.append(f"./CVAR/{name}/{i:06d}_depth.png {_numbers(uvd[5])} ")
        (root / name / "joint.txt").write_text("\n".join([str(frames), *rows]) + "\n")
        (root / name / "detections.txt").write_text("\n".join([str(frames), *detections]) + "\n")
    return Made(root, np.concatenate([p.joints_mm for p in parts]), np.concatenate([p.depth_mm for p in parts]))


def make_recording(
    root: Path, frames: int = 3, skeleton: Skeleton | None = MSRA21, unlabelled: tuple[int, ...] = (), unit: float = 1.0
) -> Made:
    """Write one recording. Frames in `unlabelled` have no label. Without a skeleton no frame has one."""
    camera = CAMERAS["msra-senz3d"]._replace(depth_unit_mm=unit)
    made = hands(skeleton or MSRA21, camera, frames)
    with RecordingWriter(root, camera, skeleton) as writer:
        for i, (joints, depth) in enumerate(zip(made.joints_mm, made.depth_mm, strict=True)):
            writer.add(depth, None if skeleton is None or i in unlabelled else joints)
    return Made(root, made.joints_mm, made.depth_mm)


def make_shards(root: Path) -> Made:
    """A recording, packed into shards of two frames."""
    with TemporaryDirectory() as folder:
        made = make_recording(Path(folder) / "take")
        pack({"take": Recording(made.root)}, root, PackConfig(frames_per_shard=2))
    return made


def edit_line(path: Path, number: int, change: tuple[str | None, str]) -> None:
    """Replace the first occurrence of a text in a line, counted from 1. The old text None means the whole line."""
    lines = path.read_text().split("\n")
    old, new = change
    assert old is None or old in lines[number - 1], lines[number - 1]
    lines[number - 1] = new if old is None else lines[number - 1].replace(old, new, 1)
    path.write_text("\n".join(lines))


def edit_word(path: Path, number: int, word: int, new: str) -> None:
    """Replace a word, counted from 0, of a line, counted from 1. An empty text removes the word."""
    lines = path.read_text().split("\n")
    words = lines[number - 1].split()
    words[word : word + 1] = [new] if new else []
    lines[number - 1] = " ".join(words)
    path.write_text("\n".join(lines))
