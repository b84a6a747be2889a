import io
import json
import re
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from crossnets import cli
from crossnets.demo import command, hands, small
from crossnets.demo.command import demo_command
from crossnets.demo.page import training_section
from crossnets.inference import bundle
from crossnets.models.networks import build
from crossnets.training import presets
from crossnets.training.config import CrossnetsConfig

FRAMES = 8


@pytest.fixture(scope="module")
def config() -> CrossnetsConfig:
    """A preset with two cameras."""
    whole = presets.crossnets(seed=3, precision="32-true")
    return replace(whole, rendered=replace(whole.rendered, sources=whole.rendered.sources[1:3]))


@pytest.fixture(scope="module")
def shipped(config: CrossnetsConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with untrained weights in place of the shipped weights."""
    folder = tmp_path_factory.mktemp("weights")
    networks = build(config.networks, torch.Generator().manual_seed(0))
    bundle.save(config.model(networks, {}), folder)
    return folder


def shrink(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(small, "_KEPT", 8)
    patch.setattr(small, "_WIDTHS", (4, 6, 8, 8))
    # The few planned steps take longer than the budget of these tests. No deadline cuts them short.
    patch.setattr(small, "_LATE", 1e4)


def run(config: CrossnetsConfig, out: Path) -> str:
    path = demo_command(config, out=out, budget="0.1s", frames=FRAMES, model=None, open_page=True)
    assert path == out / "index.html"
    return path.read_text(encoding="utf-8")


class Made(NamedTuple):
    out: Path
    page: str
    printed: str
    reported: str
    opened: list[str]


@pytest.fixture(scope="module")
def made(config: CrossnetsConfig, shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Results of a demo with shipped weights."""
    out = tmp_path_factory.mktemp("demos") / "demo"
    printed = io.StringIO()
    reported = io.StringIO()
    opened: list[str] = []
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed), redirect_stderr(reported):
        shrink(patch)
        patch.setattr(command, "SHIPPED", shipped)
        patch.setattr(command.webbrowser, "open", opened.append)
        page = run(config, out)
    return Made(out, page, printed.getvalue(), reported.getvalue(), opened)


def test_page_shows_the_measured_numbers(made: Made) -> None:
    page, printed = made.page, made.printed
    numbers = json.loads((made.out / "numbers.json").read_text())
    assert [model["name"] for model in numbers["models"]] == ["shipped model", "trained here, 0.1s"]
    for model in numbers["models"]:
        assert model["frames"] == FRAMES
        assert model["missed"] == 0
        for text in (page, printed):
            assert f"{model['mean_mm']:.2f}" in text
            assert f"{model['median_mm']:.2f}" in text
            assert f"{100 * model['frames_within_mm']['40']:.1f} %" in text
            assert f"{model['ms_per_frame']:.1f}" in text
            assert f"{model['parameters']:,}" in text
        assert f" {model['per_joint_mm']['thumb_tip']:.1f}" in page
        for camera in model["sequences"].values():
            assert f"{camera['mean_mm']:.2f}" in page
    assert numbers["training"]["steps"] >= 1
    assert f"{numbers['training']['steps']} steps" in page
    for seconds in numbers["steps_s"].values():
        assert f"{seconds:.1f} s" in page
    assert f"{numbers['mean_pose_error_mm']:.2f} mm" in page
    assert "realsense-d435" in page
    assert f"Page: {made.out / 'index.html'}" in printed
    # The training ends after its last planned step and reports it.
    assert f"estimate {numbers['training']['steps']}/{numbers['training']['steps']} joints" in made.reported
    assert not made.opened  # standard output is not a terminal
    assert (made.out / "run" / "model" / "weights.safetensors").is_file()


def test_page_embeds_all_pictures(made: Made) -> None:
    page = made.page
    assert not re.search(r"https?:|<script|<link|url\((?!#)|@import", page)
    assert not re.search(r'(src|href)="(?!data:image/|#)', page)
    assert str(made.out.parent) not in page
    images = re.findall(r'src="data:image/(\w+);base64', page)
    assert set(images) == {"png"}
    # The worst frames, and those of the others that show enough of the hand for each of two models.
    others = page.count("<figcaption>") - 4
    assert len(images) == 4 + others
    assert others % 2 == 0
    assert 2 <= others <= 2 * (FRAMES - 4)
    assert "The worst 4 of 8" in page
    steps = json.loads((made.out / "numbers.json").read_text())["training"]["steps"]
    assert page.count("<svg") == (3 if steps > 1 else 2)
    assert page.count('type="checkbox"') == len(images)


