"""The command `benchmark latency`."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from crossnets.atomic import write_text
from crossnets.benchmark.engines import Engine, chosen, open_run
from crossnets.benchmark.frames import RawFrame, raw_frames
from crossnets.benchmark.graphs import cost, input_shape
from crossnets.benchmark.machine import Machine, machine
from crossnets.benchmark.ours import NetworkFile, detector_file, estimator_file, with_hand
from crossnets.benchmark.peers import PEERS
from crossnets.benchmark.processes import Start, start
from crossnets.benchmark.report import Alone, Network, Report, Whole
from crossnets.benchmark.roofline import PEAK, PRODUCTS, SIDE, gemm_case
from crossnets.benchmark.table import print_report
from crossnets.benchmark.timing import Case, measure
from crossnets.benchmark.whole import MODES, WholeFrames
from crossnets.geometry.crop import CROP_PX
from crossnets.geometry.thinned import as_image, stride_of, thin
from crossnets.inference.description import OUTPUTS
from crossnets.inference.detector import OUTPUT
from crossnets.inference.engines import Run
from crossnets.training.config import CrossnetsConfig, DetectorTraining, PaperConfig


@dataclass(frozen=True, kw_only=True)
class LatencyConfig:
    """The measurements of a benchmark, and how long they take."""

    frames: int = 32
    engines: tuple[Engine, ...] = ()
    """All that are available unless given."""
    peers: tuple[str, ...] = tuple(PEERS)
    seconds: float = 60.0
    """Seconds of timing. Preparation and the new processes take time besides."""
    process_runs: int = 5
    gemm: tuple[int, int] = (SIDE, PRODUCTS)
    """Side of the matrices, and how many are multiplied."""


@dataclass(frozen=True, kw_only=True)
class Presets:
    """Trainings whose networks are measured."""

    estimators: Sequence[PaperConfig | CrossnetsConfig]
    shipped: str
    """Name of the one whose weights come with the package, in releases that have them."""
    detector: DetectorTraining


class _Bars:
    """A bar for each part of the work, where someone watches."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description:<28}"), BarColumn(30), TimeElapsedColumn())
        self.progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)

    @contextmanager
    def part(self, name: str, total: int | float) -> Iterator[Callable[[int | float], None]]:
        """A callback that reports the progress of one part of the benchmark."""
        task = self.progress.add_task(name, total=total)
        yield lambda done: self.progress.update(task, completed=min(done, total))
        self.progress.update(task, completed=total)


def latency_command(presets: Presets, config: LatencyConfig, *, as_json: bool, out: Path | None) -> None:
    """Measure, print, and write.

    Args:
        presets: Whose networks.
        config: What else, and how long.
        as_json: Print JSON alone.
        out: A file for the JSON.

    Raises:
        ModuleNotFoundError: an extra is missing.
        OSError: the file cannot be written.
        ValueError: a number is not what can be done.
    """
    if out is not None and out.is_dir():
        raise IsADirectoryError(f"{out} is a folder; give a file for the JSON as --out.")
    report = benchmark(presets, config, Console(stderr=True))
    text = json.dumps(report.to_json(), indent=2, allow_nan=False)
    if out is not None:
        write_text(out, text + "\n")
    if as_json:
        print(text)
        return
    console = Console()
    print_report(report, console if console.is_terminal else Console(width=150))


def benchmark(presets: Presets, config: LatencyConfig, console: Console) -> Report:
    """Measure everything.

    Raises:
        ModuleNotFoundError, ValueError: as `latency_command`.
    """
    if not 0 < config.seconds < np.inf:
        raise ValueError(f"Found --seconds {config.seconds}; expected more than 0.")
    before, engines, bars = machine(), chosen(config.engines), _Bars(console)
    with tempfile.TemporaryDirectory() as name, _one_thread(), bars.progress:
        work = _Work(Path(name), presets, config, engines, bars)
        return work.report(before)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit OpenCV to one thread, like the runtimes."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


