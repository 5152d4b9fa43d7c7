"""Offline metrics. Ranking metrics are per request, vectorised over all of them; ties count as their average."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CUT = 10


@dataclass(frozen=True)
class PerRequest:
    """One number per request that has at least one positive, [Q]; `request` holds which one it is."""

    request: NDArray[np.int64]
    ndcg: Floats
    precision: Floats
    recall: Floats


def _averaged_over_ties(request: NDArray[np.int64], score: Floats, label: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Rows by request and falling score: request [n], and label [n] as its mean over rows of equal score."""
    order = np.lexsort((-score, request))
    group, ordered = request[order], score[order]
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (group[1:] != group[:-1]) | (ordered[1:] != ordered[:-1])
    tie = np.cumsum(new) - 1
    mean = np.bincount(tie, weights=label[order]) / np.bincount(tie)
    return group, mean[tie]


def per_request(request: NDArray[np.int64], score: Floats, label: NDArray[np.int8], cut: int = CUT) -> PerRequest:
    """NDCG, precision and recall at `cut` of each request.

    NDCG with binary gains and discount 1 / log2(rank + 1) (Järvelin and Kekäläinen 2002); tied scores count with the
    average over their orders, as scikit-learn's `ndcg_score` does. Requests without a positive have no NDCG.

    Args:
        request: [n] number of each row's request, 0..R-1.
        score: [n] higher is better.
        label: [n] 0 or 1.
        cut: ranks that count.
    """
    group, gain = _averaged_over_ties(request, score, label.astype(np.float64))
    sizes = np.bincount(group)
    rank = np.arange(len(group)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    top = rank < cut
    discount = 1.0 / np.log2(rank[top] + 2.0)
    dcg = np.bincount(group[top], weights=gain[top] * discount, minlength=len(sizes))
    hits = np.bincount(group[top], weights=gain[top], minlength=len(sizes))
    positives = np.bincount(request, weights=label, minlength=len(sizes))
    ideal = np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(cut) + 2.0))])
    some = np.flatnonzero(positives > 0)
    found = positives[some]
    best = ideal[np.minimum(found, cut).astype(np.int64)]
    return PerRequest(some.astype(np.int64), dcg[some] / best, hits[some] / cut, hits[some] / found)


def auc(score: Floats, label: NDArray[np.int8]) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties half; NaN with one class."""
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = (last - (counts - 1) / 2.0)[place]
    positives = int(np.count_nonzero(label))
    negatives = len(label) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    above = float(rank[label > 0].sum()) - positives * (positives + 1) / 2.0
    return above / (positives * negatives)


def log_loss(probability: Floats, label: NDArray[np.int8]) -> float:
    """Mean binary cross-entropy in nats; a training loss, not a success metric."""
    bounded = np.clip(probability, 1e-15, 1.0 - 1e-15)
    return float(-np.mean(np.where(label > 0, np.log(bounded), np.log1p(-bounded))))


@dataclass(frozen=True)
class Reliability:
    """Per bin of rising probability: mean prediction, observed share of positives, rows."""

    predicted: list[float]
    observed: list[float]
    rows: list[int]

    @property
    def error(self) -> float:
        """Expected calibration error: mean gap between predicted and observed, weighted by rows."""
        gaps = np.abs(np.array(self.predicted) - np.array(self.observed))
        return float(np.average(gaps, weights=self.rows)) if self.rows else float("nan")


def reliability(probability: Floats, label: NDArray[np.int8], bins: int = 10) -> Reliability:
    """Calibration over bins of equal row counts (positives are rare: bins of equal width would be empty)."""
    order = np.argsort(probability, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return Reliability(
        predicted=[float(probability[part].mean()) for part in parts],
        observed=[float(label[part].mean()) for part in parts],
        rows=[len(part) for part in parts],
    )
