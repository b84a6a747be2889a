"""A hand as a result: pixels, confidence, box, JSON, picture."""

import json
from dataclasses import replace
from math import isclose

import numpy as np
import pytest

from crossnets import Hand, Pinhole
from crossnets.geometry.skeleton import MSRA21

CAMERA = Pinhole(400.0, 400.0, 160.0, 120.0)


def hand(std_mm: float | None = 5.0) -> Hand:
    joints = np.zeros((21, 3), np.float32)
    joints[:, 0] = np.linspace(-60, 60, 21)
    joints[:, 2] = 400
    std = None if std_mm is None else np.full(21, std_mm, np.float32)
    return Hand(joints, MSRA21, CAMERA, std_mm=std, side="left", side_probability=0.9, size_mm=180.0)


def test_joints_in_pixels() -> None:
    np.testing.assert_allclose(hand().joints_px[[0, -1]], [[100, 120], [220, 120]])


@pytest.mark.parametrize(("std_mm", "probability"), [(20.0, 0.1987), (10.0, 0.7385), (20 / 3, 0.9707)])
def test_confidence_is_the_maxwell_distribution(std_mm: float, probability: float) -> None:
    """Within 1, 2 and 3 deviations in three dimensions."""
    confidence = hand(std_mm).confidence
    assert confidence is not None
    assert confidence.shape == (21,)
    assert isclose(confidence[0], probability, abs_tol=1e-3)


@pytest.mark.parametrize("size_mm", [105.0, 126.0, 260.0])
def test_confidence_is_low_for_an_impossible_length(size_mm: float) -> None:
    usual, impossible = hand().confidence, replace(hand(), size_mm=size_mm).confidence
    assert usual is not None
    assert impossible is not None
    assert usual.min() > 0.9
    assert impossible.max() < 0.1


def test_box_holds_the_joints_and_their_skin() -> None:
    assert hand().box == pytest.approx((90, 110, 230, 130))


def test_json_is_strict_and_names_units() -> None:
    fields = json.loads(hand().to_json())
    assert fields["joints"] == list(MSRA21.joints)
    assert len(fields["joints_mm"]) == len(fields["std_mm"]) == len(fields["confidence"]) == 21
    assert (fields["side"], fields["skeleton"]) == ("left", "msra21")
    assert json.loads(hand(None).to_json())["std_mm"] is None
    assert hand(None).confidence is None


@pytest.mark.parametrize("image", [np.zeros((240, 320), np.uint16), np.zeros((240, 320, 3), np.uint8)])
def test_drawing_changes_a_copy_where_the_hand_is(image: np.ndarray) -> None:
    picture = hand().draw(image)
    assert picture.shape == (240, 320, 3)
    assert picture.dtype == np.uint8
    assert picture[118:123, 100:220].max() > picture[:60].max()
    assert not image.any()


def test_nan_pixels_are_drawn_as_invalid() -> None:
    seen = np.zeros((240, 320), np.float32)
    seen[:100] = 500
    holes = np.where(seen > 0, seen, np.float32(np.inf))
    holes[200:] = np.nan
    assert (hand().draw(holes) == hand().draw(seen)).all()


def test_joints_by_name_and_in_other_orders() -> None:
    found = hand()
    np.testing.assert_array_equal(found["index_mcp"], found.joints_mm[1])
    with pytest.raises(KeyError, match=r"Found 'index_tp', expected a joint of msra21.*Did you mean 'index_tip'"):
        found["index_tp"]
    with pytest.raises(KeyError, match="Did you mean 'little_tip'"):
        found["pinky_tip"]
    thumb_first = found.joints("mediapipe")
    np.testing.assert_array_equal(thumb_first[0], found["wrist"])
    np.testing.assert_array_equal(thumb_first[1], found["thumb_cmc"])
    np.testing.assert_array_equal(thumb_first[20], found["little_tip"])
    with pytest.raises(ValueError, match="'nyu14', expected one with these joints: msra21, mediapipe21"):
        found.joints("nyu14")


def test_repr_of_a_hand() -> None:
    assert repr(hand()) == "<left hand (90 %) at (0, 0, 400) mm, 180 mm long, open, 21 joints (msra21)>"
