"""What the request path asks before it scores: is there an answer, or are there candidates, precomputed?"""

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlsd.core.errors import UserError
from mlsd.core.polling import Backoff, poll
from mlsd.features.snapshot import Snapshot
from mlsd.models.release import Release
from mlsd.problem.context import Context
from mlsd.tasks.ranking.batch.table import Table, current
from mlsd.tasks.ranking.ranking import POPULARITY, popular
from mlsd.tasks.ranking.request import RankRequest

LOGGER = logging.getLogger("mlsd.precomputed")
POLL_S = 1.0


class Items(Protocol):
    """Whoever holds the snapshot in use."""

    snapshot: Snapshot


@dataclass(frozen=True)
class PrecomputedRanking:
    """A list precomputed, n items best first, with all that a record needs to replay it to the bit."""

    item_ids: NDArray[np.int64]
    scores: NDArray[np.float64]
    user_row: NDArray[np.float32]  # [U]
    context: NDArray[np.float32]  # [K], of the run's moment
    snapshot_version: str
    engine: str
    interactions: float
    ages_s: dict[str, float]
    reasons: list[str]


@dataclass(frozen=True)
class PrecomputedRun:
    """The request with candidates, why it is not what the mode promises, and the answer if it was precomputed."""

    request: RankRequest
    answer: PrecomputedRanking | None = None
    reasons: list[str] = field(default_factory=list)


class PrecomputedRankings:
    """The newest run of the release's own model, swapped in one assignment when a newer one appears.

    The rule: in batch mode a request gets its user's list, or of it the candidates that it names. In hybrid mode a
    request without candidates gets its user's, to be scored now. In every other case the request is scored now, by
    the same model, and the reason says why: `batch_missing` (no run of this model), `batch_stale` (too old),
    `batch_user` (the run did not know the user), `batch_items` (it says nothing of one of the candidates). A request
    without candidates then ranks the most popular items.
    """

    def __init__(self, context: Context, items: Items, release: Release) -> None:
        """Load the current run, if there is one, and look for the next one from now on."""
        design, home, problem = context.design, context.home, context.problem
        self._home, self._problem, self._items, self._release = home, problem, items, release
        self._batch = design.serving_mode == "batch"
        self._most = min(design.batch.pool, design.scale.candidates)
        self._max_age = timedelta(hours=design.batch.max_age_h)
        self._table: Table | None = None
        self._popular: tuple[str, NDArray[np.int64]] = ("", np.empty(0, np.int64))
        self._name, self._refused = "", Backoff()
        poll(self._look, POLL_S, LOGGER, lambda: "precomputed rankings", at_once=True)

    @classmethod
    def of(cls, context: Context, items: Items, release: Release) -> "PrecomputedRankings | None":
        """What the design's serving mode needs; None for online."""
        design = context.design
        return None if design.serving_mode == "online" else cls(context, items, release)

    def _look(self) -> None:
        self._rank_popular()
        folder = current(self._home, self._release.model_version, self._release.model_digest)
        if folder is None or folder.name == self._name or self._refused.holds(folder.name):
            return
        self._refused.add(folder.name)
        self._table = self._load(folder)
        self._name = folder.name
        LOGGER.info("precomputed rankings in use: %s, %d users", folder.name, len(self._table.ids))

    def _load(self, folder: Path) -> Table:
        table = Table.load(folder)
        if table.meta.model_digest != self._release.model_digest:
            raise UserError(f"{folder}: made by model {table.meta.model_digest[:12]}, not by this one")
        if tuple(table.meta.user_columns) != tuple(self._problem.user_columns):
            raise UserError(f"{folder}: its user columns are not the problem's; run `mlsd batch` again")
        return table

    def _rank_popular(self) -> None:
        """The most popular items of the snapshot in use, for a request that nothing was made for."""
        snapshot = self._items.snapshot
        if self._popular[0] != snapshot.version:
            scores = popular(self._problem, np.asarray(snapshot.columns), self._problem.user_defaults)
            order = np.argsort(-scores, kind="stable")[: self._most]
            self._popular = (snapshot.version, np.asarray(snapshot.ids)[order])

    def look_up(self, request: RankRequest, at: datetime) -> PrecomputedRun:
        """Fill in what was precomputed; reads a memory map, about 50 microseconds."""
        named = len(request.candidates) > 0
        if named and not self._batch:
            return PrecomputedRun(request)
        table, reason = self._usable(at)
        if table is None:
            return self._now(request, self._popular[1], reason)
        record = table.find(request.user_id)
        if record is None:
            return self._now(request, self._popular[1], "batch_user")
        if not self._batch:
            return PrecomputedRun(replace(request, candidates=table.items[record["places"]]))
        answer = self._answer(table, record, request.candidates, at)
        if answer is None:
            return self._now(request, request.candidates, "batch_items")
        return PrecomputedRun(replace(request, candidates=answer.item_ids), answer)

    def _usable(self, at: datetime) -> tuple[Table | None, str]:
        """The run in use, or why there is none."""
        table = self._table
        if table is None:
            return None, "batch_missing"
        return (None, "batch_stale") if at - table.meta.written_at > self._max_age else (table, "")

    def _now(self, request: RankRequest, candidates: NDArray[np.int64], reason: str) -> PrecomputedRun:
        """To be scored now: the request's own candidates if it names any, else these."""
        return PrecomputedRun(
            request if len(request.candidates) else replace(request, candidates=candidates), None, [reason]
        )

    def _answer(
        self, table: Table, record: Any, candidates: NDArray[np.int64], at: datetime
    ) -> PrecomputedRanking | None:
        """The user's list, or what it says of the candidates; None when it says nothing of one of them."""
        meta = table.meta
        ids, scores = table.items[record["places"][: meta.top]], np.array(record["scores"])
        if len(candidates):
            wanted = np.isin(ids, candidates)
            if np.count_nonzero(wanted) < len(candidates):
                return None
            ids, scores = ids[wanted], scores[wanted]
        since, row = (at - meta.written_at).total_seconds(), np.array(record["row"])
        ages = dict(zip(meta.views, record["ages_s"].tolist(), strict=True)) | {"item": meta.item_age_s}
        return PrecomputedRanking(
            item_ids=ids,
            scores=scores,
            user_row=row,
            context=np.array(meta.context, np.float32),
            snapshot_version=meta.snapshot_version,
            engine=POPULARITY if record["popular"] else meta.engine,
            interactions=self._problem.interactions(row),
            ages_s={view: age + since for view, age in ages.items() if np.isfinite(age)} | {"batch": since},
            reasons=list(meta.reasons[record["reasons"]]),
        )
