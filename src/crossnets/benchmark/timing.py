"""Times of many things at once: in turns, so that whatever else the machine does hits all of them alike."""

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import numpy as np

_BURST_S = 0.025
"""Seconds of calls to one case in one turn. There is at least one call."""
LEAST_ROUNDS = 3

Stages: TypeAlias = Mapping[str, float]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Case:
    """One timed call."""

    call: Callable[[], Stages | None]
    """The call. It may return the milliseconds of its stages."""
    frames: int = 1
    """Frames that one call handles. Times are for one frame."""


@dataclass
class Times:
    """Milliseconds of one frame, a value for each call."""

    ms: list[float] = field(default_factory=list)
    """Times by the clock."""
    cpu_ms: list[float] = field(default_factory=list)
    """Processor time in all threads of this process. It does not count what other processes take."""
    stages_ms: list[Stages] = field(default_factory=list)

    @property
    def median_ms(self) -> float:
        """Half of the calls took less."""
        return float(np.median(self.ms))

    @property
    def median_cpu_ms(self) -> float:
        """As `median_ms`, in processor time."""
        return float(np.median(self.cpu_ms))

    @property
    def least_ms(self) -> float:
        """Time of the fastest call."""
        return float(min(self.ms))

    @property
    def least_cpu_ms(self) -> float:
        """As `least_ms`, in processor time."""
        return float(min(self.cpu_ms))

    @property
    def p90_ms(self) -> float:
        """Nine of ten calls took less."""
        return float(np.quantile(self.ms, 0.9))

    def stages(self) -> dict[str, float]:
        """The median of each stage. They do not sum to the median of the whole."""
        names = self.stages_ms[0] if self.stages_ms else ()
        return {name: float(np.median([stages[name] for stages in self.stages_ms])) for name in names}


@dataclass(frozen=True)
class Measured:
    """Times of all cases."""

    rounds: int
    cores_used: float
    """Seconds of processor time in a second: near 1 with one thread, less where others had the processor."""


def measure(
    cases: Mapping[Key, Case], seconds: float, on_time: Callable[[float], None] = lambda elapsed: None
) -> tuple[dict[Key, Times], Measured]:
    """Time all cases in turns for about so many seconds, at least three rounds; the first call of each turn warms up.

    Args:
        cases: By any key.
        seconds: All together.
        on_time: Is told the seconds that have passed, for a progress bar.
    """
    times: dict[Key, Times] = {key: Times() for key in cases}
    began, cpu_began, rounds = time.perf_counter(), time.process_time(), 0
    while rounds < LEAST_ROUNDS or time.perf_counter() - began < seconds:
        for key, case in cases.items():
            _burst(case, times[key])
            on_time(time.perf_counter() - began)
        rounds += 1
    took = time.perf_counter() - began
    return times, Measured(rounds, (time.process_time() - cpu_began) / took)


def _burst(case: Case, times: Times) -> None:
    """One turn."""
    case.call()
    until = time.perf_counter() + _BURST_S
    while True:
        started, cpu_started = time.perf_counter(), time.process_time()
        stages = case.call()
        cpu_ended, ended = time.process_time(), time.perf_counter()
        times.ms.append(1e3 * (ended - started) / case.frames)
        times.cpu_ms.append(1e3 * (cpu_ended - cpu_started) / case.frames)
        if stages is not None:
            times.stages_ms.append({name: ms / case.frames for name, ms in stages.items()})
        if ended >= until:
            return
