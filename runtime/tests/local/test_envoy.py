"""The real Envoy: buckets, stickiness, mirroring, trust, limits, and what it counts."""

import json
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from mlsd.core.home import Home
from mlsd.delivery.edge import stats
from mlsd.delivery.edge.buckets import bucket
from mlsd.delivery.edge.routing import Router, Traffic
from mlsd.delivery.edge.stats import Answers, slow_edge_ms
from mlsd.delivery.releases.records import Model
from mlsd.local import envoy, processes
from mlsd.local.ports import Ports
from mlsd.prediction_log.writer import read_records
from support import open_loop
from support.connection import request
from support.miniature import CANDIDATES, Miniature, ask, first_free_port
from support.waiting import within

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def miniature(standing: Miniature) -> Miniature:
    """One stack for all tests of this file."""
    return standing


@pytest.fixture
def edge(miniature: Miniature) -> Router:
    """Both slots run and are well: model 1 in a, model 2 in b."""
    if not miniature.target.runs("b"):
        second = miniature.ledger.add(Model(2, "d", "s", "c"), "design", "test", "")
        miniature.target.start("b", second, allow_faults=True)
    with httpx.Client(trust_env=False) as client:
        well = {"slow_ms": 0, "invert": False, "error": False}
        client.put(f"http://127.0.0.1:{miniature.ports.b}/faults", json=well)
    miniature.target.router.apply(Traffic("a"))
    return miniature.target.router


def send(small: Miniature, headers: dict[str, str] | list[tuple[bytes, bytes]], count: int = 1) -> list[httpx.Response]:
    with httpx.Client(trust_env=False, timeout=10) as client:
        body = {"user_id": 1, "candidates": CANDIDATES}
        return [client.post(f"{small.ports.edge_url}/rank", headers=headers, json=body) for _ in range(count)]


def test_edge_and_python_agree_on_every_bucket(miniature: Miniature, edge: Router) -> None:
    """5.27: the same hash in Lua and in Python, through the real Envoy."""
    edge.apply(Traffic("a", salt="feed-ranker:2"))
    users = ["", "0", "-1", "é", "用户", "😀", "a b", "x" * 500, '"quoted"', "%00", "$(id)", "ÿ"]
    users += [str(number * 7919) for number in range(500)]
    with httpx.Client(trust_env=False) as client:
        for user in users:
            headers, body = [(b"x-user-id", user.encode())], {"user_id": 1, "candidates": [1]}
            answer = client.post(f"{miniature.ports.edge_url}/rank", headers=headers, json=body)
            assert answer.json()["headers"]["x-mlsd-bucket"] == str(bucket(user, "feed-ranker:2")), user


def test_a_client_is_not_believed(miniature: Miniature, edge: Router) -> None:
    """Its own bucket, role and request id are replaced; an absurd deadline is ignored."""
    claims = {
        "x-mlsd-bucket": "3",
        "x-mlsd-role": "shadow",
        "x-request-id": "mine",
        "x-envoy-upstream-rq-timeout-ms": "1",
    }
    (answer,) = send(miniature, claims | {"x-user-id": "7"})
    found = answer.json()["headers"]
    assert (found["x-mlsd-bucket"], found["x-mlsd-role"]) == (str(bucket("7", "")), None)
    assert found["x-request-id"] == answer.headers["x-request-id"] != "mine"


def test_without_a_user_each_request_draws_its_own_bucket(miniature: Miniature, edge: Router) -> None:
    answers = send(miniature, {}, 60)
    buckets = {answer.json()["headers"]["x-mlsd-bucket"] for answer in answers}
    assert len(buckets) > 20
    for answer in answers:
        assert answer.json()["headers"]["x-mlsd-bucket"] == str(bucket(answer.headers["x-request-id"], ""))


def test_nobody_sees_two_versions_while_the_share_grows(miniature: Miniature, edge: Router) -> None:
    """5.27: 250 users, every step twice, Envoy restarted within a step: nobody sees both in a step, or moves back."""
    seen: dict[str, list[int]] = defaultdict(list)
    with httpx.Client(trust_env=False, timeout=10) as client:
        for percent in (5, 25, 100):
            edge.apply(Traffic("a", "b", 0, percent, "s"))
            for repeat in range(2):
                for user in range(250):
                    answer = ask(client, miniature.ports, str(user))
                    seen[str(user)].append(answer.json()["model_version"])
                if (percent, repeat) == (25, 0):
                    processes.stop(miniature.home, envoy.NAME)
                    envoy.start(miniature.design, miniature.home, miniature.ports, Traffic("a", "b", 0, percent, "s"))
    for user, versions in seen.items():
        assert versions == sorted(versions), user
        assert all(versions[i] == versions[i + 1] for i in range(0, 6, 2))
        assert versions[2] == (2 if bucket(user, "s") < 25 else 1)
    assert 2 <= sum(versions[0] == 2 for versions in seen.values()) <= 30


