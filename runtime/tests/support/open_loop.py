"""Load on a fixed schedule from one thread: a request that is due is sent, whatever became of those before it."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httptools
import numpy as np

from support.connection import Answer

MakeRequest = Callable[[int], bytes]
LATE_S = 10.0


@dataclass(frozen=True)
class Outcome:
    """What became of one request; `status` 0: no answer. `seconds` count from when it was due."""

    due: float
    status: int
    seconds: float
    answer: Answer


@dataclass
class Outcomes:
    """What became of all of them."""

    all: list[Outcome] = field(default_factory=list)

    @property
    def codes(self) -> Counter[int]:
        return Counter(each.status for each in self.all)

    def p99_ms(self, status: int = 200) -> float:
        """Of the answers with that status."""
        return float(np.percentile([each.seconds for each in self.all if each.status == status], 99)) * 1e3

    @property
    def lost(self) -> int:
        """Neither answered nor told to come again."""
        return sum(each.status == 0 or each.status >= 500 for each in self.all)


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.free: list[_Connection] = []
        self.transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._begin()

    def _begin(self) -> None:
        self._now, self._parser = Answer(), httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, data: bytes) -> "asyncio.Future[Answer]":
        assert self.transport is not None
        self._waiting = asyncio.get_running_loop().create_future()
        self.transport.write(data)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self.free:
            self.free.remove(self)
        self._end(Answer())

    def on_header(self, name: bytes, value: bytes) -> None:
        self._now.headers[name.decode().lower()] = value.decode()

    def on_body(self, body: bytes) -> None:
        self._now.body += body

    def on_message_complete(self) -> None:
        self._now.status = self._parser.get_status_code()
        if self._parser.should_keep_alive():
            self.free.append(self)
        self._end(self._now)
        self._begin()

    def _end(self, answer: Answer) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)


async def _one(port: int, data: bytes, due: float, free: list[_Connection], found: Outcomes) -> None:
    answer = Answer()
    try:
        async with asyncio.timeout(LATE_S):
            if free:
                connection = free.pop()
            else:
                _, connection = await asyncio.get_running_loop().create_connection(_Connection, "127.0.0.1", port)
                connection.free = free
            answer = await connection.ask(data)
    except (OSError, TimeoutError):
        pass
    found.all.append(Outcome(due, answer.status, time.perf_counter() - due, answer))


class OpenLoop(threading.Thread):
    """Sends `rate` requests a second until it is stopped; read `outcomes` after `finish`."""

    def __init__(self, port: int, make: MakeRequest, rate: float, seconds: float = 1e9) -> None:
        super().__init__(daemon=True)
        self.outcomes = Outcomes()
        self._port, self._make, self._rate, self._until = port, make, rate, seconds
        self._ended = threading.Event()

    def run(self) -> None:
        asyncio.run(self._send())

    async def _send(self) -> None:
        free, running = list[_Connection](), set[asyncio.Task[None]]()
        began, number = time.perf_counter(), 0
        while not self._ended.is_set() and number / self._rate < self._until:
            due = began + number / self._rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            task = asyncio.create_task(_one(self._port, self._make(number), due, free, self.outcomes))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
        while running:
            await asyncio.wait(running)

    def finish(self) -> Outcomes:
        """Stop sending, wait for the last answers."""
        self._ended.set()
        self.join(LATE_S + 5)
        return self.outcomes


def send(port: int, make: MakeRequest, rate: float, seconds: float) -> Outcomes:
    """Load for so long."""
    load = OpenLoop(port, make, rate, seconds)
    load.start()
    load.join()
    return load.outcomes


def closed_loop_rate(port: int, make: MakeRequest, connections: int, seconds: float) -> float:
    """Answers a second when each of some connections asks again as soon as it has an answer."""

    async def ask(free: list[_Connection], until: float, found: Outcomes) -> None:
        number = 0
        while time.perf_counter() < until:
            await _one(port, make(number), time.perf_counter(), free, found)
            number += 1

    async def run() -> float:
        found, began = Outcomes(), time.perf_counter()
        await asyncio.gather(*(ask([], began + seconds, found) for _ in range(connections)))
        assert found.codes[200], found.all[:1]
        return found.codes[200] / (time.perf_counter() - began)

    return asyncio.run(run())
