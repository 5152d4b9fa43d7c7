"""Faults of the online store under requests, through a real model server: quality is lost, never an answer or time."""

import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.online_stores.address import REDIS_URL
from mlsd.features.online_stores.redis import Layout
from mlsd.features.snapshot import current
from mlsd.features.values import stamp
from mlsd.problem.problem import Problem
from support.gameday import Seen
from support.model_server import running, train
from support.redis_server import fill, redis_server
from support.store_stack import Stack, judged, load, wait
from support.tcp_proxy import tcp_proxy

pytestmark = pytest.mark.slow

BACK_S = 20.0  # on any machine; that it takes less than 5 s on an idle one, the bench measures


@pytest.fixture(scope="module")
def calm_design(patient_design: Design) -> Design:
    """Neither pruning, nor remembered answers, nor 429 hide what the store does."""
    content = patient_design.model_dump(mode="json")
    content["latency"]["hops_ms"]["features"] = 150
    content["features"]["online_store"] = "redis"
    content["serving"]["popular_cache"]["when"] = "never"
    return Design.model_validate(content)


@pytest.fixture(scope="module")
def stack(
    served_home: Home, calm_design: Design, problem: Problem, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    folder = str(tmp_path_factory.mktemp("redis"))
    with redis_server(folder) as store, tcp_proxy(store.port) as proxy, pytest.MonkeyPatch.context() as patch:
        fill(store, served_home, calm_design, problem)
        store.save()
        patch.setenv(REDIS_URL, f"redis://127.0.0.1:{proxy.port}/0")
        release = train(served_home, calm_design, problem, version=7)
        known = [user for user in range(1, 300) if user % 40 > 5]
        layout = Layout(calm_design.name, problem.user_views)
        with running(served_home, calm_design, release, "b") as server:
            yield Stack(store, proxy, server, layout, calm_design.latency.hops_ms.features, known)


@pytest.fixture
def healthy(stack: Stack) -> Iterator[Stack]:
    """The stack, whole before and after."""
    wait(stack.whole)
    yield stack
    stack.proxy.restore()
    if stack.redis.process is None:
        stack.redis.start()
    stack.redis.thaw()


def test_the_size_of_the_items_in_memory_is_said(stack: Stack) -> None:
    snapshot = current(stack.server.home, in_memory=True)
    said = f"snapshot {snapshot.version}: {len(snapshot.ids):,} items, {snapshot.nbytes / 2**20:.1f} MiB"
    assert said in stack.server.log.read_text()


def gauge(stack: Stack) -> float:
    return stack.server.metrics()["mlsd_store_breaker_open"]


@pytest.mark.fault("Online store down", "flagged within the hop; breaker opens; 0 % 5xx; back within 5 s")
def test_a_killed_store_costs_quality_only(healthy: Stack, seen: Seen) -> None:
    with load(healthy) as asking:
        time.sleep(0.5)
        healthy.redis.kill()
        sick_at = time.monotonic()
        time.sleep(1.5)
        assert asking.gives_up_the_store(sick_at)
        assert gauge(healthy) == 1
        well_at = time.monotonic()
        healthy.redis.start()
        back_s = wait(healthy.whole)
    said = judged(healthy, asking, sick_at, well_at)
    assert back_s < BACK_S
    assert gauge(healthy) == 0
    seen(f"{said}, back in {back_s:.1f} s")


@pytest.mark.fault(
    "Online store frozen", "answers within the hop, flagged; 0 % 5xx; no thread pile-up; back within 5 s"
)
def test_a_frozen_store_holds_nobody(healthy: Stack, seen: Seen) -> None:
    with load(healthy) as asking:
        time.sleep(0.5)
        before = healthy.threads
        healthy.redis.freeze()
        sick_at = time.monotonic()
        time.sleep(2)
        assert asking.gives_up_the_store(sick_at)
        during = healthy.threads
        assert gauge(healthy) == 1
        well_at = time.monotonic()
        healthy.redis.thaw()
        back_s = wait(healthy.whole)
    said = judged(healthy, asking, sick_at, well_at)
    assert during <= before + 4
    assert back_s < BACK_S
    assert gauge(healthy) == 0
    seen(f"{said}, threads {before} -> {during}, back in {back_s:.1f} s")


@pytest.mark.fault("Store slow (+30 ms)", "hop deadline fires, default features, counted")
def test_a_slow_store_is_cut_off_at_the_hop(healthy: Stack, seen: Seen) -> None:
    """By seconds: held requests show then, and a server that looks 30 ms late takes the row that has come by then."""
    before = healthy.server.metrics()
    with load(healthy) as asking:
        time.sleep(0.3)
        healthy.proxy.delay_s = 3.0
        sick_at = time.monotonic()
        time.sleep(1.5)
        assert asking.gives_up_the_store(sick_at)
        well_at = time.monotonic()
        healthy.proxy.restore()
        back_s = wait(healthy.whole)
    said = judged(healthy, asking, sick_at, well_at)
    after, name = healthy.server.metrics(), 'mlsd_degraded_total{reason="features_timeout"}'
    assert after[name] > before.get(name, 0)
    assert back_s < BACK_S
    seen(f"{said}, counted, back in {back_s:.1f} s")


@pytest.mark.fault("Store returns stale row", "age > max_age: default or flag by policy; not trusted though present")
def test_a_stale_row_is_not_trusted(healthy: Stack, calm_design: Design, problem: Problem, seen: Seen) -> None:
    """Also feast#2905: whatever made the rows old, the age metric says so."""
    old = datetime.now(UTC) - timedelta(hours=calm_design.max_age_h.user + 1)
    fields = {name: struct.pack("<Bf", 0x35, 1e6) for name in healthy.layout.fields[: len(problem.user_views["user"])]}
    user = healthy.store(fields | {b"_ts:user": stamp(old)}, healthy.known[0])
    assert healthy.one(user)["degraded"] == ["stale_user", "cold_start"]
    limit = f'mlsd_feature_age_seconds_bucket{{le="{calm_design.max_age_h.user * 3600}",view="user"}}'
    counts = healthy.server.metrics()
    assert counts['mlsd_feature_age_seconds_count{view="user"}'] == counts[limit] + 1
    assert counts['mlsd_degraded_total{reason="stale_user"}'] >= 1
    ahead = healthy.store({b"_ts:user": stamp(datetime.now(UTC) + timedelta(days=2))}, healthy.known[0])
    assert healthy.one(ahead)["degraded"] == ["future_user", "cold_start"]
    seen("stale_user, defaults instead of the stored values; the age metric counts it over max_age")


@pytest.mark.fault("Unknown entity", "cold-start path, not zeros into the model")
def test_an_unknown_user_starts_cold(healthy: Stack, problem: Problem, seen: Seen) -> None:
    """Never written; and there but without a time, which Feast on Redis calls PRESENT with no value."""
    timeless = healthy.store({b"_ts:user": b"", b"_ts:interaction": b""}, healthy.known[0])
    for user in (10**12, timeless):
        content = healthy.one(user)
        assert content["degraded"] == ["unknown_user", "cold_start"]
        rows, _ = current(healthy.server.home).rows(np.array([item["item_id"] for item in content["items"]]))
        assert [item["score"] for item in content["items"]] == problem.popularity(rows).tolist()
    partial = healthy.store({b"_ts:interaction": b""}, healthy.known[0])
    assert healthy.one(partial)["degraded"] == []
    seen("popular items, unknown_user; also for a PRESENT one without values")
