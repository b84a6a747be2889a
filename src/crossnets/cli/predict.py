"""The command `predict`: depth images without labels to a file of joints, and a picture of each."""

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Literal, TypeAlias

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from crossnets.atomic import UnfinishedMark, held, make_folder
from crossnets.cameras import DepthSource
from crossnets.cameras.opening import guess_of
from crossnets.cli.arguments import Sources
from crossnets.cli.pictures import Film, Picture, overlay
from crossnets.datasets.dataset import PROBLEMS_FILE, FrameError, HandDataset, Problem, printable, write_problems
from crossnets.datasets.depth_checks import DepthBulk, bulk_of
from crossnets.datasets.image_sources import SHOWN, counted, some_of
from crossnets.datasets.png import save_png
from crossnets.evaluation.predictions import PredictionHeader, write_predictions
from crossnets.evaluation.tables_of_hands import write_csv, write_npz
from crossnets.geometry.skeleton import Skeleton, find_skeleton
from crossnets.inference.detector import MOST_HANDS
from crossnets.inference.estimator import CropEstimator
from crossnets.inference.hand import Side
from crossnets.inference.hands import WATCHED, DepthWatch, SizeWatch, SurroundingsWatch
from crossnets.inference.loading import Finding, candidates_of, detector_of, estimator_for, is_model, model_name
from crossnets.inference.predict import PredictedHands, predict_frame
from crossnets.inference.sources import frames_of, is_camera, open_frames
from crossnets.paths import expanded
from crossnets.types import HandFrame, Refinement
from crossnets.weights import SHIPPED

_MOST_NAME = 150
"""Bytes of an overlay's file name; file systems take 255."""
_WAITING = 4
"""Frames for each process that are predicted before their turn to be written."""

Format: TypeAlias = Literal["jsonl", "csv", "npz"]
_Answer: TypeAlias = tuple[PredictedHands, Picture | None, DepthBulk | None]
"""Hands of a frame, its picture if one is wanted, and what tells a wrong depth unit."""


