"""The page in headless Chromium, with the virtual camera: it loads, moves, and survives reloads and more viewers."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossnets.cameras.virtual import VirtualCamera
from crossnets.datasets.recording import Recording
from crossnets.inference.hand import Hand
from crossnets.types import Pinhole
from crossnets.viewer.reading import Reading
from crossnets.viewer.server import LiveServer
from crossnets.viewer.state import LiveState

pytestmark = pytest.mark.slow


class Knows:
    """A tracker that knows the joints from the frames of the source at the same times."""

    def __init__(self) -> None:
        self.stages_ms = {"find": 1.0, "crop": 2.0, "network": 3.0, "joints": 0.5}
        self.scale_faults: list[str] = []
        self._film = VirtualCamera("icvl-senz3d", 1)
        self._frames = iter(self._film)

    def track(self, depth_mm: Any, camera: Pinhole, time_s: float | None = None) -> list[Hand]:
        joints_mm = next(self._frames).joints_mm
        assert joints_mm is not None
        assert self._film.skeleton is not None
        std_mm = np.linspace(2, 9, len(joints_mm), dtype=np.float32)
        return [Hand(joints_mm, self._film.skeleton, camera, std_mm, side="right", side_probability=0.9)]

    def reset(self) -> None: ...


class Live:
    """A server with the virtual camera."""

    def __init__(self, record_to: Path, port: int = 0) -> None:
        self.record_to = record_to
        self.state = LiveState("virtual", "stand-in", 4.0)
        self.server = LiveServer(self.state, "127.0.0.1", port)
        source = VirtualCamera("icvl-senz3d", 1)
        self.reading = Reading(source.__enter__(), lambda: source, Knows(), self.state, record_to)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()
        self.reading.start()

    def close(self) -> None:
        self.reading.close()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    made = Live(tmp_path / "records")
    yield made
    made.close()


@pytest.fixture
def browser() -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("Chromium is missing. Run apt-get install chromium.")
    api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with api.sync_playwright() as player:
        found = player.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


def open_page(browser: Any, url: str) -> Any:
    page = browser.new_page(viewport={"width": 1100, "height": 780})
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: page.faults.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: page.faults.append(asked.url) if not asked.url.startswith(url) else None)
    page.goto(url)
    moves(page)
    return page


def until(page: Any, expression: str) -> None:
    """Playwright's own waiting evaluates text inside the page, which the page's content policy forbids."""
    end = time.monotonic() + 20
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def frame_of(page: Any) -> int:
    return int(page.evaluate("Number(document.body.dataset.frame ?? -1)"))


def moves(page: Any) -> None:
    """New frames come, and both pictures change."""
    until(page, "document.body.dataset.frame !== undefined")
    before = [pixels(page, name) for name in ("picture", "cloud")]
    start = frame_of(page)  # after the pictures: a page that was back in time may jump to now in between
    until(page, f"Number(document.body.dataset.frame) > {start + 15}")
    assert all(a != b for a, b in zip(before, [pixels(page, name) for name in ("picture", "cloud")], strict=True))


def pixels(page: Any, name: str) -> str:
    return page.evaluate(f"document.getElementById('{name}').toDataURL()")


def colours(page: Any, name: str) -> int:
    """Pixels that are as colourful as a skeleton."""
    return page.evaluate(
        """name => { const c = document.getElementById(name);
        const p = c.getContext("2d").getImageData(0, 0, c.width, c.height).data; let n = 0;
        for (let i = 0; i < p.length; i += 4) n += Math.max(p[i], p[i+1], p[i+2]) - Math.min(p[i], p[i+1], p[i+2]) > 90;
        return n; }""",
        name,
    )


def test_two_viewers_a_reload_pause_scrub_and_record(browser: Any, live: Live) -> None:
    page = open_page(browser, live.server.url)
    assert page.inner_text("#status") == "live"
    assert "virtual · 320 \u00d7 240 · model stand-in" in page.inner_text("#about")
    assert colours(page, "picture") > 200, "a skeleton on the image"
    assert colours(page, "cloud") > 200, "a skeleton in the cloud"
    assert page.inner_text("#steps tr:last-child").split() == ["all", "6.5"]
    assert "right hand" in page.inner_text("#hands")

    second = open_page(browser, live.server.url)
    page.reload()
    moves(page)

    page.click("#pause")
    until(second, "document.getElementById('status').dataset.kind === 'paused'")
    until(page, "document.getElementById('status').dataset.kind === 'paused'")
    page.wait_for_timeout(300)
    first, last = (int(page.get_attribute("#scrub", end) or -1) for end in ("min", "max"))
    assert last - first > 10
    page.fill("#scrub", str(first + 3))
    until(page, f"Number(document.body.dataset.frame) === {first + 3}")
    page.focus("body")
    page.keyboard.press("ArrowRight")
    until(page, f"Number(document.body.dataset.frame) === {first + 4}")
    assert page.inner_text("#time").startswith("\u2212")
    assert frame_of(second) == last, "each viewer goes back by itself"
    second.click("#pause")
    moves(page)

    turned = pixels(page, "cloud")
    page.drag_and_drop("#cloud", "#cloud", source_position={"x": 200, "y": 150}, target_position={"x": 90, "y": 150})
    assert pixels(page, "cloud") != turned
    for kind in ("paused", "live"):
        page.keyboard.press("Space")  # also while the cloud has the focus
        for viewer in (second, page):  # the next press is the other way only when this page knows of the first
            until(viewer, f"document.getElementById('status').dataset.kind === '{kind}'")

    page.click("#record")
    until(page, "/Stop, [1-9]/.test(document.getElementById('record').innerText)")
    second.click("#record")
    until(page, "document.getElementById('record').innerText.trim() === 'Record'")
    (folder,) = live.record_to.iterdir()
    assert len(Recording(folder)) >= 1
    assert not page.faults + second.faults


def test_a_phone_shows_all_labels_scrolls_and_pinches(browser: Any, live: Live) -> None:
    phone = browser.new_context(viewport={"width": 400, "height": 700}, has_touch=True, is_mobile=True)
    page = phone.new_page()
    page.goto(live.server.url)
    moves(page)
    until(page, "document.querySelector('.finger') !== null")
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    cut = "[...document.querySelectorAll('body *')].filter(e => e.clientWidth && e.scrollWidth > e.clientWidth + 1)"
    assert page.evaluate(f"{cut}.map(e => e.outerHTML)") == []
    assert page.evaluate("[...document.querySelectorAll('.finger label')].every(e => e.clientHeight < 24)")
    assert "100 %" not in page.inner_text("#hands")
    assert page.inner_text("figure:nth-of-type(2) figcaption").endswith("pinch zooms, double tap resets")
    page.click("#pause")
    until(page, "document.getElementById('status').dataset.kind === 'paused'")
    page.wait_for_timeout(300)
    box = page.locator("#cloud").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    fingers = phone.new_cdp_session(page)

    def touch(kind: str, apart_px: float) -> None:
        points = [{"x": x + sign * apart_px / 2, "y": y, "id": number} for number, sign in enumerate((-1, 1))]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points if kind != "touchEnd" else []})

    before, small = pixels(page, "cloud"), colours(page, "cloud")
    touch("touchStart", 60)
    for apart_px in (80, 100, 120):
        touch("touchMove", apart_px)
    touch("touchEnd", 0)
    page.wait_for_timeout(200)
    assert pixels(page, "cloud") != before
    assert colours(page, "cloud") > 1.5 * small, "the hand is larger"
    swipe = {"x": x, "y": y, "yDistance": -200, "gestureSourceType": "touch"}
    fingers.send("Input.synthesizeScrollGesture", swipe)
    assert page.evaluate("scrollY") > 100
    phone.close()


def test_a_recording_that_was_asked_for_while_paused_can_be_taken_back(browser: Any, live: Live) -> None:
    page = open_page(browser, live.server.url)
    page.click("#pause")
    until(page, "document.getElementById('status').dataset.kind === 'paused'")
    page.click("#record")
    until(page, "document.getElementById('record').innerText.trim() === 'Records on resume'")
    page.click("#record")
    until(page, "document.getElementById('record').innerText.trim() === 'Record'")
    page.click("#pause")
    moves(page)
    assert not live.record_to.exists()


def test_going_back_while_live_stays_there_though_answers_are_late(browser: Any, live: Live) -> None:
    page = browser.new_page()
    page.add_init_script(
        """const real = fetch; window.fetch = async (url, ...rest) => { const answer = await real(url, ...rest);
        if (url.startsWith("/next")) await new Promise((done) => setTimeout(done, 300)); return answer; }"""
    )
    page.goto(live.server.url)
    until(page, "Number(document.body.dataset.frame) > 5")
    page.keyboard.press("ArrowLeft")
    until(page, "document.getElementById('status').dataset.kind === 'paused'")
    page.wait_for_timeout(1000)
    assert frame_of(page) < live.state.look()[3][2]
    page.keyboard.press("Space")
    moves(page)


def test_the_page_reports_an_error_and_recovers(browser: Any, live: Live) -> None:
    page = open_page(browser, live.server.url)
    live.reading.close()
    live.state.closed = False
    live.state.update(message="realsense: it was unplugged. Trying again in 2 s.")
    page.wait_for_selector("#message:not([hidden])")
    assert page.inner_text("#message") == "realsense: it was unplugged. Trying again in 2 s."
    assert page.get_attribute("#status", "data-kind") == "lost"
    port = live.server.server_address[1]
    live.close()
    until(page, "document.getElementById('status').innerText.includes('connection lost')")
    again = Live(live.record_to, port)
    try:
        until(page, "document.getElementById('status').dataset.kind === 'live'")
        moves(page)
    finally:
        again.close()
