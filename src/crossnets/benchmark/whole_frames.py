"""Timing of whole frames, from a raw depth image to joints in millimetres."""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np

from crossnets.benchmark.engines import Engine
from crossnets.benchmark.frames import RawFrame
from crossnets.benchmark.our_networks import NetworkFile, tracker_for
from crossnets.benchmark.timing import Case
from crossnets.inference.tracker import FINDS_EVERY

Mode: TypeAlias = Literal["predict", "track"]
"""`predict` detects hands in each frame. `track` follows a hand that holds still for 15 frames."""
MODES: tuple[Mode, ...] = get_args(Mode)


class WholeFrames:
    """Timed calls of one tracker on successive frames."""

    def __init__(
        self, frames: Sequence[RawFrame], estimator: NetworkFile, detector: NetworkFile, engine: Engine
    ) -> None:
        self._frames = frames
        self._tracker, self._known = tracker_for(estimator, detector, engine)
        self._next = 0
        self._hands: dict[Mode, list[int]] = {"predict": [], "track": []}

    def share_with_hand(self, mode: Mode) -> float:
        """Share of the frames so far in which a hand is found."""
        return float(np.mean([count > 0 for count in self._hands[mode]]))

    def case(self, mode: Mode) -> Case:
        """Case that times the given mode."""
        if mode == "predict":
            return Case(self._predict)
        return Case(self._track, FINDS_EVERY)

    def _frame(self) -> RawFrame:
        frame = self._frames[self._next % len(self._frames)]
        self._next += 1
        if self._known is not None:
            self._known.center_mm = frame.center_mm
        return frame

    def _predict(self) -> dict[str, float]:
        frame = self._frame()
        hands = self._tracker.predict(frame.depth_mm, frame.camera)
        self._hands["predict"].append(len(hands))
        return dict(self._tracker.stages_ms)

    def _track(self) -> dict[str, float]:
        """Track as many frames as lie between two detections, so that hands are detected in one of them."""
        frame = self._frame()
        self._tracker.reset()
        stages = []
        for _ in range(FINDS_EVERY):
            hands = self._tracker.track(frame.depth_mm, frame.camera)
            self._hands["track"].append(len(hands))
            stages.append(self._tracker.stages_ms)
        return {name: float(np.sum([ms[name] for ms in stages])) for name in stages[0]}
