import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from crossnets.datasets.opening import open_dataset
from crossnets.geometry.camera import CAMERAS, project
from crossnets.geometry.crop import crop_hand, image_to_crop_px
from crossnets.geometry.pose import normalise_pose
from crossnets.geometry.skeleton import CVAR21, MEDIAPIPE21, MSRA21
from crossnets.inference import bundle
from crossnets.inference.torch_models import Estimator, EstimatorConfig
from crossnets.latent import generating
from crossnets.latent.generating import find_frame, generate_command
from crossnets.latent.mappings import generate, joints_in_crop_px, latent_of_pose, sample, walk
from crossnets.models.networks import build
from crossnets.models.paper import CrossingNets
from crossnets.synth.hand.joint_places import joints
from crossnets.synth.hand.kinematics import forward
from crossnets.synth.hand.sampler import sample_views
from crossnets.tensors import PoseBatch
from crossnets.training import presets
from crossnets.types import HandCrop
from tests.datasets.make import make_cvar, make_recording

CAMERA = CAMERAS["cvar-senz3d"].pinhole
OPTIONS: dict[str, Any] = {
    "split": "test",
    "frame": None,
    "start": None,
    "end": None,
    "steps": 4,
    "by_image": False,
}


def estimator(shared_latent: bool = True) -> Estimator:
    networks = presets.paper_networks(21, shared_latent=shared_latent)
    config = EstimatorConfig(preset="paper", skeleton="cvar21", networks=networks)
    return Estimator(config, build(networks, torch.Generator().manual_seed(3)))


@pytest.fixture(scope="module")
def whole() -> Estimator:
    found = estimator()
    with torch.no_grad():
        for (
            parameter
        ) in found.refining_networks().vae.parameters():  # fresh, they are so small that all poses look alike
            parameter.normal_(0.0, 0.2, generator=torch.Generator().manual_seed(parameter.numel()))
    return found


@pytest.fixture
def nets(whole: Estimator) -> CrossingNets:
    return whole.refining_networks()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    bundle.save(estimator(), folder)
    return folder


@pytest.fixture(scope="module")
def cvar(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"cvar:{make_cvar(tmp_path_factory.mktemp('cvar'), {'P1': 1.0, 'P4': 0.9}, frames=3).root}"


def hands(data: str) -> tuple[np.ndarray, np.ndarray, list[HandCrop]]:
    """Joints of all frames, centres of their crops, and the crops."""
    dataset = open_dataset(data)
    frames = [dataset[i] for i in range(len(dataset))]
    joints = np.stack([frame.joints_mm for frame in frames if frame.joints_mm is not None])
    centers = joints.mean(axis=1)
    crops = [crop_hand(f.depth_mm, f.camera, c, 250.0) for f, c in zip(frames, centers, strict=True)]
    return joints, centers, crops


def test_a_walk_is_straight_between_the_two_encodings(whole: Estimator, nets: CrossingNets, cvar: str) -> None:
    joints, centers, crops = hands(cvar)
    z = latent_of_pose(whole, joints, crops)
    assert z.shape == (6, 23)
    np.testing.assert_allclose(z[:, 20:], (joints[:, 0] - centers) / 50, atol=1e-5)
    path = walk(nets, z[0], z[5], 5)
    assert torch.equal(path.z[0], z[0])
    assert torch.equal(path.z[4], z[5])
    torch.testing.assert_close(path.z[2], (z[0] + z[5]) / 2)
    assert path.depth.shape == (5, 128, 128)
    assert path.pose.y.shape == (5, 21, 3)
    torch.testing.assert_close(path.pose.t[2], (path.pose.t[0] + path.pose.t[4]) / 2)


def test_each_step_is_generated_from_its_latent(whole: Estimator, nets: CrossingNets, cvar: str) -> None:
    joints, _, crops = hands(cvar)
    z = latent_of_pose(whole, joints[:2], crops[:2])
    made = generate(nets, z)
    with torch.no_grad():
        torch.testing.assert_close(made.depth, nets.gen(nets.ali(z))[:, 0])
        torch.testing.assert_close(made.pose.y, nets.vae.decode(z[:, :20]))
    assert not made.depth.requires_grad


def test_latents_of_images_are_those_of_the_posterior(cvar: str) -> None:
    _, _, crops = hands(cvar)
    whole = estimator()
    with torch.no_grad():
        expected = whole.refining_networks().estimate_latent(whole.images(crops))
    torch.testing.assert_close(whole.latents(crops), expected)


def test_joints_lie_at_the_same_pixels_as_in_the_real_crop(cvar: str) -> None:
    joints, centers, crops = hands(cvar)
    y, t = normalise_pose(joints, centers, CVAR21.reference)
    pose = PoseBatch(torch.from_numpy(y).float(), torch.from_numpy(t).float())
    found = joints_in_crop_px(estimator(), pose, centers, CAMERA)
    expected = [image_to_crop_px(project(j, CAMERA)[:, :2], crop) for j, crop in zip(joints, crops, strict=True)]
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-3)


