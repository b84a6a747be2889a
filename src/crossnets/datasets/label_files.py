"""Labels of depth images in files of one's own: .npz, CSV, and COCO keypoints in JSON.

docs/datasets.md describes them.
"""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from crossnets.datasets.dataset import FrameError, HandDataset, StoredImages
from crossnets.datasets.file_checks import broken, second_label, sound_joints
from crossnets.geometry.camera import CameraPreset, unproject
from crossnets.geometry.skeleton import Skeleton
from crossnets.json_text import parse_json
from crossnets.types import HandFrame, LensCamera, Pinhole

DOCS = "See docs/datasets.md."
_DEPTH_KEY = "keypoints_depth_mm"


class _Label(NamedTuple):
    """The label of one image as the file has it."""

    image: str | int
    """Name of the image, or its place among the images."""
    line: int
    """Line or entry of the file, counted from 1."""
    joints_of: Callable[[int], Float64[np.ndarray, "J 3"] | None]
    """Gives the joints in mm of the frame with this index. None without a label. Raises FrameError if it is broken."""


class LabelledImages:
    """Depth images with labels from a file. Frames whose label is broken are left out and reported."""

    def __init__(self, images: HandDataset, path: Path, skeleton: Skeleton) -> None:
        """Match the labels with the images by name.

        Args:
            images: The depth images, whose own labels are not used.
            path: A .npz, .csv or .json file.
            skeleton: The joints that are read from the file.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file has another format, lacks a joint, or labels none of the images.
        """
        self.name = images.name
        self.skeleton: Skeleton | None = skeleton
        self.camera = images.camera
        self.problems = list(images.problems)
        self._images = images
        self._joints_mm: dict[int, Float32[np.ndarray, "J 3"]] = {}
        left_out = self._read(path, skeleton)
        if not self._joints_mm:
            reason = f" The first problem: {self.problems[-1]}" if self.problems else ""
            raise ValueError(f"{path} labels none of the {len(images)} images.{reason} {DOCS}")
        self._indices = [index for index in range(len(images)) if index not in left_out]

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> HandFrame:
        """Read one frame. `HandDataset` describes the errors."""
        place = self._indices[range(len(self))[index]]
        frame = self._images[place]
        return HandFrame(frame.key, frame.sequence, frame.depth_mm, frame.camera, self._joints_mm.get(place))

    def sequence_of(self, index: int) -> str:
        """Sequence of the image."""
        return self._images.sequence_of(self._indices[range(len(self))[index]])

    def as_taken(
        self, index: int
    ) -> tuple[Float32[np.ndarray, "H W"], Pinhole | LensCamera, Float32[np.ndarray, "J 3"] | None]:
        """Depth of one frame as it was taken, its camera, and its joints. `StoredImages` describes the errors."""
        place = self._indices[range(len(self))[index]]
        if not isinstance(self._images, StoredImages):
            frame = self._images[place]
            return frame.depth_mm, frame.camera, self._joints_mm.get(place)
        depth_mm, camera, _ = self._images.as_taken(place)
        return depth_mm, camera, self._joints_mm.get(place)

    def preset_of(self, index: int) -> CameraPreset:
        """Camera that took a frame."""
        place = self._indices[range(len(self))[index]]
        if isinstance(self._images, StoredImages):
            return self._images.preset_of(place)
        return CameraPreset(self.camera, 0, 0, 1.0, self.name)

    def key_of(self, index: int) -> str:
        """Key of the image."""
        place = self._indices[range(len(self))[index]]
        return self._images.key_of(place) if isinstance(self._images, StoredImages) else self._images[place].key

    def depth_unit_of(self, index: int) -> float:
        """Millimetres per count of a frame's image."""
        return self.preset_of(index).depth_unit_mm

    def _read(self, path: Path, skeleton: Skeleton) -> set[int]:
        """Fill `_joints_mm`. Return the indices of the frames that are left out."""
        places = _places(self._images)
        labelled: set[int] = set()
        left_out: set[int] = set()
        for label in _labels(path, skeleton, self._camera_of):
            try:
                place = _place_of(label, places, len(self._images), path)
                if place in labelled:
                    left_out.add(place)
                    raise second_label(str(label.image), path, label.line)
                labelled.add(place)
                left_out.add(place)
                joints = label.joints_of(place)
                if joints is not None:
                    self._joints_mm[place] = sound_joints(joints, path, label.line).astype(np.float32)
                left_out.discard(place)
            except FrameError as error:
                self.problems.append(error.problem)
        for place in left_out:
            self._joints_mm.pop(place, None)
        return left_out

    def _camera_of(self, place: int) -> Pinhole | LensCamera:
        if isinstance(self._images, StoredImages):
            return self._images.preset_of(place).camera
        return self.camera


