"""One pass over a stretch of live traffic: features recomputed from the log, counted into stored bins."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

import numpy as np

from mlsd.evaluation.binning import Values, tally
from mlsd.evaluation.bins import Bins
from mlsd.evaluation.drift import add
from mlsd.monitoring.served_rows import SCORE, TOP, _random_rows, columns
from mlsd.prediction_log.record import Record
from mlsd.problem.problem import Problem
from mlsd.serving.inference.replay import Snapshots

AT_ONCE = 64  # requests whose rows are in memory together


@dataclass(frozen=True)
class Layout:
    """What to count: edges per column (features, then `score`), and which features are the same in a whole request."""

    edges: Mapping[str, Values]
    per_request: frozenset[str]


@dataclass(frozen=True)
class Served:
    """What the slices need to know of one request."""

    at: datetime
    new_user: bool
    top_score: float


@dataclass
class Window:
    """Live traffic between two times.

    `bins` counts every row, except that a value which is the same in a whole request counts once per request.
    `sample` holds one row per request at random, [requests, F + 1], the score last (NaN where a fallback answered):
    rows of one request depend on each other, these do not.
    """

    start: datetime | None = None
    end: datetime | None = None
    requests: int = 0
    rows: int = 0
    lost: int = 0  # records that could not be written in this time
    bins: dict[str, Bins] = field(default_factory=dict)
    devices: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    served: list[Served] = field(default_factory=list)
    samples: list[Values] = field(default_factory=list)

    @property
    def sample(self) -> Values:
        """[requests, F + 1]."""
        return np.vstack(self.samples) if self.samples else np.empty((0, 0), np.float32)


def _counted(names: tuple[str, ...], requests: list[Values], layout: Layout) -> dict[str, Bins]:
    rows = np.asfortranarray(np.vstack(requests))
    firsts = np.cumsum([0, *(len(each) for each in requests[:-1])])
    return {
        name: tally(rows[firsts, k] if name in layout.per_request else rows[:, k], layout.edges[name])
        for k, name in enumerate(names)
    }


def _note(window: Window, record: Record, new_below: int) -> None:
    window.start = min(window.start or record.at, record.at)
    window.end = max(window.end or record.at, record.at)
    window.requests += 1
    window.rows += len(record.item_ids)
    window.lost += record.lost
    window.devices[record.device] += 1
    window.degraded.update(record.degraded)
    top = np.sort(record.scores)[-TOP:].mean()
    window.served.append(Served(record.at, record.interactions < new_below, float(top)))


def observe(
    records: Iterable[Record], problem: Problem, snapshots: Snapshots, layout: Layout, new_below: int
) -> Window:
    """Count records; memory stays bounded by 64 requests and one sampled row per request.

    Args:
        records: live records of one release.
        problem: recomputes the features.
        snapshots: loads the item values that a record names.
        layout: the bins to count into.
        new_below: a user with fewer interactions is a new user.
    """
    window, generator = Window(), np.random.default_rng(0)
    names = (*problem.feature_names, SCORE)
    iterator = iter(records)
    while batch := list(islice(iterator, AT_ONCE)):
        requests = [columns(record, problem, snapshots) for record in batch]
        for record in batch:
            _note(window, record, new_below)
        window.samples += [_random_rows(request, 1, generator) for request in requests]
        found = _counted(names, requests, layout)
        window.bins = {name: add(window.bins[name], bins) for name, bins in found.items()} if window.bins else found
    return window
