"""RankNet's pairwise loss for boosted trees: LightGBM has none (lambdarank weighs pairs by NDCG, so is listwise)."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mlsd.training.rows import Rows

DRAWN = 20  # negatives drawn for each positive, once


@dataclass(frozen=True)
class Pairs:
    """Row numbers of pairs of one request, [P] each: `better` was engaged with, `worse` was not."""

    better: NDArray[np.int64]
    worse: NDArray[np.int64]

    @classmethod
    def drawn(cls, rows: Rows, seed: int) -> Self:
        """Draw up to `DRAWN` negatives of the same request for each positive, with replacement."""
        generator = np.random.default_rng(seed)
        negatives = np.flatnonzero(rows.label == 0)
        count = np.bincount(rows.request[negatives], minlength=len(rows.sizes))
        first = np.cumsum(count) - count
        better = np.flatnonzero(rows.label == 1)
        better = np.repeat(better, np.minimum(count[rows.request[better]], DRAWN))
        request = rows.request[better]
        place = (generator.random(len(better)) * count[request]).astype(np.int64)
        return cls(better, negatives[first[request] + place])

    def gradient(self, raw: NDArray[np.float64], _: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """First and second derivative of sum(log(1 + exp(-(better - worse)))) by each row's raw score, [n] each.

        Burges et al., Learning to Rank using Gradient Descent, 2005.
        """
        wrong = 1.0 / (1.0 + np.exp(np.clip(raw[self.better] - raw[self.worse], -36.0, 36.0)))
        first = self._sum(self.worse, wrong, len(raw)) - self._sum(self.better, wrong, len(raw))
        curve = wrong * (1.0 - wrong)
        second = self._sum(self.worse, curve, len(raw)) + self._sum(self.better, curve, len(raw))
        return first, np.maximum(second, 1e-6)

    @staticmethod
    def _sum(rows: NDArray[np.int64], values: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        return np.bincount(rows, weights=values, minlength=n).astype(np.float64)
