"""What a ranking is made of and what it says of itself: for who ranks, answers, remembers, logs and replays."""

import time
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from mlsd.problem.problem import Problem

POPULARITY = "popularity"
INVERTED = ":inverted"
# The user may well be known, only not now.
LOST = frozenset({"features_timeout", "features_error", "features_breaker"})
FAILED = frozenset({"inference_timeout", "post_timeout", "model_error", "model_unavailable"})
NOT_FULL = LOST | FAILED | {"pruned", "cached"}  # never worth remembering
CUT_OFF = {"queue": "inference_timeout", "features": "features_timeout", "inference": "inference_timeout"}


@dataclass(frozen=True)
class Gathered:
    """Outcome of the features hop; n candidates, U user columns, I item columns, K context columns."""

    snapshot_version: str
    user: NDArray[np.float32]  # [U], after defaults
    items: NDArray[np.float32]  # [n, I]
    context: NDArray[np.float32]  # [1, K]
    interactions: float
    ages_s: dict[str, float]


@dataclass
class Ranking:
    """One answer: scores [n] of item_ids [n], hop times, why it is less than the full answer."""

    at: datetime
    gathered: Gathered
    item_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    engine: str
    features: NDArray[np.float32] | None
    hops_ms: dict[str, float] = field(default_factory=dict)
    degraded: list[str] = field(default_factory=list)
    unscored_ids: NDArray[np.int64] | None = None  # left out under pressure, best guess first


@dataclass(slots=True)
class Progress:
    """Where a request is: written by the thread that ranks it, read by the event loop that may cut it off."""

    hop: str = "queue"
    since: float = field(default_factory=time.perf_counter)
    took_ms: dict[str, float] = field(default_factory=dict)

    def enter(self, hop: str) -> None:
        """The next hop begins; its clock starts before it is named, so that nobody times it from an older start."""
        now = time.perf_counter()
        self.took_ms[self.hop] = self.took_ms.get(self.hop, 0.0) + (now - self.since) * 1e3
        self.since = now
        self.hop = hop


def popular(problem: Problem, items: NDArray[np.float32], user: NDArray[np.float32]) -> NDArray[np.float64]:
    """The fallback's scores for a user [U], [n] from [n, I], finite and in [0, 1] whatever items and user hold."""
    return np.clip(np.nan_to_num(problem.cold_start(items, user), nan=0.0), 0.0, 1.0)