def predict(
    frames: Sources,
    camera: str | None = None,
    out: Path = Path("predictions"),
    refine: Literal["none", "update", "energy"] = "none",
    centers: Literal["auto", "detector", "image", "image-paper"] = "auto",
    split: Literal["train", "test"] = "test",
    draw: bool = True,
    format: Literal["jsonl", "csv", "npz"] = "jsonl",
    hands: int = 2,
    side: Literal["right", "left", "both"] = "both",
    mirrored: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    video: Path | None = None,
    video_fps: float = 30.0,
    workers: int = 1,
    first: int | None = None,
    skeleton: str | None = None,
) -> None:
    """Estimate the hands of each depth image, and write joints in mm and a picture of each frame.

    Example: crossnets predict my-recording --out found --video found.mp4

    Args:
        frames: 16-bit depth PNGs, .npy files, folders of PNGs, recordings, data sets such as cvar:PATH#P5, shards,
            .db3 files, realsense, or virtual. A run or model folder may come before them. The model of the package is
            the default.
        camera: Camera of PNGs without camera.json and of .npy files: a name such as realsense-d435, or fx,fy,cx,cy in
            pixels and, after them, the mm of one depth count. The coefficients of a lens may follow after a colon, as
            OpenCV has them: k1,k2,p1,p2[,k3[,k4,k5,k6]]. The other sources have their own.
        out: Folder for predictions.jsonl (a header, then a frame a line) and overlays/. Predictions are never
            overwritten.
        refine: Refinement after the estimate: the learned update of the paper, or its energy minimised.
        centers: How hands are found: by the detector of the package, our finder without a network, or the
            paper's. auto takes the detector for models that refine their estimate, and for others the way that they
            were trained with.
        split: Split of NYU, ICVL, HANDS17, FPHA, DexYCB, HO-3D, H2O-3D and H2O.
        draw: --no-draw leaves the pictures out.
        format: File of predictions: JSON lines, which evaluate reads, a CSV row for each joint, or arrays of numpy.
        hands: Largest number of hands in a frame.
        side: The side of all hands, if it is known. Joints follow it where they can. both estimates it for each hand.
        mirrored: The images are mirrored. Sides are then those of the real hands.
        video: A film of the pictures, which ends in .mp4 or .gif.
        video_fps: Frames of the film in a second.
        workers: Processes that predict frames of files, data sets and shards.
        first: Predict only this many first frames. Without it a camera is read until Ctrl-C.
        skeleton: Skeleton of the joints that are written: a name such as icvl16, or a JSON file that declares one. The
            model's own by default.
    """
    start = frames[0] if frames else "."
    named = (start, start.rpartition("#")[0] or start)  # a data set may be given with its parts
    if ":" not in start and not is_camera(start) and not any(expanded(text).exists() for text in named):
        raise FileNotFoundError(f"There is neither a run or model nor a frame at {start}.{guess_of(start)}")
    model, *rest = frames if frames and may_be_model(frames[0]) else (SHIPPED, *frames)
    if not rest:
        raise ValueError("Found no frames; give PNGs, folders or data sets, after the model if you give one.")
    request = {
        "model": str(model), "frames": rest, "camera": camera, "refine": refine, "centers": centers, "split": split,
        "draw": draw, "format": format, "hands": hands, "side": side, "mirrored": mirrored, "first": first,
        "video": None if video is None else str(video), "video_fps": video_fps, "skeleton": skeleton,
    }  # fmt: skip
    mark = UnfinishedMark(out, "prediction", request)
    again = mark.is_there()
    film = None if video is None else Film(video, video_fps, replaces=again)
    try:
        predict_command(
            Path(model),
            rest,
            camera=camera,
            out=out,
            refinement=refine,
            centers=centers,
            split=split,
            draw=draw,
            format=format,
            hands=hands,
            side=None if side == "both" else side,
            mirrored=mirrored,
            film=film,
            workers=workers,
            first=first,
            skeleton=skeleton,
            mark=mark,
        )
    except ValueError:
        mark.remove()  # nothing is written
        raise
    mark.remove()


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
    format: Format = "jsonl",
    hands: int = 2,
    side: Side | None = None,
    mirrored: bool = False,
    film: Film | None = None,
    workers: int = 1,
    first: int | None = None,
    skeleton: str | None = None,
    mark: UnfinishedMark | None = None,
) -> None:
    """Predict every frame into `out/predictions.jsonl`, and draw each into `out/overlays`.

    Raises:
        FileExistsError: there are predictions in `out` already.
        OSError: a model, file or folder is missing, or a process died.
        ValueError: no camera for image files, a skeleton that the model cannot output, a text that names no
            frames, an option that is out of range, or not one frame could be read.
    """
    path = out / f"predictions.{format}"
    # The files of a command that was killed at its end, before all of them were there, are written again.
    again = mark is not None and mark.is_there()
    _refuse_to_overwrite(path, again)
    for name, value in (("hands", hands), ("workers", workers), ("first", first)):
        if value is not None and value < 1:
            raise ValueError(f"Found --{name} {value}, expected 1 or more.")
    if hands > MOST_HANDS:
        raise ValueError(f"Found --hands {hands}, expected 1 to {MOST_HANDS}. The detector finds no more in a frame.")
    pictures = draw or film is not None
    plan = _Plan(model, tuple(frames), camera, split, refinement, centers, hands, side, mirrored, pictures, skeleton)
    predictor = _Predictor(plan)
    if workers > 1 and not all(isinstance(source, HandDataset) for source in predictor.sources):
        raise ValueError(f"Found --workers {workers}, but a camera gives its frames one by one. Leave --workers out.")
    tally = _Tally()
    for source in predictor.sources:
        tally.problems += source.problems if isinstance(source, HandDataset) else ()
    overlays = _Overlays(out / "overlays") if draw else None
    console = Console(stderr=True)
    header = PredictionHeader(
        predictor.estimator.skeleton.saved(),
        predictor.candidates.how,
        model_name(model),
        refinement,
        forced_marked=True,
    )
    with ExitStack() as stack:
        cameras = not all(isinstance(source, HandDataset) for source in predictor.sources)
        if cameras and threading.current_thread() is threading.main_thread():
            stack.enter_context(_ctrl_c_ends(tally))
        bar = stack.enter_context(_bar(console))
        task = bar.add_task("predicting", total=_total(predictor.sources, first), rate="")
        if film is not None:
            stack.enter_context(film)

        def shown() -> None:
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(task, completed=tally.done, rate="" if speed is None else f"{speed:.1f} frames/s")

        if workers > 1:
            answers = _in_processes(plan, predictor, workers, tally, first)
        else:
            answers = _one_by_one(predictor, tally, first)
        predicted = _accounted(answers, tally, overlays, film, shown, mark)
        make_folder(out)
        stack.enter_context(held(out, "predicts into"))
        # Another process may have finished in the meantime.
        _refuse_to_overwrite(path, again)
        tally.written = _write(path, format, header, predicted)
    _tell(console, tally, path, overlays, film)


def _refuse_to_overwrite(path: Path, again: bool) -> None:
    """Raise FileExistsError if there are predictions or their problems, unless this command wrote them before. A run
    has problems of its own."""
    for file in (path, path.with_name(PROBLEMS_FILE)):
        if file.exists() and not again:
            raise FileExistsError(f"{file} is there already and is not overwritten. Give another --out.")


