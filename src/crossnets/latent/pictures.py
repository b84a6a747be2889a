"""Pictures of generated hands: depth maps, skeletons on them, sheets of both, and films."""

import base64
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from crossnets.atomic import replacing, write_text
from crossnets.datasets.png import encode_png
from crossnets.draw import depth_to_rgb, draw_skeleton
from crossnets.geometry.crop import CROP_PX
from crossnets.geometry.skeleton import Skeleton

_BACKGROUND = 0.9
"""Larger values of a map are drawn as background. Background itself is +1."""
_HALF_CUBE_MM = 125.0
_MIDDLE_MM = 1000.0
"""Half the side and the distance of the cube that a map is shaded for. A map itself has no scale."""
_GIF_FRAME_MS = 90
_GAP_PX = 4
_CAPTION_PX = 20
_PAPER_RGB = 255
_TEXT_RGB = (40, 40, 40)
_MOST_CAPTION = 34
"""Largest number of characters over a picture. Longer captions keep their end."""

Picture: TypeAlias = UInt8[np.ndarray, "_ _ 3"]


def map_to_rgb(depth: Float32[np.ndarray, "S S"], times: int = 2) -> Picture:
    """Shade a normalised depth map, -1 to 1, and enlarge it."""
    seen = depth <= _BACKGROUND
    pseudo_mm = np.where(seen, _MIDDLE_MM + _HALF_CUBE_MM * depth, 0).astype(np.float32)
    large = cv2.resize(depth_to_rgb(pseudo_mm), None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.uint8)


def with_skeleton(picture: Picture, points_px: Float[np.ndarray, "J 2"], skeleton: Skeleton) -> Picture:
    """Draw joints, given in pixels of the crop, over the enlarged crop."""
    times = picture.shape[0] / CROP_PX
    return draw_skeleton(picture, times * (points_px + 0.5) - 0.5, skeleton)


def sheet(columns: Sequence[tuple[str, Picture, Picture]]) -> Picture:
    """Arrange columns on a white page. A column has a caption and two pictures, one above the other, of equal size."""
    height, width, _ = columns[0][1].shape
    size = (_CAPTION_PX + 2 * (height + _GAP_PX), _GAP_PX + len(columns) * (width + _GAP_PX), 3)
    page = np.full(size, _PAPER_RGB, np.uint8)
    for k, (caption, upper, lower) in enumerate(columns):
        left = _GAP_PX + k * (width + _GAP_PX)
        text = caption[-_MOST_CAPTION:]
        cv2.putText(page, text, (left, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _TEXT_RGB, 1, cv2.LINE_AA)
        for row, picture in enumerate((upper, lower)):
            top = _CAPTION_PX + row * (height + _GAP_PX)
            page[top : top + height, left : left + width] = picture
    return page


def save_gif(path: Path, plain: Sequence[Picture], drawn: Sequence[Picture]) -> None:
    """Write an endless film that runs forwards and backwards. It shows `drawn` beside `plain`, above a progress bar.

    From n frames it makes 2 n - 2. All frames share one palette. Half of the palette is for the few pixels of the
    skeleton. A palette from all pixels would lose the colours of the fingers.
    """
    last = len(plain) - 1
    frames = [_film_frame(left, right, k / last) for k, (left, right) in enumerate(zip(drawn, plain, strict=True))]
    different = [(a != b).any(-1) for a, b in zip(drawn, plain, strict=True)]
    lines = np.concatenate([picture[mask] for picture, mask in zip(drawn, different, strict=True)])
    surfaces = np.concatenate([picture.reshape(-1, 3)[::7] for picture in plain])
    colours = _common_colours(surfaces, 120) + _common_colours(lines, 120) + [_PAPER_RGB] * 3 + list(_TEXT_RGB)
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    images += images[-2:0:-1]
    with replacing(path) as part:
        images[0].save(
            part, format="GIF", save_all=True, append_images=images[1:], duration=_GIF_FRAME_MS, loop=0, optimize=False
        )


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px system-ui, sans-serif; margin: 1.5rem auto; max-width: 50rem; padding: 0 1rem; }}
.maps {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: 0.5rem; }}
.maps img {{ width: 100%; }}
input {{ width: 100%; }}
</style></head>
<body><h1>{title}</h1>
<p>Each step is one point of the latent space. On the left it is decoded to joints and to a depth map, on the right to
the depth map alone.</p>
<div class="maps"><img id="drawn" alt="depth map with joints"><img id="plain" alt="depth map"></div>
<input id="step" type="range" min="0" max="{last}" value="0" aria-label="step">
<p>Step <output id="number">0</output> of {last}</p>
<script>
const pictures = {pictures};
const slider = document.getElementById("step");
function show() {{
  const step = Number(slider.value);
  for (const name of ["drawn", "plain"])
    document.getElementById(name).src = "data:image/png;base64," + pictures[name][step];
  document.getElementById("number").value = step;
}}
slider.addEventListener("input", show);
show();
</script></body></html>
"""


def save_walk_page(path: Path, title: str, drawn: Sequence[Picture], plain: Sequence[Picture]) -> None:
    """Write a page with a slider over the steps of a walk. It needs no other files."""
    pictures = {"drawn": [_png_base64(p) for p in drawn], "plain": [_png_base64(p) for p in plain]}
    write_text(path, _PAGE.format(title=escape(title), last=len(plain) - 1, pictures=json.dumps(pictures)))


def _png_base64(picture: Picture) -> str:
    return base64.b64encode(encode_png(picture)).decode("ascii")


def _common_colours(pixels: UInt8[np.ndarray, "P 3"], count: int) -> list[int]:
    """Return the most frequent colours as RGB. Without pixels the list is empty."""
    if not len(pixels):
        return []
    few = Image.fromarray(pixels[None]).quantize(colors=count, method=Image.Quantize.MEDIANCUT)
    return few.getpalette() or []


def _film_frame(left: Picture, right: Picture, share: float) -> Picture:
    """Join two pictures and the progress bar. The bar differs in each frame, so that the writer drops none of them."""
    picture = np.concatenate([left, right], axis=1)
    bar = np.full((_GAP_PX, picture.shape[1], 3), _PAPER_RGB, np.uint8)
    bar[:, : 1 + round(share * (picture.shape[1] - 1))] = _TEXT_RGB
    return np.concatenate([picture, bar])