@pytest.mark.parametrize("steps", [1, 2])
def test_curve_of_a_training_needs_two_steps(steps: int, shipped: Path) -> None:
    learned = small.Learned(bundle.load(shipped), [1, 2][:steps], [0.5, 0.4][:steps], 16 * steps, (190.0, 290.0))
    section = training_section(learned)
    assert section.count("<svg") == steps - 1
    assert ("needs a longer --budget" in section) == (steps == 1)


def test_demo_without_shipped_weights(
    config: CrossnetsConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shrink(monkeypatch)
    monkeypatch.setattr(command, "SHIPPED", tmp_path / "nothing")
    out = tmp_path / "demo"
    page = run(config, out)
    said = "This version has no weights, so the demo shows only the model that it trains."
    assert capsys.readouterr().err.count(said) == 1
    assert said in page
    assert "<td>shipped model" not in page
    (model,) = json.loads((out / "numbers.json").read_text())["models"]
    assert f"{model['mean_mm']:.2f} mm" in page


def test_only_an_earlier_demo_is_replaced(config: CrossnetsConfig, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "run").write_text("mine")
    with pytest.raises(FileExistsError, match="other is not empty and does not contain a demo"):
        command._clear(other)
    with pytest.raises(FileExistsError, match=r"is a file\. Give a folder"):
        command._clear(other / "run")
    assert (other / "run").read_text() == "mine"
    earlier = tmp_path / "earlier"
    command._clear(earlier)
    (earlier / "run").mkdir()
    for name in ("run/log.jsonl", "index.html", "note.txt"):
        (earlier / name).write_text("old")
    command._clear(earlier)
    assert sorted(path.name for path in earlier.iterdir()) == [command.MARK, "note.txt"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 1}, "--frames 1, expected 2 to 2000"),
        ({"budget": "soon"}, "--budget soon: expected a time such as 90s"),
        ({"model": Path("nowhere")}, "No model at nowhere"),
    ],
)
def test_invalid_arguments_raise(config: CrossnetsConfig, tmp_path: Path, options: dict, message: str) -> None:
    out = tmp_path / "demo"
    given = {"budget": "1s", "frames": FRAMES, "model": None, "open_page": False} | options
    with pytest.raises((ValueError, OSError), match=message):
        demo_command(config, out=out, **given)
    assert not out.exists()


def test_held_out_hands_are_reproducible_and_separate_from_training(config: CrossnetsConfig) -> None:
    first = hands.HeldOutHands(config, 4)
    assert [frame.key for frame in first.frames] == [
        "realsense-d435/000", "cvar-senz3d/000", "realsense-d435/001", "cvar-senz3d/001",
    ]  # fmt: skip
    assert first.frames[0].depth_mm.shape == (480, 640)
    assert len(first.seen_mm2) == 4
    assert all(0 <= area < 25_000 for area in first.seen_mm2)
    assert first.frames[1].camera != first.frames[0].camera
    again = hands.HeldOutHands(config, 4)
    np.testing.assert_array_equal(first.centers_mm, again.centers_mm)
    np.testing.assert_array_equal(first.frames[3].depth_mm, again.frames[3].depth_mm)
    other = hands.HeldOutHands(replace(config, seed=4), 4)
    assert (first.joints_mm != other.joints_mm).any()
    assert all(source.seed < hands._HELD_OUT for source in config.rendered.sources)


def test_command_line_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict = {}
    monkeypatch.setattr(command, "demo_command", lambda config, **options: given.update(options, seed=config.seed))
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    words = ["demo", "--out", str(tmp_path), "--budget", "5s", "--frames", "9", "--seed", "7", "--no-open-page"]
    monkeypatch.setattr(sys, "argv", ["crossnets", *words])
    cli.main()
    expected = {"out": tmp_path, "budget": "5s", "frames": 9, "model": None, "open_page": False, "seed": 7}
    assert given == expected


def test_browser_opens_only_with_a_display(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(command.webbrowser, "open", opened.append)
    monkeypatch.setattr(command.platform, "system", lambda: "Linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    page = tmp_path / "index.html"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    command._show(page, True)
    assert not opened
    monkeypatch.setenv("DISPLAY", ":0")
    command._show(page, False)
    assert not opened
    command._show(page, True)
    assert opened == [page.as_uri()]
