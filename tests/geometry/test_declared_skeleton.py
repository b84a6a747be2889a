"""Skeletons that JSON files declare."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossnets.geometry.skeleton import COLOURS, MSRA21, NYU36, SKELETONS, Skeleton, find_skeleton, weights_between
from tests.geometry.glove import GLOVE, glove


def test_a_file_declares_a_skeleton(tmp_path: Path) -> None:
    path = tmp_path / "glove.json"
    path.write_text(json.dumps(GLOVE))
    found = find_skeleton(str(path))
    assert found == find_skeleton(path) == glove()
    assert (found.name, found.joints) == ("glove", ("base", "middle_mcp", "nail1", "nail2", "strap"))
    assert found.parents == (-1, 0, 0, 1, 0)
    assert (found.reference, found.center, found.palm_frame) == (0, 1, None)
    # Without the key a joint corresponds to the standard joint of its name.
    assert found.places == ("wrist", "middle_mcp", "index_tip", "middle_tip", "glove/strap")
    assert found.colours == (COLOURS["palm"], COLOURS["middle"], COLOURS["index"], COLOURS["middle"], COLOURS["palm"])


def test_a_saved_skeleton_is_found_without_its_file() -> None:
    assert find_skeleton(json.loads(json.dumps(glove().saved()))) == glove()
    assert [skeleton.saved() for skeleton in SKELETONS.values()] == list(SKELETONS)
    plain = Skeleton("stick", ("wrist", "end"), (-1, 0), reference=0, center=0)
    assert find_skeleton(plain.saved()).places == ("wrist", "stick/end")


def test_the_palm_is_that_of_the_standard_joints() -> None:
    joints = [{"name": "W", "standard": "wrist"}]
    joints += [{"name": f, "parent": "W", "standard": f"{f}_mcp"} for f in ("little", "middle")]
    found = find_skeleton({"name": "palm3", "root": "W", "joints": joints})
    assert (found.palm_frame, found.center) == ((0, 2, 1), 2)


def test_joints_are_matched_by_their_place() -> None:
    assert glove().shared_with(MSRA21) == ((0, 1, 2, 3), (0, 5, 4, 8))
    assert glove().order_of(MSRA21) is None
    renamed = find_skeleton(_renamed_msra())
    assert renamed.order_of(MSRA21) == tuple(reversed(range(21)))


def test_weights_come_from_shared_joints_and_from_the_map_of_nyu() -> None:
    chosen = find_skeleton({**GLOVE, "joints": GLOVE["joints"][:4]})
    weights = weights_between(MSRA21, chosen, {})
    assert weights is not None
    np.testing.assert_array_equal(weights, np.eye(21)[[0, 5, 4, 8]])
    middle = {"name": "m", "parent": "base", "standard": "index_proximal"}
    wanted = find_skeleton({**GLOVE, "joints": [GLOVE["joints"][0], middle]})
    assert weights_between(MSRA21, wanted, {}) is None
    nyu = np.random.default_rng(1).normal(size=(36, 21)).astype(np.float32)
    weights = weights_between(MSRA21, wanted, {"nyu36": nyu})
    assert weights is not None
    np.testing.assert_array_equal(weights[1], nyu[NYU36.joints.index("index_proximal")])
    assert weights_between(MSRA21, glove(), {"nyu36": nyu}) is None
    weights = weights_between(glove(), glove(), {})
    assert weights is not None
    np.testing.assert_array_equal(weights, np.eye(5))


def _renamed_msra() -> dict[str, Any]:
    joints = [
        {"name": f"j{k}", "parent": None if parent < 0 else f"j{parent}", "standard": name}
        for k, (name, parent) in enumerate(zip(MSRA21.joints, MSRA21.parents, strict=True))
    ]
    return {"name": "renamed", "root": "j0", "joints": joints[::-1]}


def _joint(number: int, **changed: Any) -> list[dict[str, Any]]:
    joints = [dict(joint) for joint in GLOVE["joints"]]
    joints[number].update(changed)
    return joints


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"joints": _joint(1, parent="nail2")}, "the parents form a cycle: middle_mcp - nail2 - middle_mcp"),
        ({"joints": _joint(2, parent="nail1")}, "the parents form a cycle: nail1 - nail1"),
        ({"joints": _joint(2, parent="elbow")}, "nail1 has the parent 'elbow', expected the name of a joint"),
        ({"joints": _joint(2, parent=None)}, "nail1 has no parent, expected .* Only the root has no parent"),
        ({"joints": _joint(0, parent="nail1")}, "the root base has the parent 'nail1'"),
        ({"joints": _joint(2, standard="index_top")}, "expected null or one of .*Did you mean 'index_tip'"),
        ({"joints": _joint(2, standard="palm")}, "nail1 has the standard joint 'palm', expected null or one of"),
        ({"joints": _joint(2, standard="wrist")}, "the joints base and nail1 both correspond to wrist"),
        ({"joints": _joint(2, name="nail2")}, "found two joints called 'nail2'"),
        ({"joints": _joint(2, name=5)}, "found the joint '5'"),
        ({"joints": _joint(2, standart="wrist")}, "joint 2: found the key 'standart', expected name, parent, standard"),
        ({"joints": [{"parent": "base"}, {}]}, "joint 0: the key 'name' is missing"),
        ({"joints": GLOVE["joints"][:1]}, "found 1 joints, expected a list of 2 to 256"),
        ({"joints": "wrist"}, "found joints 'wrist', expected a list"),
        ({"joints": ["wrist", "tip"]}, "joint 0: found .wrist., expected a JSON object"),
        ({"root": "elbow"}, "found the root 'elbow', expected one of the joints base, middle_mcp"),
        ({"name": "msra21"}, "found the name 'msra21', which is built in"),
        ({"name": "a/b"}, "found the name 'a/b', which is not a valid name"),
        ({"name": None}, "found the name 'None'"),
        ({"bones": []}, "found the key 'bones', expected name, root, joints"),
    ],
)
def test_a_damaged_declaration_raises(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**GLOVE, **changed}))
    with pytest.raises(ValueError, match=rf"bad\.json: .*{message}"):
        find_skeleton(str(path))


@pytest.mark.parametrize("key", ["name", "root", "joints"])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=f"the key '{key}' is missing. Expected name, root, joints, as in {{"):
        find_skeleton({name: value for name, value in GLOVE.items() if name != key})


def test_files_without_a_declaration_raise(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no skeleton file .*none\.json"):
        find_skeleton(str(tmp_path / "none.json"))
    (tmp_path / "cut.json").write_text('{"name": "glo')
    with pytest.raises(ValueError, match=r"cut\.json is not JSON"):
        find_skeleton(tmp_path / "cut.json")
    with pytest.raises(ValueError, match=r"Unknown skeleton '\[1\]'. Known: nyu36, .* JSON files"):
        find_skeleton([1])