def _places(images: HandDataset) -> dict[str, int | None]:
    """Index of each image by every end of its key: 7, take/7 and so on. None where several images end so."""
    places: dict[str, int | None] = {}
    for index, key in enumerate(_keys(images)):
        parts = PurePosixPath(key).parts
        parts = (*parts[:-1], _without_suffix(parts[-1]))
        for first in range(len(parts)):
            end = "/".join(parts[first:])
            places[end] = None if end in places else index
    return places


def _keys(images: HandDataset) -> Iterator[str]:
    """Keys of all frames. Images are only read if the data set cannot say its keys without them."""
    for index in range(len(images)):
        yield images.key_of(index) if isinstance(images, StoredImages) else images[index].key


def _without_suffix(name: str) -> str:
    return name[:-4] if name.lower().endswith((".png", ".npy")) else name


def _place_of(label: _Label, places: dict[str, int | None], total: int, path: Path) -> int:
    """Index of the image of a label.

    Raises:
        FrameError: no image or several images have the name.
    """
    if isinstance(label.image, int):
        if label.image >= total:
            raise broken(path, f"found a label for image {label.image + 1}, but there are {total}", label.line)
        return label.image
    name = label.image.replace("\\", "/").removeprefix("./")
    place = places.get(_without_suffix(name), -1)
    if place is None:
        raise broken(path, f"several images are called {name!r}. Write their folders too", label.line)
    if place < 0:
        raise broken(path, f"the image {name!r} is missing", label.line)
    return place