class _Work:
    """A benchmark in the making."""

    def __init__(
        self, folder: Path, presets: Presets, config: LatencyConfig, engines: tuple[Engine, ...], bars: _Bars
    ) -> None:
        self._folder, self._config, self._bars = folder, config, bars
        self._engines: tuple[Engine, ...] = engines
        self._networks: dict[str, Network] = {}
        with bars.part("rendering frames", config.frames) as tell:
            self._frames: list[RawFrame] = raw_frames(config.frames, tell)
        with bars.part("exporting networks", len(presets.estimators) + 1) as tell:
            self._detector = detector_file(presets.detector, folder)
            tell(1)
            self._estimators: list[NetworkFile] = []
            for preset in presets.estimators:
                shipped = preset.preset == presets.shipped
                self._estimators.append(estimator_file(preset, folder, may_be_shipped=shipped))
                tell(1 + len(self._estimators))

    def report(self, before: Machine) -> Report:
        """Do it all: new processes first, while this one is small, then everything else in turns."""
        starts, macs = self._starts(), 0
        trackers: dict[tuple[str, Engine], WholeFrames] = {}
        cases: dict[Alone | Whole, Case] = {}
        for engine in self._engines:
            cases[Alone(PEAK, engine)], macs = gemm_case(self._folder, engine, *self._config.gemm)
            for file in self._estimators:
                trackers[file.name, engine] = WholeFrames(self._frames, file, self._detector, engine)
        cases |= self._alone()
        for (preset, engine), tracker in trackers.items():
            cases |= {Whole(preset, engine, mode): tracker.case(mode) for mode in MODES}
        with self._bars.part("timing", self._config.seconds) as tell:
            times, measured = measure(cases, self._config.seconds, tell)
        alone = {key: found for key, found in times.items() if isinstance(key, Alone)}
        whole = {key: found for key, found in times.items() if isinstance(key, Whole)}
        peaks: dict[Engine, float] = {e: 1e3 * macs / alone[Alone(PEAK, e)].least_cpu_ms for e in self._engines}
        return Report(
            machine=before,
            measured=measured,
            frames=len(self._frames),
            networks=self._networks,
            alone={key: found for key, found in alone.items() if key.network != PEAK},
            whole=whole,
            found={key: trackers[key.preset, key.engine].share_with_hand(key.mode) for key in whole},
            peaks=peaks,
            starts=starts,
            process_runs=self._config.process_runs,
        )

    def _starts(self) -> dict[Alone, Start]:
        starts: dict[Alone, Start] = {}
        runs, frame = self._config.process_runs, with_hand(self._frames, self._detector)
        with self._bars.part("new processes", len(self._estimators) * len(self._engines)) as tell:
            for file in self._estimators:
                for engine in self._engines:
                    found = start(self._folder, frame, file, self._detector, engine, runs)
                    starts[Alone(file.name, engine)] = found
                    tell(len(starts))
        return starts

    def _alone(self) -> dict[Alone, Case]:
        """Networks without anything around them, each with one image."""
        frame = self._frames[0]
        thinned = as_image(thin(frame.depth_mm, stride_of(frame.camera))).shape
        cases: dict[Alone, Case] = {}
        with self._bars.part("loading networks", len(self._config.peers)) as tell:
            for file in self._estimators:
                cases |= self._cases(file, (1, CROP_PX, CROP_PX), OUTPUTS)
            cases |= self._cases(self._detector, thinned, [OUTPUT])
            for number, name in enumerate(self._config.peers):
                path, peer = self._folder / f"{name}.onnx", PEERS[name]()
                onnx.save_model(peer, str(path))
                cases |= self._cases(NetworkFile(name, path, "random"), input_shape(peer), ["joints"])
                path.unlink()
                tell(number + 1)
        return cases

    def _cases(self, file: NetworkFile, shape: tuple[int, ...], outputs: Sequence[str]) -> dict[Alone, Case]:
        image = np.random.default_rng(0).uniform(-1, 1, (1, *shape)).astype(np.float32)
        self._networks[file.name] = Network(file.weights, shape, cost(onnx.load(str(file.path)), shape))
        return {
            Alone(file.name, engine): _case(open_run(file.path, engine, outputs), image) for engine in self._engines
        }


def _case(run: Run, image: np.ndarray) -> Case:
    def call() -> None:
        run(image)

    return Case(call)
