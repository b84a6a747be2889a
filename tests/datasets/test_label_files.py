"""Labels of images in .npz, CSV and COCO files."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from crossnets.cli.data import Convert, data
from crossnets.datasets.image_sources import open_sources
from crossnets.datasets.label_files import LabelledImages
from crossnets.datasets.recording import Recording
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.skeleton import MSRA21
from tests.datasets.make import Made

CAMERA = "msra-senz3d"


def opened(images: Made, path: Path) -> LabelledImages:
    (source,) = open_sources([str(images.root)], CAMERA)
    return LabelledImages(source, path, MSRA21)


def write_csv(path: Path, rows: dict[str, Any], joints: tuple[str, ...] = MSRA21.joints) -> Path:
    """Rows of a table by the name of the image. The columns are in reverse order, and one is ours alone."""
    columns = [f"{joint}_{axis}" for joint in joints for axis in "xyz"]
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["subject", *reversed(columns), "frame"], restval="")
        writer.writeheader()
        for frame, values in rows.items():
            cells = {} if values is None else dict(zip(columns, np.ravel(values).tolist(), strict=True))
            writer.writerow({"frame": frame, "subject": "me", **cells})
    return path


COLUMNS = ",".join(f"{joint}_{axis}" for joint in MSRA21.joints for axis in "xyz")


def coco(images: Made, **changed: Any) -> dict[str, Any]:
    """COCO's fields of the first three images. The keypoints are in reverse order."""
    uvd = project(images.joints_mm.astype(np.float64), CAMERAS[CAMERA].pinhole)[:, ::-1]
    annotations = [
        {
            "image_id": 10 + number,
            "category_id": 1,
            "keypoints": np.concatenate([one[:, :2], np.full((21, 1), 2)], axis=1).ravel().tolist(),
            "keypoints_depth_mm": one[:, 2].tolist(),
            **changed,
        }
        for number, one in enumerate(uvd[:3])
    ]
    return {
        "images": [{"id": 10 + number, "file_name": f"{number:06d}.png"} for number in range(4)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "hand", "keypoints": list(reversed(MSRA21.joints))}],
    }


def made_file(kind: str, images: Made, folder: Path) -> Path:
    """Labels of the first three of four images."""
    path = folder / f"labels.{kind}"
    names = [f"{number:06d}.png" for number in range(4)]
    if kind == "npz":
        joints_mm = images.joints_mm.copy()
        joints_mm[3] = np.nan
        np.savez(path, joints_mm=joints_mm[::-1], frames=np.array(names[::-1]))
    elif kind == "csv":
        write_csv(path, {**dict(zip(names[:3], images.joints_mm, strict=False)), names[3]: None})
    else:
        path.write_text(json.dumps(coco(images)))
    return path


