"""Film `crossnets live` with the virtual camera in a headless Chromium, for the README.

    python scripts/live_gif.py docs/live.gif
    python scripts/live_gif.py docs/live.gif --model runs/ours --seconds 8

Needs Chromium (apt-get install chromium) and the package playwright.
"""

import base64
import io
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import tyro
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from crossnets.geometry.skeleton import COLOURS as COLOURS_OF_FINGERS

STARTS_S = 60
COLOURS = 160


class Shot(NamedTuple):
    """A picture of the page with its time."""

    at_s: float
    png: bytes


def main(
    out: tyro.conf.Positional[Path],
    model: Path | None = None,
    seconds: float = 8.0,
    fps: float = 8.0,
    width_px: int = 840,
    seed: int = 0,
    turns: bool = True,
) -> None:
    """Write the GIF.

    Args:
        out: The file. The last picture is written beside it as PNG.
        model: A model instead of that of the package.
        seconds: Length of the film.
        fps: Pictures per second.
        width_px: Width of the GIF.
        seed: Seed of the virtual hand.
        turns: Whether the point cloud turns during the film.
    """
    command = [sys.executable, "-m", "crossnets", "live", "virtual", "--port", "0", "--seed", str(seed)]
    command += [] if model is None else ["--model", str(model)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        said: list[str] = []
        while not (line := server.stderr.readline()).startswith("http"):  # warnings come first
            said.append(line)
            if not line:
                sys.exit(f"The server did not start: {''.join(said)}")
        shots = film(line.split()[0], seconds, fps, turns)
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
    save(shots, out, width_px)
    print(f"{out}: {len(shots)} pictures in {shots[-1].at_s - shots[0].at_s:.1f} s, {out.stat().st_size / 1e6:.1f} MB")


def film(url: str, seconds: float, fps: float, turns: bool) -> list[Shot]:
    """Take pictures of the page in Chromium."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("Found no Chromium. Run apt-get install chromium.")
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 745})
        page.goto(url)
        until = time.monotonic() + STARTS_S
        while not page.evaluate("Number(document.body.dataset.frame) > 20"):
            if time.monotonic() > until:
                sys.exit(f"No frames came within {STARTS_S} s.")
            page.wait_for_timeout(200)
        pictures = cast(page, seconds, fps, turns)
        browser.close()
    if not pictures:
        sys.exit(f"Chromium sent no picture within {seconds:g} s. Increase --seconds.")
    return pictures


def cast(page: Page, seconds: float, fps: float, turns: bool) -> list[Shot]:
    """Record the screencast of Chromium. Single screenshots are too slow on a small machine."""
    chromium = page.context.new_cdp_session(page)
    shots = list[Shot]()

    def keep(event: dict[str, Any]) -> None:
        chromium.send("Page.screencastFrameAck", {"sessionId": event["sessionId"]})
        at_s = float(event["metadata"]["timestamp"])
        if not shots or at_s - shots[-1].at_s >= 0.9 / fps:
            shots.append(Shot(at_s, base64.b64decode(event["data"])))

    chromium.on("Page.screencastFrame", keep)
    chromium.send("Page.startScreencast", {"format": "png", "everyNthFrame": 1})
    began = time.monotonic()
    while (passed_s := time.monotonic() - began) < seconds:
        if turns:
            turn(page, passed_s / seconds)
        page.wait_for_timeout(200)
    chromium.send("Page.stopScreencast")
    return shots


def turn(page: Page, share: float) -> None:
    """Turn the point cloud to one side and back."""
    box = page.locator("#cloud").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + (8 if 0.25 <= share < 0.75 else -8), y)
    page.mouse.up()


def save(shots: list[Shot], out: Path, width_px: int) -> None:
    """Write the pictures with one palette, so that still parts do not flicker, and with their real durations."""
    pictures = [Image.open(io.BytesIO(shot.png)).convert("RGB") for shot in shots]
    out.parent.mkdir(parents=True, exist_ok=True)
    pictures[-1].save(out.with_suffix(".png"))
    size = (width_px, round(width_px * pictures[0].height / pictures[0].width))
    small = [picture.resize(size, Image.Resampling.LANCZOS) for picture in pictures]
    palette = palette_of(small)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in small]
    lasted_ms = [round(1e3 * (after.at_s - shot.at_s)) for shot, after in pairwise(shots)]
    lasted_ms.append(lasted_ms[-1] if lasted_ms else 100)
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=lasted_ms, loop=0, optimize=True)


def palette_of(pictures: list[Image.Image]) -> Image.Image:
    """Return the most frequent colours and those of the fingers, whose thin lines have few pixels."""
    some = pictures[:: max(1, len(pictures) // 8)]
    width, height = some[0].size
    sheet = Image.new("RGB", (width, height * len(some)))
    for row, picture in enumerate(some):
        sheet.paste(picture, (0, row * height))
    common = sheet.quantize(COLOURS, dither=Image.Dither.NONE).getpalette() or []
    shades = [
        round(255 * share * part) for share in (1.0, 0.8, 0.6) for rgb in COLOURS_OF_FINGERS.values() for part in rgb
    ]
    palette = Image.new("P", (1, 1))
    palette.putpalette(common[: 3 * COLOURS] + shades)
    return palette


if __name__ == "__main__":
    tyro.cli(main)
