"""HTML page of a demo. It is a single file that loads no others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from crossnets import metrics
from crossnets.demo import charts
from crossnets.demo.hands import FOUND_MM, HeldOutHands
from crossnets.demo.measure import Result
from crossnets.demo.small import Learned
from crossnets.evaluation.report.examples import Example, pictures
from crossnets.evaluation.report.page import (
    gallery_html,
    page_html,
    row_html,
    section_html,
    table_html,
    tiles_html,
)
from crossnets.evaluation.table import mm

WORST = 4
"""Number of pictures of the first model's worst frames."""
OTHERS = 16
"""Number of pictures of its other frames."""
REPEATED = 4
"""Number of these other frames that are shown again for the second model."""
HEADS = ("", "mean mm", "median mm", "≤ 40 mm", "ms per frame", "parameters")
_SEEN_MM2 = 5000.0
"""Area of the hand that the camera must see in a picture of the first frames. Honest numbers count all frames."""
_STYLE = """
.frames { grid-template-columns: repeat(auto-fill, minmax(min(100%, 13rem), 1fr)); }
.wide td { white-space: normal; text-align: left; overflow-wrap: anywhere; }
.wide td:first-child { white-space: nowrap; vertical-align: top; }
"""


@dataclass(frozen=True)
class Demo:
    """Results of a demo."""

    hands: HeldOutHands
    results: tuple[Result, ...]
    """Results of the shipped model, if it exists, and of the model trained in the demo."""
    learned: Learned
    notes: tuple[str, ...]
    share_found: float
    steps_s: dict[str, float]
    environment: dict[str, Any]
    """Environment of the demo, as a run folder stores it."""
    command: str


@dataclass(frozen=True)
class Gallery:
    """A titled group of pictures."""

    title: str
    examples: list[Example]


def cells(result: Result) -> list[str]:
    """Cells of a table row under `HEADS`, without the name."""
    scores = result.evaluation.scores
    within = f"{100 * result.within_40:.1f} %"
    return [mm(scores.mean_mm), mm(scores.median_mm), within, f"{result.ms_per_frame:.1f}", f"{result.parameters:,}"]


def galleries(hands: HeldOutHands, results: Sequence[Result]) -> list[Gallery]:
    """The first model's worst frames, other frames that show enough of the hand, and some of these for other models.

    Hands that hide behind other things are counted in all numbers, and can be among the worst.
    """
    compared = results[0].evaluation.compared
    errors = metrics.joint_errors_mm(compared.predicted_mm, compared.labels_mm).mean(axis=1)
    worst = np.argsort(-errors, kind="stable")[:WORST].tolist()
    seen = [index for index in range(len(hands)) if hands.seen_mm2[index] >= _SEEN_MM2]
    others = [index for index in seen if index not in worst][:OTHERS]
    first = results[0].name
    shown = [
        Gallery(f"The worst {len(worst)} of {len(hands)}: {first}", pictures(compared, hands, worst)),
        Gallery(
            f"The first hands of which at least {_SEEN_MM2 / 100:.0f} cm² are seen: {first}",
            pictures(compared, hands, others),
        ),
    ]
    for result in results[1:]:
        repeated = pictures(result.evaluation.compared, hands, others[:REPEATED])
        shown.append(Gallery(f"The same hands: {result.name}", repeated))
    return shown


def page(demo: Demo, shown: Sequence[Gallery]) -> str:
    """HTML of the page."""
    worst, *others = (gallery_html(gallery.title, gallery.examples) for gallery in shown)
    body = [
        "<h1>3D hand pose from one depth image</h1>",
        f'<p class="soft">{escape(_circumstances(demo))}</p>',
        *(f'<p class="note">{escape(note)}</p>' for note in demo.notes),
        _tiles(demo),
        _summary(demo),
        *others[:1],
        worst,
        section_html("Frames and joints within a distance", _WITHIN, charts.curves(demo.results)),
        section_html("Error of each joint", "", charts.joints(demo.results)),
        training_section(demo.learned),
        *others[1:],
        _machine(demo),
        '<p class="soft">Made by crossnets. All numbers were measured in this run. '
        "This page is a single file and loads no others.</p>",
    ]
    return page_html("crossnets demo", body, _STYLE)


