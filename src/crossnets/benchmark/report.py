"""Results of a latency benchmark: measurements, goals and JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from crossnets.benchmark.engines import TITLES, Engine
from crossnets.benchmark.machine import Machine
from crossnets.benchmark.onnx_graphs import Cost
from crossnets.benchmark.our_networks import Weights
from crossnets.benchmark.processes import Start
from crossnets.benchmark.timing import Measured, Times
from crossnets.benchmark.whole_frames import MODES, Mode

# A further goal is that find, crop and joints together take no longer than the network.
FRAMES_PER_SECOND = 1000.0
"""Goal for whole frames per second on one core."""
RESIDENT_MB = 150.0
"""Goal for the resident memory with ONNX Runtime, in 10^6 bytes."""
FIRST_S = 0.5
"""Goal for the time from before the import to the end of the first prediction with ONNX Runtime."""
_DIGITS = 4
"""Significant digits of numbers in the JSON."""


class Alone(NamedTuple):
    """Key of a network that is timed alone."""

    network: str
    engine: Engine


class Whole(NamedTuple):
    """Key of whole frames: preset, engine and mode."""

    preset: str
    engine: Engine
    mode: Mode


@dataclass(frozen=True)
class Network:
    """A network that is timed alone."""

    weights: Weights
    input: tuple[int, ...]
    """Channels, height and width."""
    cost: Cost


class Goal(NamedTuple):
    """Result of one goal for one preset."""

    name: str
    found: str
    met: bool


@dataclass(frozen=True)
class Report:
    """All measurements."""

    machine: Machine
    measured: Measured
    frames: int
    networks: dict[str, Network]
    alone: dict[Alone, Times]
    whole: dict[Whole, Times]
    found: dict[Whole, float]
    """Share of the frames in which a hand is found."""
    peaks: dict[Engine, float]
    """Largest measured number of multiply-adds per second of processor time in matrix products."""
    starts: dict[Alone, Start]
    process_runs: int

    def share_of_peak(self, key: Alone) -> float:
        """Multiply-adds per second of processor time, divided by the measured peak of the same engine."""
        return 1e3 * self.networks[key.network].cost.macs / self.alone[key].median_cpu_ms / self.peaks[key.engine]

    def presets(self) -> tuple[str, ...]:
        """Presets whose whole frames are measured."""
        return tuple(dict.fromkeys(key.preset for key in self.whole))

    def best(self, preset: str, mode: Mode) -> tuple[Whole, Times]:
        """Key and times of the fastest engine."""
        keys = [key for key in self.whole if (key.preset, key.mode) == (preset, mode)]
        key = min(keys, key=lambda k: self.whole[k].median_ms)
        return key, self.whole[key]

    def goals(self) -> list[Goal]:
        """Results of all goals."""
        return [goal for preset in self.presets() for goal in self._goals(preset)]

    def _goals(self, preset: str) -> Iterator[Goal]:
        for mode in MODES:
            key, times = self.best(preset, mode)
            rate = 1e3 / times.median_ms
            name = f"{preset}, {mode}: {FRAMES_PER_SECOND:,.0f} frames/s with the best runtime"
            found = f"{rate:,.0f} ({TITLES[key.engine]}), {1e3 / times.median_cpu_ms:,.0f} by processor time"
            yield Goal(name, found, rate >= FRAMES_PER_SECOND)
        for mode in MODES:
            key, times = self.best(preset, mode)
            around, network = around_and_network(times.stages())
            name = f"{preset}, {mode}: find, crop and joints no longer than the network"
            yield Goal(name, f"{around:.3f} ms, {network:.3f} ms ({TITLES[key.engine]})", around <= network)
        start = self.starts.get(Alone(preset, "onnxruntime"))
        if start is not None:
            if start.resident_mb is not None:
                name = f"{preset}: resident memory under {RESIDENT_MB:.0f} MB with ONNX Runtime"
                yield Goal(name, f"{start.resident_mb:.0f} MB", start.resident_mb < RESIDENT_MB)
            name = f"{preset}: first prediction within {FIRST_S} s of `import`, ONNX Runtime"
            found = f"{start.first_prediction_s:.2f} s, {start.first_prediction_cpu_s:.2f} s by processor time"
            yield Goal(name, found, start.first_prediction_s < FIRST_S)

    def to_json(self) -> dict[str, Any]:
        """Results as strict JSON.

        Times are in ms. Rates are in 10^9 operations per second of processor time. A multiply-add is two operations.
        """
        goals = [{"goal": goal.name, "found": goal.found, "met": goal.met} for goal in self.goals()]
        result = {
            "format": "crossnets-latency",
            "version": 1,
            "machine": asdict(self.machine),
            "threads": 1,
            "frames": self.frames,
            "rounds": self.measured.rounds,
            "cores_used": self.measured.cores_used,
            "peak_gflops": {engine: 2e-9 * peak for engine, peak in self.peaks.items()},
            "networks": [self._network_json(key) for key in self.alone],
            "whole_frames": [self._whole_json(key) for key in self.whole],
            "processes": [
                {"preset": key.network, "engine": key.engine, "runs": self.process_runs, **asdict(start)}
                for key, start in self.starts.items()
            ],
            "goals": goals,
        }
        return _rounded(result)

    def _network_json(self, key: Alone) -> dict[str, Any]:
        network = self.networks[key.network]
        return {
            "name": key.network,
            "engine": key.engine,
            "weights": network.weights,
            "input": list(network.input),
            **asdict(network.cost),
            **_times_json(self.alone[key]),
            "gflops": 2e-6 * network.cost.macs / self.alone[key].median_cpu_ms,
            "share_of_peak": self.share_of_peak(key),
        }

    def _whole_json(self, key: Whole) -> dict[str, Any]:
        times = self.whole[key]
        return {
            **key._asdict(),
            **_times_json(times),
            "stages_ms": times.stages(),
            "frames_per_s": 1e3 / times.median_ms,
            "share_with_hand": self.found[key],
        }


def around_and_network(stages_ms: dict[str, float]) -> tuple[float, float]:
    """Milliseconds of the stages around the network, and of the network."""
    return sum(stages_ms[name] for name in ("find", "crop", "joints")), stages_ms["network"]


def _times_json(times: Times) -> dict[str, Any]:
    return {
        "median_ms": times.median_ms,
        "least_ms": times.least_ms,
        "p90_ms": times.p90_ms,
        "median_cpu_ms": times.median_cpu_ms,
        "calls": len(times.ms),
    }


def _rounded(value: Any) -> Any:
    """Round all floating point numbers in nested data to four significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple) and not isinstance(value, str):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def weights_notes(report: Report, names: Sequence[str]) -> str:
    """Sentence that names the weights of these networks."""
    return "Weights: " + ", ".join(f"{name} {report.networks[name].weights}" for name in names) + "."
