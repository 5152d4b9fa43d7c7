"""How long one request's scoring takes, on one thread: the number that the latency budget is held against.

CPU time of that thread, so that what else runs on the training machine is not held against the model.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlsd.models.scoring import Bundle

WARM_UP = 10
REPEATS = 200


@dataclass(frozen=True)
class Latency:
    """Milliseconds for one batch."""

    p50_ms: float
    p99_ms: float


def measure(bundle: Bundle, matrix: NDArray[np.float32], candidates: int, repeats: int = REPEATS) -> Latency:
    """Time `candidates` rows, drawn from `matrix` [n, F], scored as one batch.

    Args:
        bundle: loaded with the number of threads it serves with.
        matrix: rows to take values from; repeated when there are fewer.
        candidates: rows of one request.
        repeats: how many batches are timed.
    """
    batch = np.ascontiguousarray(matrix[np.arange(candidates) % len(matrix)])
    taken = []
    for _ in range(WARM_UP + repeats):
        started = time.thread_time()
        bundle.score(batch)
        taken.append((time.thread_time() - started) * 1e3)
    p50, p99 = np.quantile(taken[WARM_UP:], [0.5, 0.99])
    return Latency(float(p50), float(p99))
