"""The code of docs/cameras.md for each camera kit, run with stand-ins that have the names of the kits alone."""

import re
import sys
from datetime import timedelta
from functools import reduce
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import crossnets
from crossnets.types import Pinhole

PAGE = Path(__file__).parents[2] / "docs" / "cameras.md"
LENS = (0.05, -0.02, 0.001, -0.002, 0.01, 0.03, -0.01, 0.004)
"""In OpenCV's order: k1, k2, p1, p2, k3, k4, k5, k6."""
UNIT_MM = 0.25


@pytest.fixture(scope="module")
def frame() -> tuple[np.ndarray, Pinhole]:
    with crossnets.open("virtual") as camera:
        shown = next(iter(camera))
    assert isinstance(shown.camera, Pinhole)
    return np.round(shown.depth_mm).astype(np.uint16), shown.camera


def run(kit: str, module: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Names that the code of a kit leaves."""
    monkeypatch.setitem(sys.modules, kit, module)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if f"import {kit}" in block]
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def check(names: dict[str, Any], depth_mm: np.ndarray, camera: object) -> None:
    """The code gave the hands of this image, and its time in seconds."""
    (expected,) = crossnets.load().predict(depth_mm, camera)
    (hand,) = names["hands"]
    np.testing.assert_allclose(hand.joints_mm, expected.joints_mm, atol=1e-3)
    assert names["time_s"] == pytest.approx(12.5)


def kit(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(members)
    return module


class Calls:
    """Counts calls of methods that give nothing back."""

    def __init__(self, *names: str) -> None:
        self.made: list[str] = []
        for name in names:
            setattr(self, name, lambda *_, name=name: self.made.append(name))


def test_realsense(frame: tuple[np.ndarray, Pinhole], monkeypatch: pytest.MonkeyPatch) -> None:
    depth_mm, camera = frame
    numbers = {"fx": camera.fx_px, "fy": camera.fy_px, "ppx": camera.cx_px, "ppy": camera.cy_px}
    lens = {"model": "distortion.brown_conrady", "coeffs": [*LENS[:5]]}
    intrinsics = SimpleNamespace(**numbers, **lens, width=640, height=480)
    profile = SimpleNamespace(as_video_stream_profile=lambda: SimpleNamespace(get_intrinsics=lambda: intrinsics))
    depth = SimpleNamespace(
        get_data=lambda: (depth_mm / UNIT_MM).astype(np.uint16),
        get_units=lambda: UNIT_MM / 1000,
        get_profile=lambda: profile,
        get_timestamp=lambda: 12_500.0,
    )
    pipeline = Calls("start", "stop")
    vars(pipeline)["wait_for_frames"] = lambda: SimpleNamespace(get_depth_frame=lambda: depth)
    module = kit(
        "pyrealsense2",
        pipeline=lambda: pipeline,
        config=lambda: Calls("enable_stream"),
        stream=SimpleNamespace(depth=1),
        format=SimpleNamespace(z16=1),
    )
    check(run("pyrealsense2", module, monkeypatch), depth_mm, [*camera, *LENS[:5]])
    assert pipeline.made == ["start", "stop"]


def test_realsense_has_these_names() -> None:
    rs = pytest.importorskip("pyrealsense2")
    for name in (
        "pipeline.start",
        "pipeline.wait_for_frames",
        "pipeline.stop",
        "config.enable_stream",
        "stream.depth",
        "format.z16",
        "composite_frame.get_depth_frame",
        "depth_frame.get_data",
        "depth_frame.get_units",
        "depth_frame.get_profile",
        "depth_frame.get_timestamp",
        "stream_profile.as_video_stream_profile",
        "video_stream_profile.get_intrinsics",
    ):
        assert reduce(getattr, name.split("."), rs) is not None


def test_azure_kinect(frame: tuple[np.ndarray, Pinhole], monkeypatch: pytest.MonkeyPatch) -> None:
    depth_mm, camera = frame
    matrix = np.array([[camera.fx_px, 0, camera.cx_px], [0, camera.fy_px, camera.cy_px], [0, 0, 1]])
    calibration = SimpleNamespace(
        get_camera_matrix={"depth": matrix}.__getitem__,
        get_distortion_coefficients={"depth": np.array(LENS)}.__getitem__,
    )
    device = Calls("start", "stop")
    vars(device)["calibration"] = calibration
    vars(device)["get_capture"] = lambda: SimpleNamespace(depth=depth_mm, depth_timestamp_usec=12_500_000)

    def config(*, color_resolution: str, depth_mode: str, synchronized_images_only: bool) -> tuple[str, str, bool]:
        return color_resolution, depth_mode, synchronized_images_only

    module = kit(
        "pyk4a",
        PyK4A={("off", "narrow", False): device}.__getitem__,
        Config=config,
        ColorResolution=SimpleNamespace(OFF="off"),
        DepthMode=SimpleNamespace(NFOV_UNBINNED="narrow"),
        CalibrationType=SimpleNamespace(DEPTH="depth"),
    )
    check(run("pyk4a", module, monkeypatch), depth_mm, [*camera, *LENS])
    assert device.made == ["start", "stop"]


def test_oak(frame: tuple[np.ndarray, Pinhole], monkeypatch: pytest.MonkeyPatch) -> None:
    depth_mm, camera = frame
    matrix = [[camera.fx_px, 0, camera.cx_px], [0, camera.fy_px, camera.cy_px], [0, 0, 1]]
    depth = SimpleNamespace(
        getFrame=lambda: depth_mm,
        getTransformation=lambda: SimpleNamespace(getIntrinsicMatrix=lambda: matrix),
        getTimestamp=lambda: timedelta(seconds=12.5),
    )
    output = SimpleNamespace(createOutputQueue=lambda: SimpleNamespace(get=lambda: depth))

    class Stereo:
        depth = output

        def build(self, auto: bool, /, *, size: tuple[int, int]) -> "Stereo":
            assert auto
            assert size == (640, 400)
            return self

    class Pipeline(Calls):
        def __enter__(self) -> "Pipeline":
            return self

        def __exit__(self, *_: object) -> None:
            self.made.append("end")

        def create(self, node: type) -> Any:
            return node()

    pipeline = Pipeline("start")
    module = kit("depthai", Pipeline=lambda: pipeline, node=SimpleNamespace(StereoDepth=Stereo))
    check(run("depthai", module, monkeypatch), depth_mm, camera)
    assert pipeline.made == ["start", "end"]


def test_orbbec(frame: tuple[np.ndarray, Pinhole], monkeypatch: pytest.MonkeyPatch) -> None:
    depth_mm, camera = frame
    counts = (depth_mm / UNIT_MM).astype(np.uint16)
    numbers = SimpleNamespace(fx=camera.fx_px, fy=camera.fy_px, cx=camera.cx_px, cy=camera.cy_px, width=640, height=480)
    lens = SimpleNamespace(**dict(zip(("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"), LENS, strict=True)))
    profile = SimpleNamespace(get_intrinsic=lambda: numbers, get_distortion=lambda: lens)
    depth = SimpleNamespace(
        get_data=lambda: counts.view(np.uint8).ravel(),
        get_height=lambda: 480,
        get_width=lambda: 640,
        get_depth_scale=lambda: UNIT_MM,
        get_timestamp_us=lambda: 12_500_000,
    )
    given = iter((None, SimpleNamespace(get_depth_frame=lambda: depth)))
    profiles = SimpleNamespace(get_default_video_stream_profile=lambda: profile)
    pipeline = Calls("start", "stop")
    vars(pipeline)["wait_for_frames"] = lambda _: next(given)
    vars(pipeline)["get_stream_profile_list"] = {"depth": profiles}.__getitem__
    module = kit(
        "pyorbbecsdk",
        Pipeline=lambda: pipeline,
        Config=lambda: Calls("enable_stream"),
        OBSensorType=SimpleNamespace(DEPTH_SENSOR="depth"),
    )
    check(run("pyorbbecsdk", module, monkeypatch), depth_mm, [*camera, *LENS])
    assert pipeline.made == ["start", "stop"]
