"""The page of a demo: one file that loads nothing."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np

from crossnets import metrics
from crossnets.demo import charts
from crossnets.demo.hands import FOUND_MM, HeldOutHands
from crossnets.demo.measure import Result
from crossnets.demo.small import Learned
from crossnets.demo.walk import Walk
from crossnets.evaluation.report.examples import Example, pictures
from crossnets.evaluation.report.page import gallery_html, row_html, section_html, table_html
from crossnets.evaluation.table import mm

WORST, OTHERS, AGAIN = 5, 20, 5
"""Pictures of the best model's worst frames, of others, and of the other model on the first of these."""
HEADS = ("", "mean mm", "median mm", "≤ 40 mm", "ms/frame", "parameters")
_STYLE = """
.frames { grid-template-columns: repeat(5, 1fr); }
.frames figcaption { font-size: .78rem; }
.walk { display: grid; grid-template-columns: 1fr 2fr 1fr; gap: .9rem; align-items: start; margin-top: .6rem; }
@media (max-width: 40rem) { .frames { grid-template-columns: 1fr 1fr; } .walk { grid-template-columns: 1fr; } }
.wide td { white-space: normal; text-align: left; overflow-wrap: anywhere; }
.wide td:first-child { white-space: nowrap; vertical-align: top; }
"""


@dataclass(frozen=True)
class Demo:
    """Results of a demo."""

    hands: HeldOutHands
    results: tuple[Result, ...]
    """The shipped model's, where there is one, and that of the model trained here."""
    learned: Learned
    walk: Walk | None
    notes: tuple[str, ...]
    share_found: float
    steps_s: dict[str, float]
    environment: dict[str, Any]
    """Environment of the run, as in a run folder."""
    command: str


@dataclass(frozen=True)
class Gallery:
    """A row of pictures."""

    title: str
    examples: list[Example]


def cells(result: Result) -> list[str]:
    """A row under `HEADS`, but for the name."""
    scores = result.evaluation.scores
    within = f"{100 * result.within_40:.1f} %"
    return [mm(scores.mean_mm), mm(scores.median_mm), within, f"{result.ms_per_frame:.1f}", f"{result.parameters:,}"]


def galleries(hands: HeldOutHands, results: Sequence[Result]) -> list[Gallery]:
    """The worst frames of the first model, the first of the others as they were rendered, and the second model's."""
    compared = results[0].evaluation.compared
    errors = metrics.joint_errors_mm(compared.predicted_mm, compared.labels_mm).mean(axis=1)
    worst = np.argsort(-errors, kind="stable")[:WORST].tolist()
    others = [index for index in range(len(hands)) if index not in worst][:OTHERS]
    first = results[0].name
    found = [
        Gallery(f"The worst {len(worst)} of {len(hands)}: {first}", pictures(compared, hands, worst)),
        Gallery(f"As they came, but for the worst {len(worst)}: {first}", pictures(compared, hands, others)),
    ]
    for result in results[1:]:
        again = pictures(result.evaluation.compared, hands, others[:AGAIN])
        found.append(Gallery(f"The first of those hands again: {result.name}", again))
    return found


def page(demo: Demo, shown: Sequence[Gallery]) -> str:
    """The whole page."""
    style = (files("crossnets.evaluation.report") / "style.css").read_text(encoding="utf-8") + _STYLE
    worst, *others = (gallery_html(gallery.title, gallery.examples) for gallery in shown)
    body = [
        "<h1>3D hand pose from one depth image</h1>",
        f'<p class="soft">{escape(_circumstances(demo))}</p>',
        *(f'<p class="note">{escape(note)}</p>' for note in demo.notes),
        _tiles(demo),
        _summary(demo),
        *others[:1],
        worst,
        _walk(demo.walk),
        section_html("Frames and joints within a distance", _WITHIN, charts.curves(demo.results)),
        section_html("Error of each joint", "", charts.joints(demo.results)),
        _training(demo),
        *others[1:],
        _machine(demo),
        '<p class="soft">Made by crossnets. Every number was measured in this run. One file, which loads nothing.</p>',
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>crossnets demo</title>\n<style>\n{style}</style></head>\n"
        "<body><main>\n" + "\n".join(part for part in body if part) + "\n</main></body></html>\n"
    )


_WITHIN = "A frame is within t when its worst joint is; dashed: every joint for itself."


def _circumstances(demo: Demo) -> str:
    hands = demo.hands
    cameras = list(dict.fromkeys(frame.sequence for frame in hands.frames))
    return (
        f"{len(hands)} rendered hands that no training has seen, in {len(cameras)} cameras ({', '.join(cameras)}), "
        "with their noise and with sleeves, things, other hands and people around. They are rendered, not real. "
        "Crops are centred on the mean of the labelled joints, moved at random by "
        f"{hands.spread_mm:g} mm in each axis, as in training. From the image alone a hand is found within "
        f"{FOUND_MM:g} mm of the labelled one in {100 * demo.share_found:.0f} % of these frames."
    )


