"""Timing of several cases in turns, so that other load on the machine affects all of them alike."""

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import numpy as np

_BURST_S = 0.025
"""Seconds of timed calls to one case in one turn. A turn has at least one timed call."""
LEAST_ROUNDS = 3
"""Smallest number of rounds. In a round each case has one turn."""

Stages: TypeAlias = Mapping[str, float]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Case:
    """One timed call."""

    call: Callable[[], Stages | None]
    """Function to time. It may return the milliseconds of its stages."""
    frames: int = 1
    """Number of frames per call. Times are divided by it."""


@dataclass
class Times:
    """Milliseconds per frame, one value for each call."""

    ms: list[float] = field(default_factory=list)
    """Elapsed times."""
    cpu_ms: list[float] = field(default_factory=list)
    """Processor times of all threads of this process. Other processes do not count."""
    stages_ms: list[Stages] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Median of the elapsed times."""
        return float(np.median(self.ms))

    @property
    def median_cpu_ms(self) -> float:
        """Median of the processor times."""
        return float(np.median(self.cpu_ms))

    @property
    def least_ms(self) -> float:
        """Elapsed time of the fastest call."""
        return float(min(self.ms))

    @property
    def least_cpu_ms(self) -> float:
        """Smallest processor time."""
        return float(min(self.cpu_ms))

    @property
    def p90_ms(self) -> float:
        """90th percentile of the elapsed times."""
        return float(np.quantile(self.ms, 0.9))

    def stages(self) -> dict[str, float]:
        """Median of each stage. The medians do not sum to the median of the whole."""
        names = self.stages_ms[0] if self.stages_ms else ()
        return {name: float(np.median([stages[name] for stages in self.stages_ms])) for name in names}


@dataclass(frozen=True)
class Measured:
    """Circumstances of a measurement."""

    rounds: int
    """Number of turns of each case."""
    cores_used: float
    """Processor time per elapsed time. It is near 1 with one thread and less if other processes had the processor."""


def measure(
    cases: Mapping[Key, Case], seconds: float, on_time: Callable[[float], None] = lambda elapsed: None
) -> tuple[dict[Key, Times], Measured]:
    """Time all cases in turns, for at least three rounds. The first call of each turn warms up and is not timed.

    Args:
        cases: Cases by any key.
        seconds: Approximate duration of the whole measurement.
        on_time: Called with the elapsed seconds, for a progress bar.
    """
    times: dict[Key, Times] = {key: Times() for key in cases}
    began = time.perf_counter()
    cpu_began = time.process_time()
    rounds = 0
    while rounds < LEAST_ROUNDS or time.perf_counter() - began < seconds:
        for key, case in cases.items():
            _burst(case, times[key])
            on_time(time.perf_counter() - began)
        rounds += 1
    elapsed_s = time.perf_counter() - began
    return times, Measured(rounds, (time.process_time() - cpu_began) / elapsed_s)


def _burst(case: Case, times: Times) -> None:
    """Run one turn of a case."""
    case.call()
    until = time.perf_counter() + _BURST_S
    while True:
        started = time.perf_counter()
        cpu_started = time.process_time()
        stages = case.call()
        cpu_ended = time.process_time()
        ended = time.perf_counter()
        times.ms.append(1e3 * (ended - started) / case.frames)
        times.cpu_ms.append(1e3 * (cpu_ended - cpu_started) / case.frames)
        if stages is not None:
            times.stages_ms.append({name: ms / case.frames for name, ms in stages.items()})
        if ended >= until:
            return
