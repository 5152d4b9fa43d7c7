"""A client that never reads its answers costs one answer's memory and holds up no stop (5.36)."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from mlsd.serving.http import protocol
from mlsd.serving.http.connection_limiter import ConnectionLimiter, HttpCall
from mlsd.serving.http.protocol import HttpProtocol
from support.connection import request
from support.gameday import Seen
from support.waiting import within

ANSWER = bytes(32 * 2**20)  # more than the kernel takes for somebody who does not read
LARGE = Starlette(routes=[Route("/large", lambda _: Response(ANSWER))])
LOOPS = ["asyncio", "uvloop"]


class Loud:
    """A server whose every answer is larger than all buffers."""

    def __init__(self) -> None:
        self.calls: list[HttpCall] = []
        self.port = 0

    def take(self, call: HttpCall) -> None:
        self.calls.append(call)
        asyncio.get_running_loop().call_soon(call.respond, 200, b"content-type: text/plain\r\n", ANSWER)

    @contextmanager
    def serving(self, loop: str) -> Iterator[threading.Thread]:
        config = uvicorn.Config(LARGE, http=HttpProtocol, loop=loop, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as bound:
            self.port = bound.getsockname()[1]
            thread = threading.Thread(target=server.run, args=([bound],), daemon=True)
            thread.start()
            yield thread
            server.should_exit = True
            thread.join(30)

    def ask(self, connection: socket.socket) -> None:
        before = len(self.calls)
        connection.sendall(request(b"{}"))
        assert within(20, lambda: len(self.calls) > before)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@pytest.fixture
def loud(monkeypatch: pytest.MonkeyPatch) -> Loud:
    found = Loud()
    monkeypatch.setattr(protocol, "UNREAD_S", 0.5)
    monkeypatch.setattr(HttpProtocol, "limiter", ConnectionLimiter(found.take, lambda *_: None, 1000, 8), raising=False)
    return found


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.fault("Client never reads its answers", "cut off at its next request; a stop is not held up")
def test_who_asks_again_without_reading_is_cut_off(loud: Loud, loop: str, seen: Seen) -> None:
    with loud.serving(loop), loud.connect() as deaf:
        loud.ask(deaf)
        deaf.sendall(request(b"{}"))
        assert within(20, lambda: len(HttpProtocol.limiter.inside) == 0)
        assert len(loud.calls) == 1
    seen("cut off at its second request")


@pytest.mark.parametrize("loop", LOOPS)
def test_who_reads_no_other_answer_either_is_let_go(loud: Loud, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any path but `/rank` is the ASGI application's, which waits for its reader."""
    monkeypatch.setattr(protocol, "OTHER_S", 0.5)
    with loud.serving(loop), loud.connect() as deaf:
        deaf.sendall(request(b"", method="GET", path="/large"))
        assert within(20, lambda: len(HttpProtocol.limiter.inside) == 1)
        assert within(20, lambda: len(HttpProtocol.limiter.inside) == 0)


@pytest.mark.parametrize("loop", LOOPS)
def test_who_reads_late_gets_all_of_it(loud: Loud, loop: str) -> None:
    with loud.serving(loop), loud.connect() as late:
        loud.ask(late)
        time.sleep(1.0)
        got = 0
        while got < len(ANSWER):
            part = late.recv(2**20)
            assert part
            got += len(part)
        loud.ask(late)
    assert len(loud.calls) == 2


@pytest.mark.parametrize("loop", LOOPS)
def test_a_stop_waits_for_no_one_who_does_not_read(loud: Loud, loop: str) -> None:
    with loud.serving(loop) as thread:
        deaf = loud.connect()
        loud.ask(deaf)
        time.sleep(0.1)
    assert not thread.is_alive()
    deaf.close()
