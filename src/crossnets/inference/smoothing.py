"""The One-Euro filter (Casiez, Roussel, Vogel, CHI 2012). It smooths still joints strongly and moving joints weakly."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class OneEuroConfig:
    """The three constants of the filter, for millimetres and seconds."""

    min_cutoff_hz: float = 2.0
    """Cutoff frequency for a still joint. A lower one smooths more and lags more."""
    beta_per_mm: float = 0.02
    """Growth of the cutoff frequency per mm/s. A higher one lags less."""
    speed_cutoff_hz: float = 1.0
    """Cutoff frequency of the filtered speed, on which the cutoff of the joint depends."""

    def __post_init__(self) -> None:
        cutoffs = (self.min_cutoff_hz, self.speed_cutoff_hz)
        if not (min(cutoffs) > 0 and self.beta_per_mm >= 0 and np.isfinite([*cutoffs, self.beta_per_mm]).all()):
            raise ValueError(f"{self}: expected cutoffs above 0 Hz and a beta of 0 or more.")


class OneEuro:
    """Filters for the coordinates of joints. The cutoff of a joint depends on its speed in space."""

    def __init__(self, config: OneEuroConfig | None = None) -> None:
        self.config = config or OneEuroConfig()
        self._value: Float[np.ndarray, "J 3"] | None = None
        self._speed: Float[np.ndarray, "J 3"] | None = None
        self._time_s = 0.0

    def __call__(self, values: Float[np.ndarray, "J 3"], time_s: float) -> Float[np.ndarray, "J 3"]:
        """Filter the next value.

        Raises:
            ValueError: the time is not after that of the last call.
        """
        if self._value is None or self._speed is None:
            self._value = values.astype(float)
            self._speed = np.zeros(values.shape)
            self._time_s = time_s
            return values
        step_s = time_s - self._time_s
        if not step_s > 0:
            raise ValueError(f"A frame at {time_s} s follows one at {self._time_s} s. Times must increase.")
        speed = (values - self._value) / step_s
        self._speed = self._speed + _share(self.config.speed_cutoff_hz, step_s) * (speed - self._speed)
        fast = np.linalg.norm(self._speed, axis=-1, keepdims=True)
        share = _share(self.config.min_cutoff_hz + self.config.beta_per_mm * fast, step_s)
        self._value = self._value + share * (values - self._value)
        self._time_s = time_s
        return self._value.astype(values.dtype)


def _share(cutoff_hz: np.ndarray | float, step_s: float) -> np.ndarray | float:
    """Weight of the new value in the filtered value: equation (3) of the paper."""
    turn = 2 * np.pi * cutoff_hz * step_s
    return turn / (turn + 1)