@pytest.mark.fault("Shadow side effects", "role shadow in its own log records")
@pytest.mark.fault("Shadow down", "users: 0 errors")
def test_mirrored_copies_say_so_and_answer_nobody(miniature: Miniature, edge: Router) -> None:
    """5.19: same request id on both copies, role shadow on one; a sick shadow costs no user anything."""
    edge.apply(Traffic("a", "b", mirror_percent=100))
    answers = send(miniature, {"x-user-id": "7"}, 30)
    assert {answer.json()["model_version"] for answer in answers} == {1}
    wanted = {answer.headers["x-request-id"] for answer in answers}
    found: dict[str, set[str]] = {}

    def logged() -> bool:
        found.update(live=set(), shadow=set())
        for record in read_records(miniature.home.feature_log):
            found[record.role].update({record.request_id} & wanted)
        return found == {"live": wanted, "shadow": wanted}

    assert within(30, logged), found
    processes.stop(miniature.home, "slot-b")
    began = time.monotonic()
    assert {answer.status_code for answer in send(miniature, {"x-user-id": "7"}, 50)} == {200}
    assert time.monotonic() - began < 8  # to wait for a connection each time would take 12


@pytest.mark.fault("Shadow slow", "users: 0 errors; what hangs is bounded")
def test_a_hanging_shadow_is_bounded(miniature: Miniature, edge: Router) -> None:
    miniature.target.plant("b", slow_ms=1000)
    edge.apply(Traffic("a", "b", mirror_percent=100))
    found = [0]
    with miniature.load(rps=300) as load:

        def hanging() -> bool:
            found.append(stats.read(edge, miniature.design.latency.service_ms)["b_shadow"].active)
            return max(found) >= 8 and load.codes.total() >= 200

        assert within(30, hanging), found
    assert max(found) <= miniature.design.capacity.concurrency
    assert set(load.codes) == {200}


def test_only_two_paths_are_public(miniature: Miniature, edge: Router) -> None:
    with httpx.Client(trust_env=False, base_url=miniature.ports.edge_url) as client:
        assert client.get("/readyz").status_code == 200
        for path in ("/faults", "/metrics", "/", "/rank/../faults", "/rank/x", "/%66aults"):
            assert client.put(path, json={}).status_code == 404, path
        assert client.post("/rank", headers={"x_user_id": "1"}, json={}).status_code == 400


def test_what_is_counted(miniature: Miniature, edge: Router) -> None:
    """An answer at the budget is slow, one below is not; a timeout, an error and a dead process are errors."""
    budget = miniature.design.latency.service_ms

    def counted(wanted: Answers) -> Answers:
        """What Envoy has counted since the start; it needs a moment."""

        def found() -> Answers:
            return stats.read(edge, budget)["b"].since(start)

        within(20, lambda: found() == wanted)
        return found()

    edge.apply(Traffic("a", "b", canary_percent=100))
    start = stats.read(edge, budget)["b"]
    for slow_ms in (0.0, budget * 0.4, budget * 1.2, budget * 5):
        miniature.target.plant("b", slow_ms=slow_ms)
        with ThreadPoolExecutor(3) as pool:  # three at once: each may take seconds
            codes = {each[0].status_code for each in pool.map(lambda _: send(miniature, {"x-user-id": "1"}), range(3))}
        assert codes == ({504} if slow_ms > 1000 * envoy.route_timeout_s(miniature.design) else {200})
    assert counted(mixed := Answers(total=12, errors=3, slow=3)) == mixed
    with httpx.Client(trust_env=False) as client:
        client.put(f"http://127.0.0.1:{miniature.ports.b}/faults", json={"error": True, "slow_ms": 0})
    assert {answer.status_code for answer in send(miniature, {"x-user-id": "1"}, 2)} == {500}
    processes.stop(miniature.home, "slot-b", grace_s=0.1)
    assert {answer.status_code for answer in send(miniature, {"x-user-id": "1"}, 4)} == {503}
    assert counted(all_bad := Answers(total=18, errors=9, slow=3)) == all_bad


def test_more_requests_than_places_are_told_to_come_again(miniature: Miniature, edge: Router) -> None:
    """5.36: a full slot is no failure of the service: 429 and when to try again, not Envoy's own 503."""
    body = request(json.dumps({"user_id": 1, "candidates": CANDIDATES}).encode())
    miniature.target.plant("a", slow_ms=1000)
    found = open_loop.send(miniature.ports.edge, lambda _: body, rate=2000, seconds=0.2)
    miniature.target.plant("a")
    assert set(found.codes) == {200, 429}
    assert found.codes[200] >= 4 * miniature.design.capacity.concurrency
    for answer in (each.answer for each in found.all if each.status == 429):
        assert answer.headers["retry-after"] == "1"
        assert answer.content["error"]["field"] == "queue"
    assert {answer.status_code for answer in send(miniature, {"x-user-id": "1"}, 5)} == {200}


@pytest.mark.parametrize(
    ("budget", "in_time", "slow"),
    [(150, 149, 150), (225, 210, 220), (100, 99, 100), (75, 74, 75), (7.5, 7.4, 7.5), (1000, 990, 1000)],
)
def test_slow_edge_lies_between_two_of_envoys_bins(budget: float, in_time: float, slow: float) -> None:
    assert in_time <= slow_edge_ms(budget) < slow


def test_two_stacks_side_by_side(miniature: Miniature, edge: Router, tmp_path: Path) -> None:
    """Several Envoys on one machine need no numbering."""
    other, first = Home(tmp_path), first_free_port()
    ports = Ports(*range(first, first + 5))
    try:
        envoy.start(miniature.design, other, ports, Traffic("a"))
        assert processes.running(other).keys() == {"envoy"}
        assert "envoy" in processes.running(miniature.home)
    finally:
        processes.stop_all(other)
    assert "envoy" in processes.running(miniature.home)
