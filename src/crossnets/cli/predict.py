"""The command `predict`: depth images without labels to a file of joints, and a picture of each."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import tyro
from jaxtyping import UInt8
from PIL import Image
from rich.console import Console
from rich.progress import Progress

from crossnets.atomic import replacing
from crossnets.datasets.dataset import PROBLEMS_FILE, HandDataset, Problem, readable_frames, write_problems
from crossnets.datasets.images import SHOWN, open_sources, some_of
from crossnets.draw import depth_to_rgb, draw_skeleton
from crossnets.evaluation.predictions import PredictionHeader, write_predictions
from crossnets.geometry.camera import project
from crossnets.geometry.localise import FAR_MM
from crossnets.geometry.skeleton import Skeleton
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.loading import Candidates, Finding, candidates_of, estimator_for, is_model, model_name
from crossnets.inference.predict import predict_frames
from crossnets.types import HandFrame, PredictedFrame, Refinement
from crossnets.weights import SHIPPED

_OVERLAY_PX = 480
"""Smaller images are enlarged by a whole number to about this height, so that fingers can be told apart."""
_TEXT_RGB = (235, 235, 235)
_MOST_NAME = 150
"""Bytes of an overlay's file name; file systems take 255."""


def predict(
    frames: tyro.conf.Positional[tuple[str, ...]],
    camera: str | None = None,
    out: Path = Path("predictions"),
    refine: Literal["none", "update", "energy"] = "none",
    centers: Literal["auto", "detector", "image", "image-paper"] = "auto",
    split: Literal["train", "test"] = "test",
    draw: bool = True,
) -> None:
    """Estimate the likeliest hand of each depth image, and write joints in mm and a picture of each frame.

    Args:
        frames: 16-bit depth PNGs, folders of them, recordings, or data sets such as cvar:PATH#P5. A run or model
            folder may come before them. The model of the package is the default.
        camera: Camera of PNGs without camera.json: a name such as realsense-d435, or fx,fy,cx,cy in pixels and,
            after them, the mm of one depth count. The coefficients of a lens may follow after a colon, as OpenCV has
            them: k1,k2,p1,p2[,k3[,k4,k5,k6]]. Recordings and data sets have their own.
        out: Folder for predictions.jsonl (a header, then a frame a line) and overlays/. Predictions are never
            overwritten.
        refine: Refinement after the estimate: the learned update of the paper, or its energy minimised.
        centers: How hands are found: by the detector of the package, our finder without a network, or the
            paper's. auto takes the detector for models that refine their estimate, and for others the way that they
            were trained with.
        split: Split of NYU and ICVL.
        draw: --no-draw leaves the pictures out.
    """
    first = frames[0] if frames else "."
    named = (first, first.rpartition("#")[0] or first)  # a data set may be given with its parts
    if ":" not in first and not any(Path(text).expanduser().exists() for text in named):
        raise FileNotFoundError(f"There is neither a run or model nor a frame at {first}.")
    model, *rest = frames if frames and may_be_model(frames[0]) else (SHIPPED, *frames)
    if not rest:
        raise ValueError("Found no frames; give PNGs, folders or data sets, after the model if you give one.")
    predict_command(
        Path(model), rest, camera=camera, out=out, refinement=refine, centers=centers, split=split, draw=draw
    )


def predict_command(
    model: Path,
    frames: Sequence[str],
    *,
    camera: str | None,
    out: Path,
    refinement: Refinement,
    centers: Finding,
    split: Literal["train", "test"],
    draw: bool,
) -> None:
    """Predict every frame into `out/predictions.jsonl`, and draw each into `out/overlays`.

    Raises:
        FileExistsError: there are predictions in `out` already.
        OSError: a model, file or folder is missing.
        ValueError: no camera for image files, a text that names no frames, or not one frame could be read.
    """
    path = out / "predictions.jsonl"
    for file in (path, path.with_name(PROBLEMS_FILE)):  # a run has problems of its own
        if file.exists():
            raise FileExistsError(f"{file} is there already and is not overwritten. Give another --out.")
    sources = open_sources(frames, camera, split)
    estimator = estimator_for(model, refinement)
    candidates = candidates_of(centers, estimator)
    console = Console(stderr=True)
    total = sum(map(len, sources))
    tally = _Tally(problems=[problem for source in sources for problem in source.problems])
    overlays = _Overlays(out / "overlays", estimator.skeleton) if draw else None
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("predicting", total=total)

        def predicted() -> Iterator[PredictedFrame]:
            read = _read(sources, tally)
            for frame, found in _predict(estimator, read, candidates, refinement):
                if found.joints_mm is None:
                    tally.without_hand.append(found.key)
                if overlays is not None:
                    overlays.write(frame, found)
                bar.update(task, completed=tally.done)
                yield found

        header = PredictionHeader(
            estimator.skeleton.name, candidates.how, model_name(model), refinement, forced_marked=True
        )
        tally.written = write_predictions(path, header, predicted())
    _tell(console, tally, path, overlays)


