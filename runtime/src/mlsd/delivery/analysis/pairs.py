"""The candidate's answers beside the champion's, request by request, from the feature log of both."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlsd.evaluation.binning import inner_edges, tally
from mlsd.evaluation.drift import psi
from mlsd.prediction_log.record import Record
from mlsd.prediction_log.writer import read_records

LATEST_COPY = timedelta(seconds=5)  # a copy may be logged this much later than its request
MIN_COMMON = 10  # items that both have scored; the order of fewer says little

Scores = NDArray[np.float64]


def spearman(one: Scores, other: Scores) -> float | None:
    """Rank correlation of two score lists [n]; None if there is no order to compare, 0 if only one has an order."""
    flat_one, flat_other = (bool(np.all(scores == scores[:1])) for scores in (one, other))
    if flat_one and flat_other:
        return None
    if flat_one or flat_other:
        return 0.0
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


class Comparison:
    """Pairs of a live answer and the shadow's answer to the mirrored copy, joined by request id."""

    def __init__(self, folder: Path, champion: int, candidate: int, since: datetime) -> None:
        """Look at records of the two releases after `since` (world clock)."""
        self._folder, self._after = folder, since
        self._roles = {(champion, "live"): 0, (candidate, "shadow"): 1}
        self._waiting: dict[str, tuple[int, Record]] = {}
        self._seen: set[str] = set()
        self._scores: tuple[list[Scores], list[Scores]] = ([], [])
        self.pairs = 0
        self.correlations: list[float] = []

    def update(self) -> None:
        """Take in what both wrote since the last call."""
        newest = self._after
        for record in read_records(self._folder, self._after):
            side = self._roles.get((record.release_id, record.role))
            if side is not None and record.request_id not in self._seen:
                newest = max(newest, record.at)
                self._join(side, record)
        self._after = max(self._after, newest - LATEST_COPY)

    def _join(self, side: int, record: Record) -> None:
        other_side, other = self._waiting.get(record.request_id, (side, record))
        if other_side == side:
            self._waiting[record.request_id] = (side, record)
            return
        del self._waiting[record.request_id]
        self._seen.add(record.request_id)
        self.pairs += 1
        self._scores[side].append(record.scores)
        self._scores[other_side].append(other.scores)
        _, one, two = np.intersect1d(record.item_ids, other.item_ids, return_indices=True)
        if len(one) >= min(
            MIN_COMMON, len(record.item_ids)
        ):  # lists precomputed or pruned under pressure overlap in part
            correlation = spearman(record.scores[one], other.scores[two])
            self.correlations.extend([] if correlation is None else [correlation])

    def score_psi(self) -> float:
        """PSI of the candidate's scores against the champion's, ten bins of the champion's."""
        if not self.pairs:
            return 0.0
        live, shadow = (np.concatenate(side).astype(np.float32) for side in self._scores)
        edges = inner_edges(live)
        return psi(tally(live, edges), tally(shadow, edges))