def _tiles(demo: Demo) -> str:
    first = demo.results[0]
    tiles = [
        (f"{mm(first.evaluation.scores.mean_mm)} mm", f"mean joint error, {first.name}"),
        (f"{100 * first.within_40:.1f} %", "frames whose worst joint is within 40 mm"),
        (f"{first.ms_per_frame:.1f} ms", f"for one frame, {_threads(demo)}"),
    ]
    tiles += [(f"{mm(r.evaluation.scores.mean_mm)} mm", f"mean joint error, {r.name}") for r in demo.results[1:]]
    tiles += [(f"{sum(demo.steps_s.values()):.0f} s", "for all of this")]
    inside = "".join(f'<div class="tile"><b>{escape(b)}</b><span>{escape(name)}</span></div>' for b, name in tiles)
    return f'<div class="tiles">{inside}</div>'


def _summary(demo: Demo) -> str:
    rows = "".join(row_html([result.name, *cells(result)], "all") for result in demo.results)
    cameras = []
    for result in demo.results:
        for camera, part in result.evaluation.scores.sequences.items():
            within = f"{100 * part.frames_within_mm[40]:.1f} %"
            row = [f"{result.name}: {camera}", mm(part.mean_mm), mm(part.median_mm), within, "", ""]
            cameras.append(row_html(row, ""))
    text = (
        "Distances between estimated and true joints in camera space, nothing aligned; frames whose worst joint is "
        "within 40 mm; time of a frame alone. Always answering the mean of these poses, in the middle of the crop, "
        f"would give {mm(demo.hands.mean_pose_error_mm())} mm."
    )
    return section_html("Errors", text, table_html(HEADS, rows + "".join(cameras)))


def _walk(found: Walk | None) -> str:
    if found is None:
        return ""
    start, end = found.ends
    gif = base64.b64encode(found.path.read_bytes()).decode("ascii")
    inside = (
        _picture(f"from {start.key}", "png", start.png_base64)
        + _picture("generated, with and without the pose that the same latents decode to", "gif", gif)
        + _picture(f"to {end.key}", "png", end.png_base64)
    )
    text = "A straight line between the latents of two images; each point of it decodes to a pose and to a depth map."
    return section_html("A walk through the latent space", text, f'<div class="walk">{inside}</div>')


def _picture(caption: str, kind: str, data: str) -> str:
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/{kind};base64,{data}"><figcaption>{text}</figcaption></figure>'


def _training(demo: Demo) -> str:
    learned = demo.learned
    text = (
        f"{learned.steps[-1]:,} steps, {learned.samples:,} rendered hands (half of them mirrors of the others), from "
        "random weights. The distance of the joints from where they are, mean of each batch, in halves of its crops' "
        f"cubes, which are {learned.cube_mm[0]:g} to {learned.cube_mm[1]:g} mm wide."
    )
    return section_html("Training from scratch", text, charts.loss(learned))


def _machine(demo: Demo) -> str:
    environment = demo.environment
    packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    rows = {
        "command": demo.command,
        "machine": f"{environment['processor']}, {_threads(demo)}, {environment['platform']}",
        "versions": f"Python {environment['python']}, {packages}",
        "started": environment["started"],
        **{name: f"{seconds:.1f} s" for name, seconds in demo.steps_s.items()},
    }
    body = "".join(_fact(name, value) for name, value in rows.items())
    return section_html("How this page was made", "", f'<table class="wide"><tbody>{body}</tbody></table>')


def _threads(demo: Demo) -> str:
    count = demo.environment["threads"]
    return f"{count} thread{'s' * (count != 1)}"


def _fact(name: str, value: str) -> str:
    return f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"


def numbers(demo: Demo) -> dict[str, Any]:
    """Numbers of the page, as strict JSON."""
    models: Iterable[dict[str, Any]] = (
        {
            "name": result.name,
            "ms_per_frame": result.ms_per_frame,
            "parameters": result.parameters,
            **result.evaluation.scores.to_dict(),
        }
        for result in demo.results
    )
    return {
        "command": demo.command,
        "models": list(models),
        "share_found": demo.share_found,
        "mean_pose_error_mm": demo.hands.mean_pose_error_mm(),
        "training": {"steps": demo.learned.steps[-1], "samples": demo.learned.samples},
        "steps_s": demo.steps_s,
        "environment": demo.environment,
    }
