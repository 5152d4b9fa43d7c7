"""The request path: features within their deadline, one batched score, order; and the popular items when that fails."""

import asyncio
import logging
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from mlsd import clock
from mlsd.design import Design
from mlsd.features.online import UserRow, fill
from mlsd.features.snapshot import Snapshot
from mlsd.problem import Problem
from mlsd.scoring import Bundle
from mlsd.serving.faults import Faults
from mlsd.serving.items import ItemStore, item_rows
from mlsd.serving.request import RankRequest
from mlsd.serving.users import UserStore

LOGGER = logging.getLogger("mlsd.ranker")
POPULARITY = "popularity"
INVERTED = ":inverted"
LOST = frozenset({"features_timeout", "features_error"})  # the user may well be known, only not now
ENGINES = {"boosted_trees": "lightgbm"}


@dataclass(frozen=True)
class Gathered:
    """Outcome of the features hop; n candidates, U user columns, I item columns, K context columns."""

    snapshot: Snapshot
    user: NDArray[np.float32]  # [U], after defaults
    items: NDArray[np.float32]  # [n, I]
    context: NDArray[np.float32]  # [1, K]
    interactions: float
    ages_s: dict[str, float]


@dataclass
class Ranking:
    """One answer: scores [n] in the order of the request, hop times, why it is less than the full answer."""

    at: datetime
    gathered: Gathered
    scores: NDArray[np.float64]
    engine: str
    features: NDArray[np.float32] | None
    hops_ms: dict[str, float] = field(default_factory=dict)
    degraded: list[str] = field(default_factory=list)


def popular(problem: Problem, items: NDArray[np.float32]) -> NDArray[np.float64]:
    """The fallback's scores, [n] from [n, I], finite and in [0, 1] whatever the items hold."""
    return np.clip(np.nan_to_num(problem.popularity(items), nan=0.0), 0.0, 1.0)


class Ranker:
    """Ranks candidates; a failing store or model costs quality, never an answer."""

    def __init__(
        self, design: Design, problem: Problem, users: UserStore, items: ItemStore, bundle: Bundle | None
    ) -> None:
        """`bundle` None answers with the popular items."""
        self._problem, self._users, self._items, self._bundle = problem, users, items, bundle
        self._max_age_h = design.max_age_h
        self._enough = design.serving.cold_start.min_interactions
        self.faults = Faults()
        self.engine = ENGINES.get(bundle.manifest.family, "linear") if bundle else POPULARITY

    async def rank(self, request: RankRequest) -> Ranking:
        """Score the candidates of one request."""
        at, started = clock.now(), time.perf_counter()
        degraded: list[str] = []
        gathered = await self._gather(request, at, degraded)
        gathered_at = time.perf_counter()
        if self.faults.slow_ms:
            await asyncio.sleep(self.faults.slow_ms / 1e3)
        scores, engine, features = self._score(gathered, degraded)
        scored_at = time.perf_counter()
        hops = {"features": (gathered_at - started) * 1e3, "inference": (scored_at - gathered_at) * 1e3}
        return Ranking(at, gathered, scores, engine, features, hops, degraded)

    async def _gather(self, request: RankRequest, at: datetime, degraded: list[str]) -> Gathered:
        problem, snapshot = self._problem, self._items.snapshot
        reading = self._users.begin(request.user_id)  # meanwhile, the items and the context
        items, all_known = item_rows(snapshot, request.candidates, problem)
        moment = np.array([at.replace(tzinfo=None)], "datetime64[us]")
        context = problem.context(moment, np.array([request.device]))
        ages = {"item": (at - snapshot.written_at).total_seconds()}
        user = await self._user(reading, at, ages, degraded)
        if not all_known:
            degraded.append("unknown_items")
        if ages["item"] > self._max_age_h.item * 3600:
            degraded.append("stale_item")
        return Gathered(snapshot, user, items, context, problem.interactions(user), ages)

    async def _user(
        self, reading: Awaitable[UserRow | None], at: datetime, ages: dict[str, float], degraded: list[str]
    ) -> NDArray[np.float32]:
        """The user's values [U], or the defaults when the store is late or broken; notes ages and reasons."""
        try:
            row = await reading
        except TimeoutError:
            degraded.append("features_timeout")
            return self._problem.user_defaults
        except Exception as error:  # whatever a store does, the user gets an answer
            LOGGER.error("features of a user: %s: %s", type(error).__name__, error)
            degraded.append("features_error")
            return self._problem.user_defaults
        if row is not None:
            ages |= {view: (at - written).total_seconds() for view, written in row.written.items()}
        values, reasons = fill(row, self._problem, self._max_age_h, at)
        degraded.extend(reasons)
        return values

    def _score(
        self, gathered: Gathered, degraded: list[str]
    ) -> tuple[NDArray[np.float64], str, NDArray[np.float32] | None]:
        if not gathered.interactions >= self._enough:  # also when it is not a number
            if not LOST.intersection(degraded):
                degraded.append("cold_start")
        elif self._bundle is None:
            degraded.append("model_unavailable")
        else:
            try:
                matrix = self._problem.assemble(gathered.user[None, :], gathered.items, gathered.context)
                scores = self._bundle.score(matrix)
            except Exception as error:  # the popular items are better than an error page
                LOGGER.error("model: %s: %s", type(error).__name__, error)
                degraded.append("model_error")
            else:
                return (
                    (1.0 - scores, self.engine + INVERTED, matrix)
                    if self.faults.invert
                    else (scores, self.engine, matrix)
                )
        return popular(self._problem, gathered.items), POPULARITY, None