_WITHIN = "A frame is within t if its worst joint is. Dashed curves count each joint singly."


def _circumstances(demo: Demo) -> str:
    hands = demo.hands
    cameras = list(dict.fromkeys(frame.sequence for frame in hands.frames))
    return (
        f"{len(hands)} rendered hands that no training uses, seen by {len(cameras)} cameras ({', '.join(cameras)}) "
        "with their sensor noise. The scenes have sleeves, objects, other hands and people. The hands are rendered, "
        "not real. Crops are centred on the mean of the labelled joints plus random offsets with a deviation of "
        f"{hands.spread_mm:g} mm in each axis, as in training. The detector finds a hand within {FOUND_MM:g} mm of the "
        f"labelled one in {100 * demo.share_found:.0f} % of these frames."
    )


def _tiles(demo: Demo) -> str:
    first = demo.results[0]
    tiles = [
        (f"{mm(first.evaluation.scores.mean_mm)} mm", f"mean joint error, {first.name}"),
        (f"{100 * first.within_40:.1f} %", "frames whose worst joint is within 40 mm"),
        (f"{first.ms_per_frame:.1f} ms", f"per frame, {_threads(demo)}"),
    ]
    tiles += [(f"{mm(r.evaluation.scores.mean_mm)} mm", f"mean joint error, {r.name}") for r in demo.results[1:]]
    tiles += [(f"{sum(demo.steps_s.values()):.0f} s", "for the whole demo")]
    return tiles_html(tiles)


def _summary(demo: Demo) -> str:
    rows = "".join(row_html([result.name, *cells(result)], "all") for result in demo.results)
    cameras = []
    for result in demo.results:
        for camera, part in result.evaluation.scores.sequences.items():
            within = f"{100 * part.frames_within_mm[40]:.1f} %"
            row = [f"{result.name}: {camera}", mm(part.mean_mm), mm(part.median_mm), within, "", ""]
            cameras.append(row_html(row, ""))
    text = (
        "Distances between estimated and labelled joints in camera space without alignment. ≤ 40 mm is the share of "
        "frames whose worst joint is within 40 mm. Times are medians of crossnets.load(MODEL).predict(depth, camera), "
        "which finds the hand itself. The card of the shipped model has errors of that call, on other frames, so they "
        "differ somewhat. A constant estimate, the mean of these poses at the centre of the crop, has an error of "
        f"{mm(demo.hands.mean_pose_error_mm())} mm."
    )
    return section_html("Errors", text, table_html(HEADS, rows + "".join(cameras)))


def training_section(learned: Learned) -> str:
    """Describe the training, with the curve of its errors if it had more than one step."""
    text = (
        f"Training began with random weights and took {learned.steps[-1]:,} steps on {learned.samples:,} rendered "
        "hands. Half of the hands are mirror images of the others. "
    )
    if len(learned.steps) < 2:
        return section_html("Training from scratch", text + "A curve of its errors needs a longer --budget.", "")
    text += (
        "The curve shows the mean joint distance of each batch in half sides of the crops' cubes, which are "
        f"{learned.cube_mm[0]:g} to {learned.cube_mm[1]:g} mm wide."
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
    body = "".join(row_html([name, value], "") for name, value in rows.items())
    return section_html("How this page was made", "", f'<table class="wide"><tbody>{body}</tbody></table>')


def _threads(demo: Demo) -> str:
    count = demo.environment["threads"]
    return f"{count} thread{'s' * (count != 1)}"


def numbers(demo: Demo) -> dict[str, Any]:
    """Numbers of the page as strict JSON."""
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
