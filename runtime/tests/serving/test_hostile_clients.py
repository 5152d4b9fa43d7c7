"""Clients that ask what cannot be answered, or send slowly or without end: through a real model server (5.36)."""

import json
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.problem.problem import Problem
from support.connection import ClientConnection, request
from support.gameday import Seen
from support.model_server import Server, asked, running, train

pytestmark = pytest.mark.slow

PLACES = 16
GROWTH = 16 * 2**20
HALF_A_PAIR = rb'{"\ud800": NaN}'


@pytest.fixture(scope="module")
def strict_design(patient_design: Design) -> Design:
    """Few places; requests are parsed by the event loop, and one that waits half a second is pruned."""
    content = patient_design.model_dump(mode="json")
    content["serving"] |= {"max_connections": PLACES, "engine": "lightgbm"}
    content["serving"]["popular_cache"]["when"] = "always"
    content["serving"]["admission"] |= {"prune_queue_ms": 500, "max_queue_ms": 1000}
    return Design.model_validate(content)


@pytest.fixture(scope="module")
def server(served_home: Home, strict_design: Design, problem: Problem) -> Iterator[Server]:
    with running(served_home, strict_design, train(served_home, strict_design, problem, 51)) as started:
        yield started


def port(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def body(server: Server, user: int) -> bytes:
    return json.dumps(asked(server, user, count=300, seed=user)).encode()


@pytest.mark.fault("Field name that is no text", "400 that names it; its place is free again")
def test_half_a_surrogate_pair_is_named_and_takes_no_place(server: Server, seen: Seen) -> None:
    """A name that no answer can hold once kept its connection for ever."""
    for _ in range(2 * PLACES):
        with ClientConnection(port(server)) as connection:
            answer = connection.ask(request(HALF_A_PAIR))
        assert answer is not None and answer.status == 400
        assert answer.content["error"]["field"] == "\\ud800"
    assert httpx.get(f"{server.url}/readyz", timeout=10).status_code == 200
    seen(f"{2 * PLACES} of {2 * PLACES} told 400, field \\ud800; the server answers on")


@pytest.mark.parametrize("line", ["CONNECT x:443", "GET x:443", "POST http://", "OPTIONS *"])
def test_a_target_that_is_no_path_is_refused_without_a_traceback(server: Server, line: str) -> None:
    with ClientConnection(port(server)) as connection:
        answer = connection.ask(f"{line} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert answer is not None and answer.status in {400, 404, 405}
    assert "Traceback" not in server.log.read_text()


def test_a_slow_sender_waits_for_itself_only(server: Server) -> None:
    """The time that a body takes to come is no queue: nothing is pruned or refused for it on an idle server."""
    whole = request(body(server, 39))
    cut = whole.index(b"\r\n\r\n") + 4
    with ClientConnection(port(server)) as connection:
        connection.send(whole[:cut])
        time.sleep(1.2)
        answer = connection.ask(whole[cut:])
    assert answer is not None and answer.status == 200
    assert "pruned" not in answer.content["degraded"]
    assert float(answer.headers["server-timing"].rpartition("service;dur=")[2]) < 1000


def memory(server: Server) -> int:
    return sum(worker.memory_info().rss for worker in psutil.Process(server.process.pid).children(recursive=True))


@pytest.mark.fault("Trailers without end", "cut off; memory bounded")
def test_trailers_are_neither_kept_nor_endless(server: Server, seen: Seen) -> None:
    server.rank(asked(server, 39))
    before, most, status = memory(server), 0, 0
    with ClientConnection(port(server)) as connection:
        connection.send(b"POST /rank HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
        sent = 0
        while sent < 64 * 2**20 and connection.send(b"a:\r\n" * 8192):
            sent += 4 * 8192
            most = max(most, memory(server) - before)
        answer = connection.answer()
        status = answer.status if answer is not None else 0
    assert sent < 64 * 2**20
    assert most < GROWTH
    assert status in {0, 408, 413}
    seen(f"cut off after {sent / 2**20:.1f} MiB of trailers, {most / 2**20:.1f} MiB more")
