"""Connections as the ranking path treats them: kept, bounded in number, time and size, finished before the end."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from mlsd.serving.http import connection_limiter, protocol
from mlsd.serving.http.connection_limiter import ConnectionLimiter, HttpCall
from mlsd.serving.http.protocol import HttpProtocol
from support.waiting import within

MOST_BODY, CONNECTIONS = 1000, 8
WAIT_S = 30.0
LONGER_S = 60.0


@dataclass
class Listener:
    """A server whose limiter answers with the body it got; what it takes while `holding` waits for `release`."""

    port: int
    server: uvicorn.Server
    holding: bool = False
    calls: list[HttpCall] = field(default_factory=list)
    held: list[Callable[[], object]] = field(default_factory=list)

    def take(self, call: HttpCall) -> None:
        loop, holding = asyncio.get_running_loop(), self.holding
        answer = partial(call.respond, 200, b"content-type: text/plain\r\n", bytes(call.body))
        if holding:
            self.held.append(partial(loop.call_soon_threadsafe, answer))
        else:
            loop.call_soon(answer)
        self.calls.append(call)

    def hold(self, connection: socket.socket, data: bytes) -> None:
        """Send a request that gets its answer only when it is released."""
        self.holding, before = True, len(self.calls)
        connection.sendall(data)
        assert within(WAIT_S, lambda: len(self.calls) > before)
        self.holding = False

    def release(self) -> None:
        for answer in self.held:
            answer()

    def connect(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def reject(call: HttpCall, status: int, name: str, found: str, expected: str) -> None:
    call.respond(status, b"content-type: text/plain\r\n", f"{name}: {found}, {expected}".encode())


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setattr(protocol, "RECEIVE_S", LONGER_S)  # a stall of the machine is no slow sender
    monkeypatch.setattr(protocol, "FIRST_S", LONGER_S)
    monkeypatch.setattr(protocol, "LINGER_S", 0.5)
    monkeypatch.setattr(connection_limiter, "SWEEP_S", 0.05)
    app = Starlette(routes=[Route("/livez", lambda _: PlainTextResponse("alive"))])
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        bound.listen(64)
        server = uvicorn.Server(uvicorn.Config(app, http=HttpProtocol, log_config=None, lifespan="off"))
        made = Listener(bound.getsockname()[1], server)
        monkeypatch.setattr(
            HttpProtocol, "limiter", ConnectionLimiter(made.take, reject, MOST_BODY, CONNECTIONS), raising=False
        )
        thread = threading.Thread(target=server.run, args=([bound],))
        thread.start()
        yield made
        server.should_exit = True
        thread.join(WAIT_S)
        assert not thread.is_alive()


def post(body: bytes, *lines: str, version: str = "1.1") -> bytes:
    head = "".join(f"{line}\r\n" for line in ("host: x", f"content-length: {len(body)}", *lines))
    return f"POST /rank HTTP/{version}\r\n{head}\r\n".encode() + body


def read(connection: socket.socket, enough: Callable[[bytes], bool] = lambda _: False) -> bytes:
    """Until it is enough, or the other side closes."""
    data = b""
    while not enough(data) and (part := connection.recv(65_536)):
        data += part
    return data


def ask(connection: socket.socket, body: bytes) -> bytes:
    connection.sendall(post(body))
    return read(connection, lambda data: data.endswith(body))


def closed(connection: socket.socket) -> bool:
    connection.settimeout(WAIT_S)
    try:
        return read(connection) == b""
    except ConnectionResetError:
        return True


def test_a_connection_is_kept_for_the_next_request(listener: Listener) -> None:
    with listener.connect() as connection:
        for body in (b"one", b"two", b"", b"three"):
            connection.sendall(post(body))
            answer = read(connection, lambda data, body=body: data.endswith(b"\r\n\r\n" + body))  # type: ignore[misc]
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"connection: close" not in answer
        connection.sendall(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
        assert read(connection, lambda data: data.endswith(b"alive"))
        connection.sendall(post(b"four", "connection: close"))
        assert read(connection).endswith(b"connection: close\r\n\r\nfour")


def test_what_is_too_much_ends_after_its_answer(listener: Listener) -> None:
    """5.12: each with an answer that says so; nobody is cut off."""
    with ExitStack() as held:
        three = [held.enter_context(listener.connect()) for _ in range(3)]
        HttpProtocol.limiter.surplus = 2
        answers = []
        for connection in three:
            answers.append(ask(connection, b"body"))
        assert [b"connection: close" in answer for answer in answers] == [True, True, False]
        assert [closed(connection) for connection in three[:2]] == [True, True]
        assert b"connection: close" not in ask(three[2], b"again")


def test_a_body_in_pieces_is_put_together_and_an_older_http_is_spoken(listener: Listener) -> None:
    with listener.connect() as connection:
        for part in (post(b"pieces")[:20], post(b"pieces")[20:-3], post(b"pieces")[-3:]):
            connection.sendall(part)
            time.sleep(0.05)
        assert read(connection, lambda data: data.endswith(b"pieces"))
        chunked = b"POST /rank HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(chunked + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert read(connection, lambda data: data.endswith(b"abcde"))
    with listener.connect() as connection:
        connection.sendall(post(b"old", version="1.0"))
        assert read(connection).endswith(b"old")


def test_who_asks_before_sending_is_told_to_go_on(listener: Listener) -> None:
    with listener.connect() as connection:
        connection.sendall(post(b"body", "expect: 100-continue")[:-4])
        assert read(connection, lambda data: data.endswith(b"\r\n\r\n")) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"body")
        assert read(connection, lambda data: data.endswith(b"body")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("second", [post(b"second"), b"GET /livez HTTP/1.1\r\n\r\n", b"garbage\x00\r\n\r\n"])
def test_what_does_not_wait_for_the_first_answer_is_not_taken(listener: Listener, second: bytes) -> None:
    """Answers never come out of order; the sender learns from `connection: close` which request was not taken."""
    with listener.connect() as connection:
        listener.hold(connection, post(b"first") + second)
        listener.release()
        answer = read(connection)
    assert answer.count(b"HTTP/1.1 200") == 1
    assert answer.endswith(b"connection: close\r\n\r\nfirst")
    assert len(listener.calls) == 1


def refused(listener: Listener, sent: bytes, status: bytes) -> None:
    with listener.connect() as connection:
        connection.sendall(sent)
        answer = read(connection)
    assert answer.split(b" ")[1] == status
    assert b"connection: close\r\n" in answer


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (post(b"x" * (MOST_BODY + 1)), b"413"),
        (b"POST /rank HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"800\r\n" + b"x" * 2048, b"413"),
        (b"GET /rank HTTP/1.1\r\nhost: x\r\n\r\n", b"405"),
        (post(b"x", "upgrade: websocket", "connection: upgrade"), b"400"),
        (b"POST /ra%0ank HTTP/1.1\r\nhost: x\r\n\r\n", b"400"),
        (b"POST /rank HTTP/1.1\r\n" + b"x: " + b"y" * 70_000, b"431"),
        (b"\x16\x03\x01\x02\x00 no HTTP at all\r\n\r\n", b"400"),
    ],
    ids=["large", "chunks-large", "method", "upgrade", "control", "long-header", "no-http"],
)
def test_what_cannot_be_served_is_refused_at_once(listener: Listener, sent: bytes, status: bytes) -> None:
    refused(listener, sent, status)


@pytest.mark.parametrize(
    "sent",
    [
        b"POST /rank HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"200\r\n" + b"x" * 512 + b"\r\n",
        post(b"half")[:-1],
        b"POST /rank HTTP/1.1\r\nhost:",
    ],
    ids=["chunks-half", "half-body", "half-header"],
)
def test_what_never_ends_is_refused_in_time(listener: Listener, monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(protocol, "RECEIVE_S", 0.5)
    refused(listener, sent, b"408")


def test_the_longest_idle_connection_makes_room_and_none_that_waits_for_its_answer(listener: Listener) -> None:
    with listener.connect() as waiting, listener.connect() as known:
        assert ask(known, b"before")
        listener.hold(waiting, post(b"kept"))
        idle = [listener.connect() for _ in range(3 * CONNECTIONS)]
        assert ask(idle[-1], b"newest")
        assert all(closed(connection) for connection in idle[:CONNECTIONS])
        assert len(HttpProtocol.limiter.inside) <= CONNECTIONS
        assert all(ask(connection, b"after") for connection in (known, *idle[2 - CONNECTIONS :]))
        with listener.connect() as another:  # now all have asked something, and the one that waits is the oldest
            assert ask(another, b"another")
        listener.release()
        assert read(waiting, lambda data: data.endswith(b"kept"))
    for connection in idle:
        connection.close()


def test_a_silent_connection_is_closed(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "RECEIVE_S", 0.5)
    monkeypatch.setattr(protocol, "FIRST_S", 2.0)
    began = time.perf_counter()
    with listener.connect() as connection:
        assert closed(connection)
        assert time.perf_counter() - began >= 2


def test_a_request_in_flight_is_answered_before_the_server_ends(listener: Listener) -> None:
    with listener.connect() as busy, listener.connect() as idle:
        listener.hold(busy, post(b"last"))
        listener.server.should_exit = True
        assert closed(idle)
        listener.release()
        assert read(busy).endswith(b"connection: close\r\n\r\nlast")
