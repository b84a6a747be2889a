"""Calls of the package with wrong types or sizes raise in tests."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from beartype import beartype
from jaxtyping import Float, TypeCheckError

from crossnets.datasets.file_checks import parse_joints
from crossnets.geometry.camera import CAMERAS, project
from crossnets.types import HandFrame
from tests.type_checks import MOST_MADE, checked

check = checked(typechecker=beartype)


@check
def added(first: Float[np.ndarray, "N 3"], second: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    return (first + second)[: 2 if first[0, 0] else None]


def test_arguments_and_results_have_axes_of_the_same_size() -> None:
    assert added(np.zeros((4, 3)), np.zeros((4, 3))).shape == (4, 3)
    assert added(np.zeros((5, 3)), np.zeros((5, 3))).shape == (5, 3), "sizes of the call before are forgotten"
    with pytest.raises(TypeCheckError, match="second"):
        added(np.zeros((4, 3)), np.zeros((1, 3)))
    with pytest.raises(TypeCheckError, match="first"):
        added(np.zeros((4, 3), np.int64), np.zeros((4, 3)))
    with pytest.raises(TypeCheckError, match="return"):
        added(np.ones((4, 3)), np.zeros((4, 3)))


def test_a_call_within_a_call_has_sizes_of_its_own() -> None:
    @check
    def outer(values: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        assert added(values[:1] * 0, values[:1]).shape == (1, 3)
        return values

    assert outer(np.zeros((4, 3))).shape == (4, 3)


def test_sizes_that_an_argument_states_are_compared() -> None:
    @check
    def empty(count: int) -> Float[np.ndarray, "{count} 3"]:
        return np.zeros((min(count, 2), 3))

    assert empty(2).shape == (2, 3)
    with pytest.raises(TypeCheckError):
        empty(3)


def test_fields_of_a_dataclass_are_checked() -> None:
    @check
    @dataclass(frozen=True)
    class Pair:
        first: Float[np.ndarray, "N"]
        second: Float[np.ndarray, "N"]

    assert Pair(np.zeros(2), np.zeros(2)).first.shape == (2,)
    with pytest.raises(TypeCheckError, match="second"):
        Pair(np.zeros(2), np.zeros(3))


def test_functions_methods_and_dataclasses_of_the_package_are_checked() -> None:
    camera = CAMERAS["nyu-kinect"].pinhole
    with pytest.raises(TypeCheckError, match="project"):
        project(np.zeros((4, 2)), camera)
    with pytest.raises(TypeCheckError):
        parse_joints("1 2 3", 1, "labels.txt", 1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeCheckError, match="depth_mm"):
        HandFrame(key="a", depth_mm=np.zeros(3, np.float32), joints_mm=None, camera=camera, sequence="")


def test_generators_are_checked() -> None:
    @check
    def counted(count: int) -> Iterator[int]:
        yield from range(count)

    assert list(counted(3)) == [0, 1, 2]
    with pytest.raises(TypeCheckError, match="count"):
        counted("3")


def test_a_function_within_another_is_checked_as_often_as_is_worth_its_time() -> None:
    def made() -> Callable[[np.ndarray], int]:
        @check
        def rows(values: Float[np.ndarray, "N 3"]) -> int:
            return len(values)

        return rows

    for _ in range(MOST_MADE):
        with pytest.raises(TypeCheckError):
            made()(np.zeros((4, 2)))
    assert made()(np.zeros((4, 2))) == 4
