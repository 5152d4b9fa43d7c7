"""Every user against the pool of items: the functions of the request path, a few threads, constant memory."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from mlsd.design.design import Design
from mlsd.features.snapshot import Snapshot
from mlsd.features.user_values import fill
from mlsd.models.scoring import Bundle
from mlsd.problem.problem import Problem
from mlsd.tasks.ranking.batch.table import Meta, user_record
from mlsd.tasks.ranking.batch.users import Users
from mlsd.tasks.ranking.ranking import popular

AHEAD = 2  # parts that wait per thread: enough to keep it busy, few enough to keep memory constant
PART = 64  # users


def pool(snapshot: Snapshot, problem: Problem, most: int) -> NDArray[np.int64]:
    """Ids of the items to score: the most popular of the snapshot, best first."""
    scores = popular(problem, np.asarray(snapshot.columns), problem.user_defaults)
    return np.asarray(snapshot.ids)[np.argsort(-scores, kind="stable")[:most]]


@dataclass
class Scorer:
    """Scores users; `items` [M, I] are the values of the pool, `context` [1, K] that of the run's moment."""

    design: Design
    problem: Problem
    bundle: Bundle
    meta: Meta
    items: NDArray[np.float32]
    at: datetime
    reasons: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """What every user shares is computed once."""
        self._context = np.array([self.meta.context], np.float32)
        self._dtype = user_record(self.meta)
        stale = self.meta.item_age_s > self.design.max_age_h.item * 3600
        self._shared = ["stale_item"] if stale else []

    def _score(self, user: NDArray[np.float32]) -> tuple[bool, NDArray[np.float64]]:
        """Whether the popular items answer, and the scores [M]: the rule of the request path."""
        if not self.problem.interactions(user) >= self.design.serving.cold_start.min_interactions:
            return True, popular(self.problem, self.items, user)
        return False, self.bundle.score(self.problem.assemble(user[None, :], self.items, self._context))

    def _reason(self, found: list[str]) -> int:
        if found not in self.reasons:
            self.reasons.append(found)
        return self.reasons.index(found)

    def part(self, users: Users, first: int, last: int) -> NDArray[np.void]:
        """Records of users `first` to `last` of a chunk."""
        records = np.zeros(last - first, self._dtype)
        records["ages_s"] = np.nan
        for k, record in enumerate(records, first):
            row = users.row(k)
            for view, written in row.written.items():
                record["ages_s"][self.meta.views.index(view)] = (self.at - written).total_seconds()
            when_stale = self.design.features.when_stale
            values, reasons = fill(row, self.problem, self.design.max_age_h, self.at, when_stale)
            cold, scores = self._score(values)
            order = np.argsort(-scores, kind="stable")[: self.meta.pool]
            record["row"], record["popular"], record["places"] = values, cold, order
            record["scores"] = scores[order[: self.meta.top]]
            record["reasons"] = self._reason([*reasons, *self._shared, *(["cold_start"] if cold else [])])
        return records


def _parts(chunks: Iterator[Users]) -> Iterator[tuple[Users, int, int]]:
    for users in chunks:
        for first in range(0, len(users.ids), PART):
            yield users, first, min(first + PART, len(users.ids))


def scored(
    scorer: Scorer, chunks: Iterator[Users], threads: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.void]]]:
    """User ids and their records, in order, while the next ones are scored."""
    waiting: deque[tuple[NDArray[np.int64], Future[NDArray[np.void]]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="batch") as workers:
        for users, first, last in _parts(chunks):
            waiting.append((users.ids[first:last], workers.submit(scorer.part, users, first, last)))
            if len(waiting) > threads * AHEAD:
                ids, done = waiting.popleft()
                yield ids, done.result()
        for ids, done in waiting:
            yield ids, done.result()
