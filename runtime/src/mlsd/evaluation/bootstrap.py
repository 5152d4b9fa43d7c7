"""Bootstrap intervals over requests: the request is what is drawn again, because its rows depend on each other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CHUNK = 4_000_000  # drawn values held at a time, 32 MB


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % percentile interval; n values."""

    mean: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def interval(values: NDArray[np.float64], rounds: int, seed: int) -> Interval:
    """Percentile bootstrap of the mean (Efron 1979). For a difference, pass the paired differences.

    Args:
        values: [n], one per request.
        rounds: how often all requests are drawn again.
        seed: the same seed gives the same interval.
    """
    n = len(values)
    if n == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    generator = np.random.default_rng(seed)
    at_once = max(1, CHUNK // n)
    parts = [
        values[generator.integers(n, size=(min(at_once, rounds - done), n))].mean(axis=1)
        for done in range(0, rounds, at_once)
    ]
    low, high = np.quantile(np.concatenate(parts), [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high), n)