def test_walk_files(model: Path, cvar: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = OPTIONS | {"start": "cvar/P1/000000", "end": "5"}
    paths = generate_command("walk", model, data=cvar, out=out, **options)
    assert paths == [out / "walk.png", out / "walk.gif", out / "walk.html"]
    assert set(paths) == set(out.iterdir())
    page = paths[2].read_text()
    found = re.search(r"const pictures = (.*);", page)
    assert found is not None
    pictures = json.loads(found[1])
    assert {name: len(steps) for name, steps in pictures.items()} == {"drawn": 4, "plain": 4}
    with Image.open(io.BytesIO(base64.b64decode(pictures["plain"][0]))) as first:
        assert first.size == (384, 384)
    assert 'max="3"' in page
    assert "cvar/P1/000000 to cvar/P4/000002" in page
    with Image.open(paths[0]) as strip, Image.open(paths[1]) as film:
        assert strip.size == (4 + 6 * (256 + 4), 20 + 2 * (256 + 4))
        assert film.n_frames == 2 * 4 - 2  # pyright: ignore[reportAttributeAccessIssue]
        assert film.size == (2 * 384, 384 + 4)
        by_label = np.asarray(strip)
    assert (by_label[20:276, 4:260] != by_label[280:536, 4:260]).any()  # a skeleton above, none below
    generate_command("walk", model, data=cvar, out=out, **options | {"by_image": True})
    with Image.open(paths[0]) as strip:
        assert (np.asarray(strip) != by_label).any()


@pytest.mark.parametrize("action", ["pose-to-depth", "depth-to-pose"])
def test_pair_files(model: Path, cvar: str, tmp_path: Path, action: Any) -> None:
    paths = generate_command(action, model, data=cvar, out=tmp_path, **OPTIONS | {"frame": "cvar/P4/000001"})
    assert paths == [tmp_path / f"{action}.png"]
    with Image.open(paths[0]) as picture:
        assert picture.size == (4 + 2 * (384 + 4), 20 + 2 * (384 + 4))


def test_random_hands_depend_on_the_seed_and_are_centred(model: Path, nets: CrossingNets, tmp_path: Path) -> None:
    made = sample(nets, 3, 5)
    assert made.depth.shape == (3, 128, 128)
    torch.testing.assert_close((made.pose.y + made.pose.t[:, None]).mean(1), torch.zeros(3, 3), atol=1e-5, rtol=0)
    assert torch.equal(made.z, sample(nets, 3, 5).z)
    assert not torch.equal(made.z, sample(nets, 3, 6).z)
    with pytest.raises(ValueError, match="Found a sample of 0 hands"):
        sample(nets, 0, 5)
    with pytest.raises(ValueError, match=f"Found the seed {2**64}, expected 0 to {2**64 - 1}"):
        sample(nets, 1, 2**64)
    paths = generate_command("sample", model, data=None, out=tmp_path, **OPTIONS, count=3)
    assert paths == [tmp_path / "sample.png"]
    with Image.open(paths[0]) as picture:
        assert picture.size == (4 + 3 * (256 + 4), 20 + 2 * (256 + 4))


def test_an_action_on_frames_needs_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"walk needs frames\. Give --data"):
        generate_command("walk", tmp_path, data=None, out=tmp_path, **OPTIONS)


