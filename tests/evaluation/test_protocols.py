from collections import Counter
from pathlib import Path

import pytest

from crossnets.evaluation.protocols import PROTOCOLS, read_list, scoring_camera, subset_of
from crossnets.geometry.skeleton import CVAR21, MSRA21, NYU36
from crossnets.types import Pinhole


def test_protocols_have_the_published_sizes() -> None:
    assert {name: protocol.frames for name, protocol in PROTOCOLS.items()} == {
        "nyu": 8252,
        "icvl": 1596,
        "msra": 76375,
        "cvar": None,
        "hands17": None,
        "fpha": None,
        "dexycb": None,
        "ho3d": None,
        "h2o": None,
    }


def test_sequences_in_file_order() -> None:
    nyu = PROTOCOLS["nyu"].sequences(8252)
    assert (nyu[2439], nyu[2440], nyu[-1]) == ("s1", "s2", "s2")
    assert Counter(PROTOCOLS["icvl"].sequences(1596)) == {"seq1": 702, "seq2": 894}
    assert set(PROTOCOLS["icvl"].sequences(702)) == {"seq1"}
    assert set(PROTOCOLS["cvar"].sequences(3)) == {"all"}


def test_sequences_from_a_list(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("P3/1/000000_depth.bin\nP4/1/000000_depth.bin\n\n")
    listed = read_list(tmp_path / "list.txt")
    assert PROTOCOLS["msra"].sequences(2, listed) == ("P3", "P4")
    assert PROTOCOLS["nyu"].sequences(1, ["test/depth_1_0000001.png"]) == ("all",)
    with pytest.raises(ValueError, match="names 2 frames, but the labels have 3"):
        PROTOCOLS["msra"].sequences(3, listed)
    with pytest.raises(FileNotFoundError, match=r"No test list at .*none\.txt"):
        read_list(tmp_path / "none.txt")


@pytest.mark.real
def test_msra_sequences_agree_with_the_public_list(real_data: Path) -> None:
    listed = read_list(real_data / "published/msra/msra_test_list.txt")
    msra = PROTOCOLS["msra"]
    assert msra.sequences(76375, listed) == msra.sequences(76375)


def test_camera_from_name_or_numbers() -> None:
    assert scoring_camera("icvl-senz3d").fx_px == 240.99
    assert scoring_camera("1,2,3,4") == Pinhole(1, 2, 3, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3", "expected fx,fy,cx,cy"),
        ("588,-587,320,240", "focal lengths .* positive"),
        ("588,587,nan,240", "must be finite"),
        ("588,587,320,240,0.125", "does not use a depth unit"),
        ("kinect9", "No camera is named"),
        ("588,587,320,240:0.1,0,0,0", "Found a camera with a lens"),
    ],
)
def test_invalid_camera_raises(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scoring_camera(text)


def test_bones_of_a_subset_skip_missing_joints() -> None:
    nyu = subset_of(NYU36, NYU36.evaluation)
    assert nyu.joints == NYU36.evaluated().joints
    assert nyu.parents[0] == 1  # little tip to little pip, across the dip and the middle
    assert nyu.joints[nyu.reference] == "palm"
    assert nyu.palm_frame is None
    fingers = subset_of(CVAR21, CVAR21.shared_with(MSRA21)[0])
    assert len(fingers) == 20
    assert fingers.parents[0] == -1
    assert subset_of(CVAR21, range(21)) is CVAR21
