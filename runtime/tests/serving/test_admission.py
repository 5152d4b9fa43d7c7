"""Who is let in, what is remembered, and what becomes of threads that hang: the rules, without a server."""

import asyncio
import gc
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlsd.design.online_sections import Admission as Limits
from mlsd.design.online_sections import PopularCache
from mlsd.features.online_stores.base import UserRow
from mlsd.serving.dispatch.admission import Admission, AdmissionDecision
from mlsd.serving.dispatch.worker_pool import MAX_STUCK, WorkerPool
from mlsd.serving.handling.request_handler import RequestHandler
from mlsd.serving.http.delayed_rejections import rest
from mlsd.serving.inference.cache import AnswerCache
from mlsd.tasks.ranking import response
from mlsd.tasks.ranking.ranking import Gathered, Ranking
from mlsd.tasks.ranking.request import RankRequest

LIMITS = Limits(max_queue_ms=50, prune_queue_ms=15, prune_to=200)
ASKED = RankRequest(7, np.array([3, 1, 2]), "mobile")


def ranking(degraded: list[str] | None = None, scores: tuple[float, ...] = (0.5, 0.25, 0.5)) -> Ranking:
    row, items = np.zeros(2, np.float32), np.zeros((3, 4), np.float32)
    gathered = Gathered("s1", row, items, np.zeros((1, 2), np.float32), 9.0, {"item": 60.0})
    hops = {"features": 0.1, "inference": 0.2, "post": 0.3}
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Ranking(at, gathered, ASKED.candidates, np.array(scores), "lightgbm", items, hops, degraded or [])


@pytest.mark.parametrize(("shortest_s", "rest_s"), [(0.002, 0.0005), (0.01, 0.0025), (20.0, 0.0025)])
def test_a_slow_design_does_not_put_the_event_loop_to_sleep(shortest_s: float, rest_s: float) -> None:
    assert rest(shortest_s) == pytest.approx(rest_s)


def test_a_read_that_nobody_needs_any_more_is_no_error_of_the_event_loop() -> None:
    """Batch mode, a request cut off: asyncio would write a traceback for each of them while the store is down."""
    told: list[object] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        pool = SimpleNamespace(submit=lambda _: None)
        front: Any = SimpleNamespace(_own=SimpleNamespace(pool=pool), _work=lambda *_: True)
        job: Any = SimpleNamespace(progress=SimpleNamespace(enter=lambda _: None))
        reading: asyncio.Future[UserRow | None] = loop.create_future()
        reading.set_exception(OSError("down"))
        RequestHandler._was_read(front, job, reading, loop)
        with pytest.raises(OSError, match="down"):
            job.read()
        abandoned: asyncio.Future[UserRow | None] = loop.create_future()
        abandoned.set_exception(OSError("down"))
        RequestHandler._was_read(front, job, abandoned, loop)
        del job, abandoned, reading
        gc.collect()

    asyncio.run(scenario())
    assert told == []


def test_who_waits_longer_is_pruned_then_shed() -> None:
    """5.10, 5.18: judged by time, so a slower model sheds at a shorter queue."""
    queue = Admission(LIMITS, threads=2)
    assert queue.verdict(queue.wait_s()) is AdmissionDecision.FULL
    for _ in range(2):
        queue.enter()
    busy = queue.wait_s()
    assert 0 < busy < 0.015
    seen = []
    for _ in range(80):
        queue.enter()
        seen.append(queue.verdict(queue.wait_s()))
    assert list(dict.fromkeys(seen)) == [AdmissionDecision.FULL, AdmissionDecision.PRUNED, AdmissionDecision.SHED]
    for _ in range(82):
        queue.leave(0.02)
    assert queue.wait_s() == 0
    for _ in range(8):
        queue.enter()
    assert queue.verdict(queue.wait_s()) is AdmissionDecision.SHED


