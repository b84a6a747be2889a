"""Timing of cases in turns."""

import time

import numpy as np
import pytest

from crossnets.benchmark.timing import LEAST_ROUNDS, Case, Times, measure


def test_cases_run_in_turns_after_a_warm_up() -> None:
    called: list[str] = []

    def slow(name: str) -> None:
        called.append(name)
        time.sleep(0.03)

    elapsed: list[float] = []
    times, measured = measure({name: Case(lambda name=name: slow(name)) for name in "ab"}, 0.001, elapsed.append)
    assert measured.rounds == LEAST_ROUNDS
    assert "".join(called) == LEAST_ROUNDS * "aabb"
    assert [len(found.ms) for found in times.values()] == [LEAST_ROUNDS, LEAST_ROUNDS], "the first call warms up"
    assert times["a"].median_ms == pytest.approx(30, abs=25)
    assert times["a"].median_cpu_ms < times["a"].median_ms, "sleep takes no processor time"
    assert measured.cores_used < 0.9
    assert elapsed == sorted(elapsed)


def test_times_are_per_frame() -> None:
    def call() -> dict[str, float]:
        time.sleep(0.03)
        return {"find": 20.0, "network": 10.0}

    times, _ = measure({0: Case(call, frames=10)}, 0.001)
    assert times[0].median_ms == pytest.approx(3, abs=2.5)
    assert times[0].stages() == {"find": 2.0, "network": 1.0}


def test_statistics_of_times() -> None:
    times = Times([3.0, 1.0, 100.0], [2.0, 1.0, 9.0], [{"find": 1.0}, {"find": 5.0}, {"find": 2.0}])
    assert (times.median_ms, times.least_ms, times.median_cpu_ms, times.least_cpu_ms) == (3, 1, 2, 1)
    assert times.p90_ms == pytest.approx(np.quantile([3, 1, 100], 0.9))
    assert times.stages() == {"find": 2.0}
    assert Times([1.0]).stages() == {}
