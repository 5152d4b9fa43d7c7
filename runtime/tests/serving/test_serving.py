"""The request path through a real BentoML process: right answers, bad input, sick parts, planted faults."""

import json
import random
import resource
import sqlite3
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.online_stores.sqlite import UserReader
from mlsd.features.snapshot import current, write
from mlsd.prediction_log.writer import read_records
from mlsd.problem.problem import Problem
from support.feature_log_wait import logged
from support.model_server import ANSWER_S, Server, asked, faults, running, train
from support.waiting import within

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(served_home: Home, patient_design: Design, problem: Problem) -> Iterator[Server]:
    """One process for most tests; it may be made sick."""
    release = train(served_home, patient_design, problem)
    with running(served_home, patient_design, release, "a", faults=True) as started:
        yield started


@pytest.fixture(scope="module")
def users(served_home: Home, patient_design: Design, problem: Problem) -> dict[int, float]:
    """Stored users and how many interactions each has."""
    reader = UserReader(served_home.online_store, patient_design.name, problem.user_views, timeout_s=60)
    rows = {user: reader.read(user) for user in range(1, 301)}
    return {user: problem.interactions(row.values) for user, row in rows.items() if row is not None}


@pytest.fixture(scope="module")
def known(users: dict[int, float]) -> int:
    """A user with a long history."""
    return max(users, key=lambda user: users[user])


def test_candidates_come_back_best_first_with_all_that_a_caller_needs(server: Server, known: int) -> None:
    """5.09, 5.30: one batch, every candidate once, scores in [0, 1], who answered and how long each hop took."""
    request = asked(server, known)
    answer = server.rank(request, x_request_id="call-1")
    content = answer.json()
    scores = [item["score"] for item in content["items"]]
    assert answer.status_code == 200
    assert sorted(item["item_id"] for item in content["items"]) == sorted(request["candidates"])  # type: ignore[call-overload]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= scores[-1] < scores[0] <= 1
    assert content["degraded"] == []
    assert (content["request_id"], content["model_version"], content["release_id"]) == ("call-1", 1, 11)
    assert answer.headers["x-request-id"] == "call-1"
    assert (answer.headers["x-mlsd-model-version"], answer.headers["x-mlsd-release"]) == ("1", "11")
    assert set(content["hops_ms"]) == {"features", "inference", "post"}
    timing = dict(part.split(";dur=") for part in answer.headers["server-timing"].split(", "))
    assert float(timing["service"]) >= sum(content["hops_ms"].values()) - 0.01


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"user_id": NaN, "candidates": [1]}', "user_id"),
        (b'{"user_id": 1, "candidates": [1e400]}', "candidates[0]"),
        (b'{"user_id": 1, "candidates": []}', "candidates"),
        (json.dumps({"user_id": 1, "candidates": list(range(501))}).encode(), "candidates"),
        (b'{"user_id": 1, "candidates": [1], "extra": 1}', "extra"),
        (b'{"user_id": true, "candidates": [1]}', "user_id"),
        (b"[" * 50_000, "body"),
    ],
)
def test_bad_input_is_400_with_the_field_and_says_who_refused(server: Server, body: bytes, field: str) -> None:
    answer = server.rank(body)
    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field
    assert answer.headers["x-mlsd-release"] == "11"


