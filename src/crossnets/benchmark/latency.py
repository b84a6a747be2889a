"""The command `benchmark latency`."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from crossnets.benchmark.engines import Engine, chosen, open_run
from crossnets.benchmark.frames import RawFrame, raw_frames
from crossnets.benchmark.machine import Machine, machine
from crossnets.benchmark.onnx_graphs import cost, input_shape
from crossnets.benchmark.our_networks import NetworkFile, detector_file, estimator_file, with_hand
from crossnets.benchmark.output import publish, require_file
from crossnets.benchmark.processes import Start, start
from crossnets.benchmark.report import Alone, Network, Report, Whole
from crossnets.benchmark.roofline import PEAK, PRODUCTS, SIDE, gemm_case
from crossnets.benchmark.table import print_report
from crossnets.benchmark.timing import Case, measure
from crossnets.benchmark.whole_frames import MODES, WholeFrames
from crossnets.geometry.crop import CROP_PX
from crossnets.geometry.thinned import as_image, stride_of, thin
from crossnets.inference.description import OUTPUTS
from crossnets.inference.detector import OUTPUT
from crossnets.inference.engines import Run
from crossnets.training.config import CrossnetsConfig, DetectorTraining, FramesConfig


@dataclass(frozen=True, kw_only=True)
class LatencyConfig:
    """Measurements of a benchmark and their duration."""

    frames: int = 32
    """Number of rendered frames."""
    engines: tuple[Engine, ...] = ()
    """Engines to measure. Empty stands for all available engines."""
    networks: tuple[Path, ...] = ()
    """ONNX files of other networks, which are timed alone. `scripts/peers.py` writes published architectures."""
    seconds: float = 60.0
    """Seconds of timing. Preparation and the new processes take additional time."""
    process_runs: int = 5
    """Number of new processes for each network and engine."""
    gemm: tuple[int, int] = (SIDE, PRODUCTS)
    """Side of the matrices of the peak measurement, and their number of products."""


@dataclass(frozen=True, kw_only=True)
class Presets:
    """Presets whose networks are measured."""

    estimators: Sequence[FramesConfig | CrossnetsConfig]
    shipped: str
    """Name of the preset whose weights come with the package. Some releases have no weights."""
    detector: DetectorTraining


class _Bars:
    """Progress bars for the parts of a benchmark. They are shown on terminals only."""

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
        presets: Presets whose networks are measured.
        config: Other measurements and their duration.
        as_json: Whether to print JSON instead of tables.
        out: Optional file for the JSON.

    Raises:
        ModuleNotFoundError: an extra is not installed.
        OSError: a network does not exist, or the JSON cannot be written.
        ValueError: a number is out of range, a network is not an ONNX file, or two networks have the same name.
    """
    require_file(out)
    report = benchmark(presets, config, Console(stderr=True))
    publish(report.to_json(), lambda console: print_report(report, console), as_json=as_json, out=out)


def benchmark(presets: Presets, config: LatencyConfig, console: Console) -> Report:
    """Run all measurements.

    Raises:
        ModuleNotFoundError, FileNotFoundError, ValueError: as for `latency_command`.
    """
    if not 0 < config.seconds < np.inf:
        raise ValueError(f"Found --seconds {config.seconds}, expected more than 0.")
    ours = [preset.preset for preset in (*presets.estimators, presets.detector)]
    _require_networks(config.networks, ours)
    before = machine()
    engines = chosen(config.engines)
    bars = _Bars(console)
    with tempfile.TemporaryDirectory() as name, _one_thread(), bars.progress:
        work = _Work(Path(name), presets, config, engines, bars)
        return work.report(before)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Limit OpenCV to one thread, as the runtimes are limited."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