def test_frames_are_found_by_key_and_by_index(cvar: str) -> None:
    dataset = open_dataset(cvar)
    for index in range(len(dataset)):
        assert find_frame(dataset, str(index)).key == find_frame(dataset, dataset[index].key).key == dataset[index].key
    keys = r"Give a key \(cvar/P1/000000, cvar/P1/000001, .* cvar/P4/000002\) or an index"
    with pytest.raises(ValueError, match=rf"no frame 'cvar/P9/000000' among 6\. {keys}"):
        find_frame(dataset, "cvar/P9/000000")
    with pytest.raises(ValueError, match=rf"no frame 6\. The data set has 6 frames from 0 on\. {keys}"):
        find_frame(dataset, "6")


def test_a_broken_frame_is_named_when_a_key_is_not_found(tmp_path: Path) -> None:
    root = make_recording(tmp_path / "rec").root
    (root / "000001.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"no frame 'recording/rec/000001'.*1 could not be read.*000001\.png"):
        find_frame(open_dataset(str(root)), "recording/rec/000001")


@pytest.mark.parametrize(
    ("action", "options", "message"),
    [
        ("walk", {"start": "0"}, "Give --from and --to"),
        ("walk", {"frame": "0", "start": "0", "end": "1"}, "leave --frame out"),
        ("walk", {"start": "0", "end": "1", "steps": 1}, "--steps 1, expected 2"),
        ("pose-to-depth", {}, "pose-to-depth needs one frame. Give --frame"),
        ("depth-to-pose", {"frame": "0", "by_image": True}, "leave --from, --to and --by-image out"),
        ("sample", {}, "sample draws random hands. Leave --data"),
    ],
)
def test_arguments_that_do_not_fit(tmp_path: Path, action: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate_command(action, tmp_path, data="none", out=tmp_path, **OPTIONS | options)


def test_unlabelled_frames_start_from_the_image_only(model: Path, tmp_path: Path) -> None:
    data = str(make_recording(tmp_path / "rec", unlabelled=(1,)).root)
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=r"recording/rec/000001 has no label.*depth-to-pose or walk --by-image"):
        generate_command("pose-to-depth", model, data=data, out=out, **OPTIONS | {"frame": "1"})
    assert not out.exists()
    generate_command("depth-to-pose", model, data=data, out=out, **OPTIONS | {"frame": "1"})


def test_labels_of_another_skeleton_are_converted(model: Path, tmp_path: Path) -> None:
    """The map between two skeletons comes from rendered hands and is exact to some tenths of a millimetre."""
    data = str(make_recording(tmp_path / "rec").root)
    paths = generate_command("walk", model, data=data, out=tmp_path / "out", **OPTIONS | {"start": "0", "end": "2"})
    assert all(path.is_file() for path in paths)
    hand = forward(*sample_views(np.random.default_rng(1), 5, CAMERAS["nyu-kinect"])[:2])
    msra, cvar = (np.asarray(joints(hand, skeleton), np.float32) for skeleton in (MSRA21, CVAR21))
    for labelled, own in zip(msra, cvar, strict=True):
        found = generating._converted(labelled, MSRA21, CVAR21)
        assert np.linalg.norm(found - own, axis=-1).mean() < 1
    thumb_first = generating._converted(msra[0], MSRA21, MEDIAPIPE21)
    np.testing.assert_array_equal(
        thumb_first[MEDIAPIPE21.joints.index("ring_pip")], msra[0][MSRA21.joints.index("ring_pip")]
    )


def test_missing_hand_and_missing_latent_space_are_reported(model: Path, cvar: str, tmp_path: Path) -> None:
    root = make_recording(tmp_path / "rec", skeleton=CVAR21).root
    Image.fromarray(np.zeros((240, 320), np.uint16)).save(root / "000000.png")
    with pytest.raises(ValueError, match="No hand was found in recording/rec/000000"):
        generate_command("pose-to-depth", model, data=str(root), out=tmp_path, **OPTIONS | {"frame": "0"})
    bundle.save(estimator(shared_latent=False), tmp_path / "plain")
    with pytest.raises(ValueError, match="without the shared latent space"):
        generate_command("pose-to-depth", tmp_path / "plain", data=cvar, out=tmp_path, **OPTIONS | {"frame": "0"})


def test_a_walk_of_one_step_raises(nets: CrossingNets) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        walk(nets, torch.zeros(23), torch.ones(23), 1)