@pytest.mark.parametrize("kind", ["npz", "csv", "json"])
def test_labels_come_back_from_the_recording(
    images: Made, tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = made_file(kind, images, tmp_path)
    out = tmp_path / "out"
    data(Convert(str(images.root), "recording", out, camera=CAMERA, labels=path, skeleton="msra21"))
    found = Recording(out)
    assert (len(found), found.skeleton, found.problems) == (4, MSRA21, [])
    for number in range(4):
        assert_array_equal(found[number].depth_mm, images.depth_mm[number])
        joints_mm = found[number].joints_mm
        if number == 3:
            assert joints_mm is None
            continue
        assert joints_mm is not None
        assert_allclose(joints_mm, images.joints_mm[number], atol=0.001)
    said = capsys.readouterr().out
    assert "4 frames as recording, 3 of them labelled." in said
    assert "of the joints lie on the surface" in said


def test_labels_without_names_are_in_the_order_of_the_images(images: Made, tmp_path: Path) -> None:
    np.savez(tmp_path / "labels.npz", joints_mm=images.joints_mm[:2])
    found = opened(images, tmp_path / "labels.npz")
    first = found[1].joints_mm
    assert first is not None
    assert_array_equal(first, images.joints_mm[1])
    assert found[2].joints_mm is None


def test_names_may_have_folders_and_no_suffix(images: Made, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "l.csv", {"images/000001.PNG": images.joints_mm[0], "./000002": images.joints_mm[1]})
    found = opened(images, path)
    assert [found[k].joints_mm is not None for k in range(4)] == [False, True, True, False]


def test_a_recording_without_labels_is_labelled(images: Made, tmp_path: Path) -> None:
    out = tmp_path / "bare"
    data(Convert(str(images.root), "recording", out, camera=CAMERA))
    path = made_file("csv", images, tmp_path)
    data(Convert(str(out), "recording", tmp_path / "labelled", labels=path, skeleton="msra21"))
    found = Recording(tmp_path / "labelled")
    assert [found[k].joints_mm is not None for k in range(4)] == [True, True, True, False]


def test_broken_labels_leave_their_frame_out(images: Made, tmp_path: Path) -> None:
    behind = images.joints_mm[2] * np.float32(-1)
    path = write_csv(tmp_path / "l.csv", {"000000": images.joints_mm[0], "000002": behind, "elsewhere": behind})
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text, text[1], text[1].replace("000000", "000001").replace(",", ",x", 2)]) + "\n")
    with pytest.raises(ValueError, match=r"l\.csv labels none of the 4 images"):
        opened(images, path)
    path.write_text("\n".join([*text, text[1].replace("000000", "000003")]) + "\n")
    found = opened(images, path)
    assert [found[k].key[-10:] for k in range(len(found))] == ["000000.png", "000001.png", "000003.png"]
    told = [str(problem) for problem in found.problems]
    assert any("l.csv:3: joint" in one and "expected more than 0" in one for one in told)
    assert any("l.csv:4: the image 'elsewhere' is missing" in one for one in told)


def test_a_second_label_is_not_used(images: Made, tmp_path: Path) -> None:
    names = np.array(["000000", "000001", "000000"])
    np.savez(tmp_path / "l.npz", joints_mm=images.joints_mm[:3], frames=names)
    found = opened(images, tmp_path / "l.npz")
    assert [found[k].joints_mm is not None for k in range(len(found))] == [True, False, False]
    assert "a second label of '000000'" in str(found.problems[0])


def test_a_name_of_several_images_is_not_guessed(images: Made, tmp_path: Path) -> None:
    other = tmp_path / "more"
    other.mkdir()
    (other / "000000.png").write_bytes((images.root / "000000.png").read_bytes())
    sources = open_sources([str(images.root), str(other)], CAMERA)
    assert [len(source) for source in sources] == [4, 1]
    nested = tmp_path / "all"
    for name in ("a", "b"):
        (nested / name).mkdir(parents=True)
        (nested / name / "000000.png").write_bytes((images.root / "000000.png").read_bytes())
    (source,) = open_sources([str(nested)], CAMERA)
    path = write_csv(tmp_path / "l.csv", {"000000": images.joints_mm[0], "b/000000": images.joints_mm[0]})
    found = LabelledImages(source, path, MSRA21)
    assert "several images are called '000000'" in str(found.problems[0])
    assert [found[k].joints_mm is not None for k in range(2)] == [False, True]