class _Work:
    """State of a running benchmark."""

    def __init__(
        self, folder: Path, presets: Presets, config: LatencyConfig, engines: tuple[Engine, ...], bars: _Bars
    ) -> None:
        self._folder = folder
        self._config = config
        self._bars = bars
        self._engines: tuple[Engine, ...] = engines
        self._networks: dict[str, Network] = {}
        with bars.part("rendering frames", config.frames) as on_progress:
            self._frames: list[RawFrame] = raw_frames(config.frames, on_progress)
        with bars.part("exporting networks", len(presets.estimators) + 1) as on_progress:
            self._detector = detector_file(presets.detector, folder)
            on_progress(1)
            self._estimators: list[NetworkFile] = []
            for preset in presets.estimators:
                shipped = preset.preset == presets.shipped
                self._estimators.append(estimator_file(preset, folder, may_be_shipped=shipped))
                on_progress(1 + len(self._estimators))

    def report(self, before: Machine) -> Report:
        """Run all measurements. New processes come first, while this one is small. Other cases are timed in turns."""
        starts = self._starts()
        macs = 0
        trackers: dict[tuple[str, Engine], WholeFrames] = {}
        cases: dict[Alone | Whole, Case] = {}
        for engine in self._engines:
            cases[Alone(PEAK, engine)], macs = gemm_case(self._folder, engine, *self._config.gemm)
            for file in self._estimators:
                trackers[file.name, engine] = WholeFrames(self._frames, file, self._detector, engine)
        cases |= self._alone()
        for (preset, engine), tracker in trackers.items():
            cases |= {Whole(preset, engine, mode): tracker.case(mode) for mode in MODES}
        with self._bars.part("timing", self._config.seconds) as on_progress:
            times, measured = measure(cases, self._config.seconds, on_progress)
        alone = {key: timed for key, timed in times.items() if isinstance(key, Alone)}
        whole = {key: timed for key, timed in times.items() if isinstance(key, Whole)}
        peaks: dict[Engine, float] = {e: 1e3 * macs / alone[Alone(PEAK, e)].least_cpu_ms for e in self._engines}
        return Report(
            machine=before,
            measured=measured,
            frames=len(self._frames),
            networks=self._networks,
            alone={key: timed for key, timed in alone.items() if key.network != PEAK},
            whole=whole,
            found={key: trackers[key.preset, key.engine].share_with_hand(key.mode) for key in whole},
            peaks=peaks,
            starts=starts,
            process_runs=self._config.process_runs,
        )

    def _starts(self) -> dict[Alone, Start]:
        starts: dict[Alone, Start] = {}
        runs = self._config.process_runs
        frame = with_hand(self._frames, self._detector)
        with self._bars.part("new processes", len(self._estimators) * len(self._engines)) as on_progress:
            for file in self._estimators:
                for engine in self._engines:
                    measured = start(self._folder, frame, file, self._detector, engine, runs)
                    starts[Alone(file.name, engine)] = measured
                    on_progress(len(starts))
        return starts

    def _alone(self) -> dict[Alone, Case]:
        """Cases that run a network alone on one image."""
        frame = self._frames[0]
        thinned = as_image(thin(frame.depth_mm, stride_of(frame.camera))).shape
        cases: dict[Alone, Case] = {}
        with self._bars.part("loading networks", len(self._config.networks)) as on_progress:
            for file in self._estimators:
                cases |= self._cases(file, (1, CROP_PX, CROP_PX), OUTPUTS)
            cases |= self._cases(self._detector, thinned, [OUTPUT])
            for number, path in enumerate(self._config.networks):
                model = _read(path)
                outputs = [output.name for output in model.graph.output]
                cases |= self._cases(NetworkFile(path.stem, path, "given"), input_shape(model), outputs)
                on_progress(number + 1)
        return cases

    def _cases(self, file: NetworkFile, shape: tuple[int, ...], outputs: Sequence[str]) -> dict[Alone, Case]:
        image = np.random.default_rng(0).uniform(-1, 1, (1, *shape)).astype(np.float32)
        self._networks[file.name] = Network(file.weights, shape, cost(onnx.load(str(file.path)), shape))
        return {
            Alone(file.name, engine): _case(open_run(file.path, engine, outputs), image) for engine in self._engines
        }


def _read(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(str(path))
    except DecodeError as error:
        raise ValueError(
            f"{path} is not an ONNX file ({error}). Give files that scripts/peers.py or torch wrote."
        ) from None


def _require_networks(paths: Sequence[Path], ours: Sequence[str]) -> None:
    """Check the files of other networks before the first measurement.

    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: two networks have the same name.
    """
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(f"There is no network {path}. `python scripts/peers.py --out FOLDER` writes some.")
    names = [*ours, *(path.stem for path in paths)]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"Found two networks called {twice}. Rename the file, since its name names the network.")


def _case(run: Run, image: np.ndarray) -> Case:
    def call() -> None:
        run(image)

    return Case(call)
