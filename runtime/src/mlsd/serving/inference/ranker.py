"""One ranking: features within their deadline, one batched score; and the popular items when either fails."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mlsd.core import clock
from mlsd.design.design import Design
from mlsd.features.items import ItemStore, item_rows
from mlsd.features.online_stores.base import UserRow
from mlsd.features.user_values import fill
from mlsd.models.scoring import Bundle
from mlsd.problem.problem import Problem
from mlsd.serving.faults import HEALTHY, NO_FAULTS, FaultBoard
from mlsd.serving.inference.users import CircuitOpenError, UserStore
from mlsd.tasks.ranking.batch.precomputed import PrecomputedRanking, PrecomputedRankings, PrecomputedRun
from mlsd.tasks.ranking.ranking import CUT_OFF, INVERTED, LOST, POPULARITY, Gathered, Progress, Ranking, popular
from mlsd.tasks.ranking.request import RankRequest

LOGGER = logging.getLogger("mlsd.ranker")
Read = Callable[[], UserRow | None]


def _made_ahead(made: PrecomputedRanking, at: datetime, progress: Progress) -> Ranking:
    """An answer of the last batch run, as it is."""
    none = np.zeros((0, 0), dtype=np.float32)
    gathered = Gathered(
        made.snapshot_version, made.user_row, none, made.context[None, :], made.interactions, made.ages_s
    )
    progress.enter("inference")
    progress.enter("post")
    hops = progress.took_ms
    return Ranking(at, gathered, made.item_ids, made.scores, made.engine, None, hops, list(made.reasons))


class Ranker:
    """Ranks candidates; a failing store or model costs quality, never an answer."""

    def __init__(
        self,
        design: Design,
        problem: Problem,
        users: UserStore,
        items: ItemStore,
        bundle: Bundle | None = None,
        faults: FaultBoard = NO_FAULTS,
        precomputed: PrecomputedRankings | None = None,
    ) -> None:
        """`bundle` None answers with the popular items, until one is put; `precomputed` has answers made before."""
        self._problem, self._users, self._items, self._bundle, self._precomputed = (
            problem,
            users,
            items,
            bundle,
            precomputed,
        )
        self._max_age_h, self._when_stale = design.max_age_h, design.features.when_stale
        self._enough = design.serving.cold_start.min_interactions
        self._faults = faults

    @property
    def bundle(self) -> Bundle | None:
        """The model in use."""
        return self._bundle

    def set_model(self, bundle: Bundle) -> None:
        """Score with this model from the next request on."""
        self._bundle = bundle

    @property
    def reads_here(self) -> bool:
        """Whether the ranking thread reads the user; else `begin_read` does, in the event loop."""
        return self._users.reads_here

    def begin_read(self, user_id: int) -> Awaitable[UserRow | None]:
        """Start to read a user; bounded by the features hop."""
        return self._users.begin(user_id)

    def gave_up_reading(self) -> None:
        """A ranking thread did not come back from the store."""
        self._users.gave_up()

    @property
    def snapshot_version(self) -> str:
        """Of the items in use."""
        return self._items.snapshot.version

    def rank(
        self, request: RankRequest, progress: Progress, keep: int | None = None, read: Read | None = None
    ) -> Ranking:
        """Score the candidates of one request.

        Args:
            request: who asks, for what.
            progress: is told which hop begins.
            keep: score only so many candidates, the most popular ones.
            read: gives the user's row, or raises, where it has been read already.
        """
        at, bundle = clock.now(), self._bundle
        progress.enter("features")
        made = self._made(request, at)
        if made.answer is not None:
            return _made_ahead(made.answer, at, progress)
        request, degraded = made.request, made.reasons
        gathered = self._gather(request, at, degraded, read or partial(self._users.read_here, request.user_id))
        ranking = Ranking(at, gathered, request.candidates, np.zeros(0), POPULARITY, None, progress.took_ms, degraded)
        if self._knows_enough(gathered, degraded):
            self._prune(ranking, keep)
            progress.enter("inference")
            self._score(ranking, bundle)
        else:
            progress.enter("inference")
        if ranking.engine == POPULARITY:
            ranking.scores = popular(self._problem, ranking.gathered.items, ranking.gathered.user)
        progress.enter("post")
        return ranking

    def fallback(self, request: RankRequest, progress: Progress) -> Ranking:
        """The popular items for a request whose ranking was cut off where `progress` says; touches no store."""
        at, hop, problem, snapshot = clock.now(), progress.hop, self._problem, self._items.snapshot
        request = self._made(request, at).request
        hops = {"features": 0.0, "inference": 0.0} | progress.took_ms
        hops[hop] = (time.perf_counter() - progress.since) * 1e3
        items, _ = item_rows(snapshot, request.candidates, problem)
        user = problem.user_defaults
        ages = {"item": (at - snapshot.written_at).total_seconds()}
        gathered = Gathered(snapshot.version, user, items, self._context(request, at), problem.interactions(user), ages)
        scores = popular(problem, items, user)
        reason = CUT_OFF.get(hop, "post_timeout")
        return Ranking(at, gathered, request.candidates, scores, POPULARITY, None, hops, [reason])

    def _made(self, request: RankRequest, at: datetime) -> PrecomputedRun:
        """What was precomputed for this request; planted faults are of the scorer, so it has to score."""
        if self._precomputed is None:
            return PrecomputedRun(request)
        made = self._precomputed.look_up(request, at)
        return made if self._faults.now() == HEALTHY else replace(made, answer=None)

    def _context(self, request: RankRequest, at: datetime) -> NDArray[np.float32]:
        moment = np.array([at.replace(tzinfo=None)], "datetime64[us]")
        return self._problem.context(moment, np.array([request.device]))

    def _gather(self, request: RankRequest, at: datetime, degraded: list[str], read: Read) -> Gathered:
        problem, snapshot = self._problem, self._items.snapshot
        ages = {"item": (at - snapshot.written_at).total_seconds()}
        user = self._user(read, at, ages, degraded)
        items, all_known = item_rows(snapshot, request.candidates, problem)
        if not all_known:
            degraded.append("unknown_items")
        if ages["item"] > self._max_age_h.item * 3600:
            degraded.append("stale_item")
        context = self._context(request, at)
        return Gathered(snapshot.version, user, items, context, problem.interactions(user), ages)

    def _user(self, read: Read, at: datetime, ages: dict[str, float], degraded: list[str]) -> NDArray[np.float32]:
        """The user's values [U], or the defaults when the store is late or broken; notes ages and reasons."""
        try:
            row = read()
        except TimeoutError:
            degraded.append("features_timeout")
        except CircuitOpenError:
            degraded.append("features_breaker")
        except Exception as error:  # whatever a store does, the user gets an answer
            LOGGER.error("features of a user: %s: %s", type(error).__name__, error)
            degraded.append("features_error")
        else:
            if row is not None:
                ages |= {view: (at - written).total_seconds() for view, written in row.written.items()}
            values, reasons = fill(row, self._problem, self._max_age_h, at, self._when_stale)
            degraded.extend(reasons)
            return values
        return self._problem.user_defaults

    def _knows_enough(self, gathered: Gathered, degraded: list[str]) -> bool:
        enough = gathered.interactions >= self._enough  # not so when it is not a number
        if not enough and not LOST.intersection(degraded):
            degraded.append("cold_start")
        return enough

    def _prune(self, ranking: Ranking, keep: int | None) -> None:
        if keep is None or keep >= len(ranking.item_ids) or self._bundle is None:
            return
        items = ranking.gathered.items
        order = np.argsort(-popular(self._problem, items, ranking.gathered.user), kind="stable")
        kept = np.sort(order[:keep])
        ranking.unscored_ids = ranking.item_ids[order[keep:]]
        ranking.item_ids = ranking.item_ids[kept]
        ranking.gathered = replace(ranking.gathered, items=items[kept])
        ranking.degraded.append("pruned")

    def _score(self, ranking: Ranking, bundle: Bundle | None) -> None:
        """Fill in the model's scores; without them the ranking stays one by popularity."""
        if bundle is None:
            ranking.degraded.append("model_unavailable")
            return
        faults, gathered = self._faults.now(), ranking.gathered
        try:
            if faults.hang_ms:
                time.sleep(faults.hang_ms / 1e3)
            matrix = self._problem.assemble(gathered.user[None, :], gathered.items, gathered.context)
            scores = bundle.score(matrix)
        except TimeoutError:
            ranking.degraded.append("inference_timeout")
        except Exception as error:  # the popular items are better than an error page
            LOGGER.error("model: %s: %s", type(error).__name__, error)
            ranking.degraded.append("model_error")
        else:
            ranking.features = matrix
            ranking.scores = 1.0 - scores if faults.invert else scores
            ranking.engine = bundle.engine + INVERTED if faults.invert else bundle.engine