def _write(path: Path, format: Format, header: PredictionHeader, predicted: Iterator[PredictedHands]) -> int:
    """Write the file of predictions. Returns the number of frames."""
    if format == "jsonl":
        return write_predictions(path, header, predicted, every_hand=True)
    if format == "csv":
        return write_csv(path, predicted)
    return write_npz(path, header, predicted)


def _accounted(
    answers: Iterator[_Answer],
    tally: "_Tally",
    overlays: "_Overlays | None",
    film: Film | None,
    shown: Callable[[], None],
    mark: UnfinishedMark | None,
) -> Iterator[PredictedHands]:
    """The hands of each frame, after its picture is written and it is counted.

    Warns of depth units and hand lengths that cannot be. `shown` updates the progress bar. `mark` is set after the last
    frame, since only the files that are written then would keep the same command from starting again.
    """
    sizes = SizeWatch()
    depths = DepthWatch()
    surroundings = SurroundingsWatch()
    for found, picture, bulk in answers:
        depths.count(bulk)
        if found.joints_mm is None:
            tally.without_hand.append(found.key)
        for hand in found.hands[:1]:
            depths.hand()
            sizes.see(hand.size_mm)
            surroundings.count(found.around)
        if overlays is not None and picture is not None:
            overlays.write(found.key, picture)
        if film is not None and picture is not None:
            film.add(picture)
        shown()
        yield found
    sizes.finish()
    depths.finish()
    surroundings.finish()
    if mark is not None:
        mark.set()