def may_be_model(text: str) -> bool:
    """Whether the first of the given texts is meant as a model, even a broken one: a run, or a folder of weights."""
    path = Path(text)
    return is_model(path) or (path / "config.json").is_file() or (path / "model").is_dir()


@dataclass
class _Tally:
    """Counts for the summary."""

    problems: list[Problem]
    without_hand: list[str] = field(default_factory=list)
    done: int = 0
    """Frames read, or found broken."""
    written: int = 0


def _read(sources: Sequence[HandDataset], tally: _Tally) -> Iterator[HandFrame]:
    """Readable frames of all sources, one at a time, each key once: a second one gets `-2` at its end."""
    seen: set[str] = set()
    for source in sources:
        before = tally.done
        for index, frame in readable_frames(source, tally.problems):
            tally.done = before + index + 1
            key = _unused(frame.key, seen)
            yield frame if key == frame.key else replace(frame, key=key)
        tally.done = before + len(source)


def _predict(
    estimator: CropEstimator,
    frames: Iterator[HandFrame],
    candidates: Candidates,
    refinement: Refinement,
) -> Iterator[tuple[HandFrame, PredictedFrame]]:
    """Each frame with its prediction. Only the few frames of a batch are held."""
    held: deque[HandFrame] = deque()

    def holding() -> Iterator[HandFrame]:
        for frame in frames:
            held.append(frame)
            yield frame

    for found in predict_frames(estimator, holding(), candidates, refinement=refinement):
        yield held.popleft(), found


def _unused(name: str, seen: set[str]) -> str:
    """The name, with a number at its end if it was seen. It is then seen."""
    free, number = name, 1
    while free in seen:
        number += 1
        free = f"{name}-{number}"
    seen.add(free)
    return free


class _Overlays:
    """Writes a picture of each frame, named after its key."""

    def __init__(self, folder: Path, skeleton: Skeleton) -> None:
        self.folder = folder
        self._skeleton = skeleton
        self._names: set[str] = set()

    def write(self, frame: HandFrame, found: PredictedFrame) -> None:
        """Draw one frame."""
        name = frame.key.removesuffix(".png").lstrip("./").replace("/", "_")
        stem = name.encode(errors="replace")[-_MOST_NAME:].decode(errors="ignore")
        with replacing(self.folder / f"{_unused(stem or 'frame', self._names)}.png") as part:
            Image.fromarray(overlay(frame, found, self._skeleton)).save(part, format="PNG")


def overlay(frame: HandFrame, found: PredictedFrame, skeleton: Skeleton) -> UInt8[np.ndarray, "H2 W2 3"]:
    """The frame's depth up to 1.5 m, shaded, with the predicted skeleton; enlarged by a whole number."""
    picture = depth_to_rgb(np.where(frame.depth_mm <= FAR_MM, frame.depth_mm, np.float32(0)))
    times = max(1, round(_OVERLAY_PX / picture.shape[0]))
    picture = cv2.resize(picture, None, fx=times, fy=times, interpolation=cv2.INTER_LINEAR)
    picture = np.asarray(picture, np.uint8)
    if found.joints_mm is None:
        cv2.putText(picture, "no hand found", (12, 28), cv2.FONT_HERSHEY_SIMPLEX, 0.7, _TEXT_RGB, 1, cv2.LINE_AA)
        return picture
    points_px = project(found.joints_mm, frame.camera)[:, :2]
    return draw_skeleton(picture, times * (points_px + 0.5) - 0.5, skeleton)


def _tell(console: Console, tally: _Tally, path: Path, overlays: _Overlays | None) -> None:
    """Print the summary, and list broken frames in problems.jsonl.

    Raises:
        ValueError: no frame could be read. The file without frames is removed.
    """
    problems = [str(problem) for problem in tally.problems]
    if not tally.written:
        path.unlink()
        first = f" The first: {problems[0]}" if problems else ""
        raise ValueError(f"None of the {tally.done} frames could be read, so nothing is written.{first}")
    hands = tally.written - len(tally.without_hand)
    lines = [f"{path}: {tally.written} frames, {hands} with a hand."]
    if tally.without_hand:
        lines.append(
            f"No hand found in {len(tally.without_hand)}, whose joints are null: {some_of(tally.without_hand)}"
        )
    if problems:
        listed = path.with_name(PROBLEMS_FILE)
        write_problems(listed, tally.problems)
        lines += [f"Left out because they are broken: {len(problems)}, listed in {listed}:"]
        lines += [f"  {problem}" for problem in problems[:SHOWN]]
    if overlays is not None:
        lines.append(f"Pictures: {overlays.folder}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