def _labels(path: Path, skeleton: Skeleton, camera_of: Callable[[int], Pinhole | LensCamera]) -> Iterator[_Label]:
    """Read the labels of a file, whose suffix says its format.

    Raises:
        FileNotFoundError, ValueError: as for `LabelledImages`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no label file {path}. Expected a .npz, .csv or .json file. {DOCS}")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _npz(path, skeleton)
    if suffix == ".csv":
        return _csv(path, skeleton)
    if suffix == ".json":
        return _coco(path, skeleton, camera_of)
    raise ValueError(f"{path} ends in {suffix!r}; expected a label file that ends in .npz, .csv or .json. {DOCS}")


def _npz(path: Path, skeleton: Skeleton) -> Iterator[_Label]:
    """Labels of `joints_mm` (N, J, 3). `frames` (N) names the images. Without it the labels are in their order."""
    try:
        arrays = np.load(path, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise ValueError("it holds one array, as a .npy file does")
        with arrays:
            found = {name: arrays[name] for name in arrays.files if name in ("joints_mm", "frames")}
    # A damaged file makes numpy, zipfile and zlib raise exceptions of many types.
    except Exception as error:
        raise ValueError(f"{path} cannot be read as a .npz file of numbers ({error}). {DOCS}") from None
    joints_mm = found.get("joints_mm")
    if joints_mm is None or joints_mm.dtype.kind not in "fiu" or joints_mm.shape[1:] != (len(skeleton), 3):
        shape = "no joints_mm" if joints_mm is None else f"joints_mm of {joints_mm.dtype} and shape {joints_mm.shape}"
        raise ValueError(f"{path}: found {shape}; expected numbers of shape (frames, {len(skeleton)}, 3). {DOCS}")
    frames = found.get("frames")
    if frames is not None and (frames.dtype.kind != "U" or frames.shape != joints_mm.shape[:1]):
        raise ValueError(
            f"{path}: found frames of {frames.dtype} and shape {frames.shape}; expected {len(joints_mm)} texts. {DOCS}"
        )
    for row, joints in enumerate(joints_mm.astype(np.float64)):
        image = row if frames is None else str(frames[row])
        # Rows of NaN alone are frames without a label.
        yield _Label(image, row + 1, _always(None if np.isnan(joints).all() else joints))


def _always(joints: Float64[np.ndarray, "J 3"] | None) -> Callable[[int], Float64[np.ndarray, "J 3"] | None]:
    return lambda place: joints


def _csv(path: Path, skeleton: Skeleton) -> Iterator[_Label]:
    """Labels of a table with a row for each image: `frame`, then JOINT_x, JOINT_y and JOINT_z in mm of each joint."""
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
        reader = csv.DictReader(stream)
        try:
            yield from _csv_rows(reader, path, skeleton)
        except csv.Error as error:
            raise ValueError(
                f"{path}:{reader.line_num + 1}: a cell cannot be read ({error}). Check whether a quotation mark is not "
                f"closed in this line or before it. {DOCS}"
            ) from None


def _csv_rows(reader: csv.DictReader, path: Path, skeleton: Skeleton) -> Iterator[_Label]:
    columns = [f"{joint}_{axis}" for joint in skeleton.joints for axis in "xyz"]
    header = [] if reader.fieldnames is None else [name.strip() for name in reader.fieldnames]
    if missing := [name for name in ("frame", *columns) if name not in header]:
        raise ValueError(
            f"{path}:1: the column {missing[0]!r} is missing. Expected frame, then {columns[0]}, {columns[1]}, "
            f"{columns[2]} and so on for each joint of {skeleton.name}. {DOCS}"
        )
    if repeated := [name for name in ("frame", *columns) if header.count(name) > 1]:
        raise ValueError(f"{path}:1: the column {repeated[0]!r} occurs more than once. Expected each name once. {DOCS}")
    reader.fieldnames = header
    for row in reader:
        words = [(row[name] or "").strip() for name in columns]
        line = reader.line_num
        yield _Label((row["frame"] or "").strip(), line, lambda place, w=words, n=line: _numbers(w, path, n))


def _numbers(words: list[str], path: Path, line: int) -> Float64[np.ndarray, "J 3"] | None:
    """Joints of a row of a table. None if all cells are empty."""
    if not any(words):
        return None
    try:
        return np.array([float(word) for word in words]).reshape(-1, 3)
    except ValueError as error:
        raise broken(path, f"expected {len(words)} numbers in mm ({error})", line) from None


def _coco(path: Path, skeleton: Skeleton, camera_of: Callable[[int], Pinhole | LensCamera]) -> Iterator[_Label]:
    """Labels of COCO keypoints in pixels, with the depth of each joint in mm beside them."""
    try:
        fields = parse_json(path.read_text(encoding="utf-8-sig"))
        names = {image["id"]: str(image["file_name"]) for image in fields["images"]}
        keypoints = {category["id"]: category.get("keypoints", []) for category in fields["categories"]}
        annotations = list(fields["annotations"])
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a file of COCO keypoints ({error!r}). Expected images, annotations and categories. {DOCS}"
        ) from None
    for number, annotation in enumerate(annotations, 1):
        image_id, category_id = _ids(annotation)
        if image_id not in names:
            raise ValueError(
                f"{path}: annotation {number} belongs to none of the images. Expected their image_id. {DOCS}"
            )
        order = keypoints.get(category_id, [])
        known = order if isinstance(order, list) else []
        if missing := [joint for joint in skeleton.joints if joint not in known]:
            raise ValueError(
                f"{path}: the category of annotation {number} has the keypoints {str(order)[:200]}; expected "
                f"{missing[0]!r} and the other joints of {skeleton.name} among them. {DOCS}"
            )
        rows = [known.index(joint) for joint in skeleton.joints]

        def joints_of(
            place: int, annotation: dict[str, Any] = annotation, rows: list[int] = rows, number: int = number
        ) -> Float64[np.ndarray, "J 3"]:
            uvd = _keypoints(annotation, rows, path, number)
            return unproject(sound_joints(uvd, path, number), camera_of(place)).astype(np.float64)

        yield _Label(names[image_id], number, joints_of)


def _ids(annotation: Any) -> tuple[Any, Any]:
    """Image and category of an annotation. None where it lacks one, or has a value that is not an id."""
    fields = annotation if isinstance(annotation, dict) else {}
    found = fields.get("image_id"), fields.get("category_id")
    image_id, category_id = (value if isinstance(value, int | float | str) else None for value in found)
    return image_id, category_id


def _keypoints(annotation: dict[str, Any], rows: list[int], path: Path, number: int) -> Float64[np.ndarray, "J 3"]:
    """u and v in pixels and depth in mm of the joints of an annotation.

    Raises:
        FrameError: the annotation lacks the depth, a joint is not labelled, or a value is not a number.
    """
    if _DEPTH_KEY not in annotation:
        what = f"annotation {number} has no {_DEPTH_KEY}, the depth in mm of each keypoint. Pixels alone give no joints"
        raise broken(path, what, number)
    try:
        values = np.array(annotation["keypoints"], np.float64).reshape(-1, 3)[rows]
        depth_mm = np.array(annotation[_DEPTH_KEY], np.float64)[rows]
    except (KeyError, ValueError, TypeError, IndexError) as error:
        what = f"annotation {number}: expected x, y and visibility, and a depth, of each keypoint ({error})"
        raise broken(path, what, number) from None
    if (values[:, 2] == 0).any():
        raise broken(path, f"annotation {number}: a keypoint is not labelled (visibility 0)", number)
    return np.concatenate([values[:, :2], depth_mm[:, None]], axis=1)