def test_a_body_over_the_limit_is_413_before_it_is_parsed(server: Server, patient_design: Design, known: int) -> None:
    limit = patient_design.serving.max_body_kib * 1024
    assert server.rank(b"[" + b" " * limit).status_code == 413

    def chunks() -> Iterator[bytes]:
        yield from (b" " * 1024 for _ in range(limit // 1024 + 1))

    assert httpx.post(f"{server.url}/rank", content=chunks()).status_code == 413
    padded = json.dumps(asked(server, known)).encode().ljust(limit)
    assert server.rank(padded).status_code == 200


def test_random_bytes_never_make_it_fail(server: Server) -> None:
    rng = random.Random(3)
    good = json.dumps({"user_id": 1, "candidates": [1, 2, 3]}).encode()
    with httpx.Client(base_url=server.url, timeout=ANSWER_S) as client:
        for _ in range(300):
            body = bytearray(good)
            for _ in range(rng.randint(1, 4)):
                body[rng.randrange(len(body))] = rng.randrange(256)
            assert client.post("/rank", content=bytes(body)).status_code in {200, 400}


def test_a_user_gets_the_model_from_the_fifth_interaction_on(server: Server, users: dict[int, float]) -> None:
    """3.19, 5.33: below `cold_start.min_interactions` the popular items, and the answer says so."""
    below = max((user for user in users if users[user] < 5), key=lambda user: users[user])
    enough = min((user for user in users if users[user] >= 5), key=lambda user: users[user])
    assert server.rank(asked(server, below)).json()["degraded"] == ["cold_start"]
    assert server.rank(asked(server, enough)).json()["degraded"] == []


def test_an_unknown_user_gets_the_popular_items(server: Server, problem: Problem) -> None:
    request = asked(server, 10**12)
    content = server.rank(request).json()
    assert content["degraded"] == ["unknown_user", "cold_start"]
    rows, _ = current(server.home).rows(np.array([item["item_id"] for item in content["items"]]))
    assert [item["score"] for item in content["items"]] == problem.popularity(rows).tolist()


def test_an_unknown_post_is_scored_with_defaults(server: Server, known: int) -> None:
    request = asked(server, known, count=10)
    request["candidates"] = [*request["candidates"], 10**15]  # type: ignore[misc]
    content = server.rank(request).json()
    assert content["degraded"] == ["unknown_items"]
    assert 10**15 in {item["item_id"] for item in content["items"]}


def test_a_locked_store_costs_quality_not_time(server: Server, patient_design: Design, known: int) -> None:
    """The features hop keeps its deadline whatever SQLite does; the first request after it is whole again."""
    with httpx.Client(base_url=server.url, timeout=ANSWER_S) as client:
        lock = sqlite3.connect(server.home.online_store, isolation_level=None)
        lock.execute("PRAGMA locking_mode = EXCLUSIVE")
        lock.execute("BEGIN EXCLUSIVE")
        try:
            answers = [client.post("/rank", json=asked(server, known)).json() for _ in range(5)]
        finally:
            lock.execute("ROLLBACK")
            lock.close()
        budget = patient_design.latency.hops_ms.features
        reasons = {reason for answer in answers for reason in answer["degraded"]}
        assert reasons <= {"features_timeout", "features_breaker"}
        assert all(answer["degraded"] for answer in answers)
        assert np.median([answer["hops_ms"]["features"] for answer in answers]) < 2 * budget
        assert within(60, lambda: client.post("/rank", json=asked(server, known)).json()["degraded"] == [])


def test_metrics_have_the_budgets_as_edges_and_count_every_answer(
    server: Server, patient_design: Design, known: int
) -> None:
    """5.05: a share over budget can be read off exactly."""
    before = server.metrics()
    server.rank(asked(server, known))
    server.rank(asked(server, 10**12), x_mlsd_role="shadow")
    server.rank(b"{")
    after = server.metrics()
    grown = {name: after[name] - before.get(name, 0.0) for name in after}
    assert grown['mlsd_requests_total{code="200",role="live"}'] == 1
    assert grown['mlsd_requests_total{code="200",role="shadow"}'] == 1
    assert grown['mlsd_requests_total{code="400",role="live"}'] == 1
    assert grown['mlsd_degraded_total{reason="unknown_user"}'] == 1
    latency = patient_design.latency
    for hop in ("features", "inference", "post"):
        edge = getattr(latency.hops_ms, hop) / 1e3
        assert f'mlsd_hop_seconds_bucket{{hop="{hop}",le="{edge}"}}' in after
        assert grown[f'mlsd_hop_seconds_count{{hop="{hop}"}}'] == 2
    for edge in (latency.service_ms / 1e3, latency.p99_ms / 1e3):
        assert f'mlsd_request_seconds_bucket{{le="{edge}"}}' in after


def test_planted_faults_make_one_process_sick_and_well_again(server: Server, known: int) -> None:
    request = asked(server, known)
    healthy = {item["item_id"]: item["score"] for item in server.rank(request).json()["items"]}
    assert faults(server, slow_ms=40) == 200
    assert server.rank(request).json()["hops_ms"]["inference"] > 40
    assert faults(server, invert=True) == 200
    inverted = {item["item_id"]: item["score"] for item in server.rank(request).json()["items"]}
    assert faults(server, error=True) == 200
    assert server.rank(request).status_code == 500
    assert faults(server, typo=1) == 400
    assert faults(server) == 200
    again = {item["item_id"]: item["score"] for item in server.rank(request).json()["items"]}
    assert inverted == pytest.approx({item: 1 - score for item, score in healthy.items()}, abs=0.05)
    assert again == pytest.approx(healthy, abs=0.05)  # the clock has moved on by a moment


def test_a_new_snapshot_is_taken_up_without_a_restart(server: Server, known: int) -> None:
    """Answers go on; the record says which snapshot each one used, and the old one stays for replays."""
    before = current(server.home)
    version = write(server.home, before.ids, before.columns + np.float32(1), before.names, before.written_at)
    assert version != before.version
    seen = set[str]()

    def in_use() -> bool:
        assert server.rank(asked(server, known), x_request_id="swap").status_code == 200
        seen.update(record.snapshot_version for record in read_records(server.home.feature_log))
        return version in seen

    assert within(60, in_use)
    assert before.version in seen


def test_a_full_disk_costs_records_not_answers(server: Server, known: int) -> None:
    """The worker may write no file past where its log is now; requests go on, drops are counted."""
    server.rank(asked(server, known, count=400), x_request_id="before-the-flood")
    logged(server.home, "before-the-flood")

    def dropped() -> float:
        return server.metrics()["mlsd_feature_log_dropped_total"]

    before = dropped()
    worker = server.worker.pid
    limits = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in server.home.feature_log.glob(f"*-{worker}-*.log"))
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (largest + 10_000, limits[1]))
    try:
        codes = [server.rank(asked(server, known, count=400)).status_code for _ in range(10)]
        within(20, lambda: dropped() - before >= 5)
        lost = dropped() - before
    finally:
        resource.prlimit(worker, resource.RLIMIT_FSIZE, limits)
    assert codes == [200] * 10
    assert 5 <= lost <= 10
    server.rank(asked(server, known), x_request_id="after-the-flood")
    logged(server.home, "after-the-flood")