def test_a_keypoint_that_is_not_labelled_leaves_the_frame_out(images: Made, tmp_path: Path) -> None:
    fields = coco(images)
    fields["annotations"][1]["keypoints"][5] = 0
    del fields["annotations"][2]["keypoints_depth_mm"]
    (tmp_path / "l.json").write_text(json.dumps(fields))
    found = opened(images, tmp_path / "l.json")
    assert len(found) == 2
    assert "a keypoint is not labelled" in str(found.problems[0])
    assert "has no keypoints_depth_mm" in str(found.problems[1])


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("l.txt", b"1 2 3", "ends in '.txt'; expected a label file that ends in .npz, .csv or .json"),
        ("l.npz", b"PK", "cannot be read as a .npz file"),
        ("l.csv", b"frame,wrist_x\n", "the column 'wrist_y' is missing. Expected frame, then wrist_x"),
        ("l.csv", b"", "the column 'frame' is missing"),
        ("l.json", b"{}", "is not a file of COCO keypoints"),
        ("l.json", b"[[", "is not a file of COCO keypoints"),
        (
            "l.json",
            b'{"images": [{"id": 1, "file_name": "000000.png"}], "categories": [{"id": 1, "keypoints": ["nose"]}], '
            b'"annotations": [{"image_id": 1, "category_id": 1}]}',
            "has the keypoints .*nose.*; expected 'wrist'",
        ),
        ("l.json", b'{"images": [], "categories": [], "annotations": [{"image_id": 3}]}', "belongs to none of the"),
        ("l.csv", f"frame,{COLUMNS},wrist_y\n".encode(), r"l\.csv:1: the column 'wrist_y' occurs more than once"),
        ("l.csv", f'frame,{COLUMNS}\n"{"0" * 140_000}'.encode(), r"l\.csv:2: .*a quotation mark is not closed"),
        ("l.csv", f'"frame,{"0" * 140_000}'.encode(), r"l\.csv:1: .*a quotation mark is not closed"),
    ],
)
def test_other_files_are_refused(images: Made, tmp_path: Path, name: str, contents: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(ValueError, match=message):
        opened(images, tmp_path / name)


@pytest.mark.parametrize(
    ("changed", "keypoints", "message"),
    [
        ({}, None, "annotation 1 has the keypoints None; expected 'wrist'"),
        ({}, 3, "annotation 1 has the keypoints 3; expected 'wrist'"),
        ({}, {"wrist": 0}, "annotation 1 has the keypoints {'wrist': 0}; expected 'wrist'"),
        ({"image_id": [10]}, MSRA21.joints, "annotation 1 belongs to none of the images"),
        ({"category_id": [1]}, MSRA21.joints, r"annotation 1 has the keypoints \[\]; expected 'wrist'"),
        ({"keypoints": [10**400] * 63}, MSRA21.joints, "a whole number of 401 digits"),
        ({"keypoints_depth_mm": [10**400] * 21}, MSRA21.joints, "a whole number of 401 digits"),
    ],
)
def test_values_of_other_types_in_coco_are_refused(
    images: Made, tmp_path: Path, changed: dict[str, Any], keypoints: object, message: str
) -> None:
    fields = coco(images, **changed)
    fields["categories"][0]["keypoints"] = keypoints
    (tmp_path / "l.json").write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=message):
        opened(images, tmp_path / "l.json")


def test_damaged_arrays_are_refused(images: Made, tmp_path: Path) -> None:
    path = tmp_path / "l.npz"
    with path.open("wb") as file:
        np.save(file, images.joints_mm)
    with pytest.raises(ValueError, match=r"l\.npz cannot be read as a \.npz file of numbers \(it holds one array"):
        opened(images, path)
    np.savez_compressed(path, joints_mm=images.joints_mm)
    data = bytearray(path.read_bytes())
    compressed = 30 + int.from_bytes(data[26:28], "little") + int.from_bytes(data[28:30], "little")
    data[compressed] |= 0b110
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"l\.npz cannot be read as a \.npz file of numbers \(Error -3"):
        opened(images, path)


def test_arrays_of_other_shapes_are_refused(images: Made, tmp_path: Path) -> None:
    path = tmp_path / "l.npz"
    np.savez(path, joints_mm=images.joints_mm[:, :5])
    with pytest.raises(ValueError, match=r"found joints_mm of float32 and shape \(4, 5, 3\); expected .* \(frames, 21"):
        opened(images, path)
    np.savez(path, other=images.joints_mm)
    with pytest.raises(ValueError, match="found no joints_mm"):
        opened(images, path)
    np.savez(path, joints_mm=images.joints_mm, frames=np.arange(4))
    with pytest.raises(ValueError, match="found frames of int64"):
        opened(images, path)


def test_labels_need_their_skeleton(images: Made, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--labels and --skeleton go together"):
        data(Convert(str(images.root), "recording", tmp_path / "out", camera=CAMERA, labels=tmp_path / "l.csv"))
    with pytest.raises(FileNotFoundError, match=r"There is no label file .*l\.csv"):
        opened(images, tmp_path / "l.csv")