def test_the_cache_forgets_by_age_and_by_use_and_keeps_no_thin_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """5.16: an age bound, least recently used first, never an answer that was cut short."""
    now = [1000.0]
    monkeypatch.setattr("mlsd.serving.inference.cache.time.monotonic", lambda: now[0])
    cache = AnswerCache(PopularCache(when="pressure", max_age_s=30, entries=2))
    first, second, third = (cache.key(replace(ASKED, user_id=user), "s1") for user in (1, 2, 3))
    for reason in ("features_timeout", "inference_timeout", "pruned", "cached", "model_error", "features_breaker"):
        cache.keep(first, ranking([reason]), b"[]")
    assert cache.find(first) is None
    cache.keep(first, ranking(["stale_user"]), b"[1]")
    cache.keep(second, ranking(), b"[2]")
    now[0] += 10
    found = cache.find(first)
    assert found is not None
    assert found[1] == b"[1]"
    assert found[0].degraded == ["stale_user", "cached"]
    assert found[0].gathered.ages_s == {"item": 60.0, "cache": 10.0}
    assert set(found[0].hops_ms.values()) == {0.0}
    cache.keep(third, ranking(), b"[3]")
    assert cache.find(second) is None
    assert len(cache) == 2
    now[0] += 20.5
    assert cache.find(first) is None
    assert cache.find(third) is not None


def test_another_user_device_order_or_snapshot_is_another_answer() -> None:
    keys = {
        AnswerCache.key(ASKED, "s1"),
        AnswerCache.key(ASKED, "s2"),
        AnswerCache.key(replace(ASKED, user_id=8), "s1"),
        AnswerCache.key(replace(ASKED, device="tablet"), "s1"),
        AnswerCache.key(replace(ASKED, candidates=np.array([1, 2, 3])), "s1"),
    }
    assert len(keys) == 5


@pytest.mark.parametrize(("when", "calm", "pressed"), [("pressure", False, True), ("always", True, True)])
def test_the_cache_is_asked_when_the_design_says_so(when: str, calm: bool, pressed: bool) -> None:
    cache = AnswerCache(PopularCache.model_validate({"when": when, "max_age_s": 1, "entries": 1}))
    assert (cache.wanted(pressure=False), cache.wanted(pressure=True)) == (calm, pressed)


def test_a_cache_that_is_never_asked_keeps_nothing() -> None:
    cache = AnswerCache(PopularCache(when="never", max_age_s=1, entries=1))
    cache.keep(cache.key(ASKED, "s1"), ranking(), b"[]")
    assert len(cache) == 0
    assert not cache.wanted(pressure=True)


def test_what_was_not_scored_follows_below_all_that_was() -> None:
    pruned = replace(ranking(["pruned"]), unscored_ids=np.array([9, 8]))
    items = response.items_json(pruned)
    assert items.startswith(b'[{"item_id":3,"score":0.5},{"item_id":2,"score":0.5},{"item_id":1,"score":0.25},')
    assert items.endswith(b'{"item_id":9,"score":0.16666666666666666},{"item_id":8,"score":0.08333333333333333}]')
    assert response.items_json(replace(pruned, item_ids=pruned.item_ids[:0])) == b"[]"


def until(true: threading.Event) -> None:
    assert true.wait(10)


def test_threads_that_hang_are_replaced_up_to_a_bound_and_taken_back() -> None:
    pool, go, ran = WorkerPool(2), threading.Event(), threading.Event()
    before = threading.active_count()

    def hang() -> bool:
        go.wait(10)
        return False

    for _ in range(2 + MAX_STUCK):
        pool.submit(hang)
        assert not pool.exhausted
        pool.abandon()
    assert pool.exhausted
    assert threading.active_count() == before + MAX_STUCK
    pool.submit(lambda: ran.set() or True)
    assert not ran.wait(0.05)
    go.set()
    until(ran)
    deadline = time.monotonic() + 10
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert not pool.exhausted
    again = threading.Event()
    pool.submit(lambda: again.set() or True)
    until(again)
