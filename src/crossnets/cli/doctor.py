"""The command `doctor`: check a camera, folder or data set."""

import itertools
import sys
from typing import Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import crossnets
from crossnets.cli.arguments import Source
from crossnets.datasets.dataset import HandDataset, Problem
from crossnets.inference.doctor import diagnose
from crossnets.inference.sources import frames_of, open_frames

_COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}


def doctor(
    source: Source,
    camera: str | None = None,
    frames: int = 60,
    split: Literal["train", "test"] = "test",
) -> None:
    """Check a camera, recording, folder or data set for mistakes that give wrong joints without an error.

    Wrong intrinsics, depth that is not in mm, filters that change depth, frozen cameras, and labels that do not fit are
    named with what to do. The exit code is 1 if there is a fault.

    Example: crossnets doctor realsense

    Args:
        source: What `crossnets predict` takes, such as realsense, a recording, a folder of PNGs, or nyu:PATH.
        camera: Camera of PNGs without camera.json and of .npy files.
        frames: Frames to check. They are the first ones.
        split: Split of NYU, ICVL, HANDS17, FPHA, DexYCB, HO-3D, H2O-3D and H2O.
    """
    if frames < 1:
        raise ValueError(f"--frames {frames}: expected 1 or more.")
    (opened,) = open_frames([source], camera, split)
    problems: list[Problem] = list(opened.problems) if isinstance(opened, HandDataset) else []
    read = [frame for _, frame in itertools.islice(frames_of(opened, problems), frames)]
    skeleton = opened.skeleton if isinstance(opened, HandDataset) else None
    tracker = crossnets.load()
    checks = diagnose(read, skeleton, tracker.predict, problems)
    table = Table("check", "", "found", "what to do", title=escape(source), title_justify="left")
    for check in checks:
        verdict = f"[{_COLOURS[check.verdict]}]{check.verdict}[/]"
        table.add_row(check.name, verdict, escape(check.found), escape(check.fix))
    Console().print(table)
    if any(check.verdict == "fault" for check in checks):
        sys.exit(1)