def _bar(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _total(sources: Sequence[HandDataset | DepthSource], first: int | None) -> int | None:
    """Number of frames. None if a camera does not say."""
    lengths = [len(source) for source in sources if isinstance(source, HandDataset)]
    if len(lengths) < len(sources):
        return first
    return sum(lengths) if first is None else min(first, sum(lengths))


def speaking(estimator: CropEstimator, skeleton: Skeleton) -> CropEstimator:
    """The estimator with the joints of another skeleton.

    Raises:
        ValueError: the model cannot output them.
    """
    found = estimator.speaking(skeleton)
    if found.skeleton != skeleton:
        known = ", ".join(dict.fromkeys([estimator.skeleton.name, *estimator.maps]))
        raise ValueError(
            f"The model cannot output the joints of {skeleton.name}. It outputs those of {known}, and declared "
            "skeletons whose joints all correspond to joints of these."
        )
    return found


def may_be_model(text: str) -> bool:
    """Whether the first of the given texts is meant as a model, even a broken one: a run, or a folder of weights."""
    path = Path(text)
    return is_model(path) or (path / "config.json").is_file() or (path / "model").is_dir()


@dataclass
class _Tally:
    """Counts for the summary."""

    problems: list[Problem] = field(default_factory=list)
    without_hand: list[str] = field(default_factory=list)
    done: int = 0
    """Frames read, or found broken."""
    written: int = 0
    interrupted: bool = False
    """Whether Ctrl-C ended a camera."""
    waiting: bool = False
    """Whether the next frame is waited for."""


@dataclass(frozen=True)
class _Plan:
    """Everything that a process needs to predict a frame."""

    model: Path
    frames: tuple[str, ...]
    camera: str | None
    split: Literal["train", "test"]
    refinement: Refinement
    centers: Finding
    hands: int
    side: Side | None
    mirrored: bool
    pictures: bool
    skeleton: str | None


class _Predictor:
    """Sources and model of one process."""

    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        self.sources = open_frames(plan.frames, plan.camera, plan.split)
        self.estimator = estimator_for(plan.model, plan.refinement)
        if plan.skeleton is not None:
            self.estimator = speaking(self.estimator, find_skeleton(plan.skeleton))
        self.candidates = candidates_of(plan.centers, self.estimator, detector=detector_of(plan.model))
        # `DepthWatch` needs no more than the first images with depth.
        self._summarised = 0

    def answer(self, frame: HandFrame) -> _Answer:
        """Predict one frame, and draw it if that is asked for."""
        plan = self.plan
        found = predict_frame(
            self.estimator,
            frame,
            self.candidates,
            refinement=plan.refinement,
            hands=plan.hands,
            side=plan.side,
            mirrored=plan.mirrored,
        )
        picture = overlay(frame, found, self.estimator.skeleton) if plan.pictures else None
        bulk = bulk_of(frame.depth_mm) if self._summarised < WATCHED else None
        self._summarised += bulk is not None
        return found, picture, bulk


@contextmanager
def _ctrl_c_ends(tally: _Tally) -> Iterator[None]:
    """Let Ctrl-C end a camera between two frames, so that no frame is lost that was predicted."""

    def handle(number: int, where: FrameType | None) -> None:
        again = tally.interrupted
        tally.interrupted = True
        if again or tally.waiting:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _next(frames: Iterator[tuple[int, HandFrame]], tally: _Tally) -> tuple[int, HandFrame] | None:
    """The next frame. None at the end, or if Ctrl-C ends a camera that is waited for."""
    tally.waiting = True
    try:
        return next(frames, None)
    except KeyboardInterrupt:
        if not tally.interrupted:  # no camera
            raise
        return None
    finally:
        tally.waiting = False


def _one_by_one(predictor: _Predictor, tally: _Tally, first: int | None) -> Iterator[_Answer]:
    """Predict all readable frames of all sources. Ctrl-C ends a camera, and what was predicted is written."""
    seen: set[str] = set()
    before = 0
    for source in predictor.sources:
        frames = frames_of(source, tally.problems)
        while (read := _next(frames, tally)) is not None:
            index, frame = read
            tally.done = before + index + 1
            yield predictor.answer(replace(frame, key=_unused(frame.key, seen)))
            if tally.interrupted or (first is not None and tally.done >= first):
                frames.close()
                return
        if isinstance(source, HandDataset):
            tally.done = before + len(source)
        before = tally.done


_in_process: list[_Predictor] = []
"""The predictor of this process, if it is a worker."""


def _start(plan: _Plan) -> None:
    _in_process.append(_Predictor(plan))


def _predict_one(source: int, index: int) -> _Answer | Problem:
    predictor = _in_process[0]
    dataset = predictor.sources[source]
    assert isinstance(dataset, HandDataset), "cameras are read in one process"
    try:
        return predictor.answer(dataset[index])
    except FrameError as error:
        return error.problem


def _in_processes(
    plan: _Plan, predictor: _Predictor, workers: int, tally: _Tally, first: int | None
) -> Iterator[_Answer]:
    """Predict frames in several processes, and give them in the order of the sources.

    Raises:
        OSError: a process died.
    """
    seen: set[str] = set()
    sizes = [len(source) for source in predictor.sources if isinstance(source, HandDataset)]
    places = iter([(source, index) for source, size in enumerate(sizes) for index in range(size)][:first])
    waiting: deque[Future[_Answer | Problem]] = deque()
    # A forked process would inherit the threads' locks of the network's runtime.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start, (plan,))
    try:
        while True:
            while len(waiting) < _WAITING * workers and (place := next(places, None)) is not None:
                try:
                    waiting.append(pool.submit(_predict_one, *place))
                except (OSError, ValueError) as error:  # a process died while the pool was starting another one
                    raise BrokenProcessPool from error
            if not waiting:
                return
            answer = waiting.popleft().result()
            tally.done += 1
            if isinstance(answer, Problem):
                tally.problems.append(answer)
                continue
            found, picture, bulk = answer
            yield replace(found, key=_unused(found.key, seen)), picture, bulk
    except BrokenProcessPool:
        raise OSError(
            f"One of the {workers} processes died, perhaps for lack of memory. Nothing is written. "
            "Give fewer --workers."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


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

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: set[str] = set()

    def write(self, key: str, picture: Picture) -> None:
        """Write the picture of one frame."""
        name = key.removesuffix(".png").lstrip("./").translate(dict.fromkeys(map(ord, "/:\0"), "_"))
        stem = name.encode(errors="replace")[-_MOST_NAME:].decode(errors="ignore")
        save_png(self.folder / f"{_unused(stem or 'frame', self._names)}.png", picture)


def _tell(console: Console, tally: _Tally, path: Path, overlays: _Overlays | None, film: Film | None) -> None:
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
    ended = " until Ctrl-C" if tally.interrupted else ""
    lines = [f"{path}: {counted(tally.written, 'frame')}{ended}, {hands} with a hand."]
    if tally.without_hand:
        names = printable(some_of(tally.without_hand))
        lines.append(f"No hand found in {len(tally.without_hand)}, whose joints are null: {names}")
    if problems:
        listed = path.with_name(PROBLEMS_FILE)
        write_problems(listed, tally.problems)
        lines += [f"Left out because they are broken: {len(problems)}, listed in {listed}:"]
        lines += [f"  {problem}" for problem in problems[:SHOWN]]
    if overlays is not None:
        lines.append(f"Pictures: {overlays.folder}")
    if film is not None:
        left_out = f" (left out at the end: {counted(film.left_out, 'frame')}; .mp4 takes all)" if film.left_out else ""
        lines.append(f"Film: {film.path}{left_out}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
