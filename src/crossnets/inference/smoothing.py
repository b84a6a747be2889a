"""The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012): steady when still, quick when moving."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class OneEuroConfig:
    """Its three constants, for millimetres and seconds."""

    min_cutoff_hz: float = 2.0
    """Cutoff for a still joint. A lower one is steadier and lags more."""
    beta_per_mm: float = 0.02
    """Growth of the cutoff with each mm/s. A higher one lags less."""
    speed_cutoff_hz: float = 1.0
    """Cutoff of the speed that the joint's cutoff depends on."""

    def __post_init__(self) -> None:
        cutoffs = (self.min_cutoff_hz, self.speed_cutoff_hz)
        if not (min(cutoffs) > 0 and self.beta_per_mm >= 0 and np.isfinite([*cutoffs, self.beta_per_mm]).all()):
            raise ValueError(f"{self}: expected cutoffs above 0 Hz and a beta of 0 or more.")


class OneEuro:
    """A filter for each coordinate of an array; the cutoff of a joint depends on the speed of all its coordinates."""

    def __init__(self, config: OneEuroConfig | None = None) -> None:
        self.config = config or OneEuroConfig()
        self._value: Float[np.ndarray, "J 3"] | None = None
        self._speed: Float[np.ndarray, "J 3"] | None = None
        self._time_s = 0.0

    def __call__(self, values: Float[np.ndarray, "J 3"], time_s: float) -> Float[np.ndarray, "J 3"]:
        """The next value, filtered.

        Raises:
            ValueError: the time is not after that of the last call.
        """
        if self._value is None or self._speed is None:
            self._value, self._speed, self._time_s = values.astype(float), np.zeros(values.shape), time_s
            return values
        step_s = time_s - self._time_s
        if not step_s > 0:
            raise ValueError(f"A frame at {time_s} s follows one at {self._time_s} s; times must grow.")
        speed = (values - self._value) / step_s
        self._speed = self._speed + _share(self.config.speed_cutoff_hz, step_s) * (speed - self._speed)
        fast = np.linalg.norm(self._speed, axis=-1, keepdims=True)
        share = _share(self.config.min_cutoff_hz + self.config.beta_per_mm * fast, step_s)
        self._value = self._value + share * (values - self._value)
        self._time_s = time_s
        return self._value.astype(values.dtype)


def _share(cutoff_hz: np.ndarray | float, step_s: float) -> np.ndarray | float:
    """Share of the new value in the filtered one: equation (3) of the paper."""
    turn = 2 * np.pi * cutoff_hz * step_s
    return turn / (turn + 1)
