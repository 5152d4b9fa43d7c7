"""A model server that reads its users through a proxy from a real Redis, clients that ask it, and their judge."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx
import numpy as np
import psutil
import redis

from mlsd.features.online_stores.redis import Layout
from mlsd.features.snapshot import current
from support.model_server import ANSWER_S, Server, candidates
from support.redis_server import RedisServer
from support.tcp_proxy import Proxy
from support.waiting import within

LOST = {"features_timeout", "features_error", "features_breaker"}


CLIENTS = 4
TRIES = 5


HELD = 10  # times the hop: a store that holds requests holds them for seconds
ENOUGH = 50


GUESTS = itertools.count(10_001)


@dataclass
class Stack:
    """Redis, a proxy before it, and a model server that reads through the proxy."""

    redis: RedisServer
    proxy: Proxy
    server: Server
    layout: Layout
    hop_ms: float
    known: list[int]

    @property
    def threads(self) -> int:
        """Of all processes of the server."""
        family = [self.server.process, *self.server.process.children(recursive=True)]
        return sum(psutil.Process(one.pid).num_threads() for one in family)

    def ask(self, client: httpx.Client, user: int) -> httpx.Response:
        ids = candidates(current(self.server.home), 100, user)
        return client.post("/rank", json={"user_id": user, "candidates": ids, "device": "mobile"})

    def whole(self) -> bool:
        """Whether several answers in a row, each over a new connection, lack nothing."""
        for user in self.known[:6]:
            with httpx.Client(base_url=self.server.url, timeout=ANSWER_S) as client:
                answer = self.ask(client, user)
                if answer.status_code != 200 or answer.json()["degraded"]:
                    return False
        return True

    def store(self, changes: dict[bytes, bytes], like: int) -> int:
        """A new user with the values of another one, but for these fields; an empty value takes the field away."""
        user, client = next(GUESTS), redis.Redis(port=self.redis.port)
        fields: dict[bytes, bytes] = client.hgetall(self.layout.key(like))  # type: ignore[assignment]
        kept = {name: value for name, value in (fields | changes).items() if value}
        client.hset(self.layout.key(user), mapping=kept)  # type: ignore[arg-type]
        return user

    def one(self, user: int) -> Any:
        """The answer for a user; asked again where a busy machine made the store late."""
        with httpx.Client(base_url=self.server.url, timeout=ANSWER_S) as client:
            for _ in range(TRIES):
                answer = self.ask(client, user)
                assert answer.status_code == 200
                content = answer.json()
                if LOST.isdisjoint(content["degraded"]):
                    break
        return content


def wait(condition: Callable[[], bool], within_s: float = 60) -> float:
    """Seconds until it holds."""
    started = time.monotonic()
    assert within(within_s, condition)
    return time.monotonic() - started


class Asked(NamedTuple):
    """One answer: when its request was sent and when it came, what it said, how long its features took."""

    sent: float
    came: float
    code: int
    degraded: list[str]
    hop_ms: float


@dataclass
class Load:
    """Answers of clients that ask without a pause."""

    answers: list[Asked] = field(default_factory=list)
    stop: bool = False

    def run(self, stack: Stack, users: list[int]) -> None:
        with httpx.Client(base_url=stack.server.url, timeout=ANSWER_S) as client:
            for user in itertools.cycle(users):
                if self.stop:
                    return
                sent, answer = time.monotonic(), stack.ask(client, user)
                content = answer.json() if answer.status_code == 200 else {"degraded": [], "hops_ms": {"features": 0}}
                came, hop_ms = time.monotonic(), content["hops_ms"]["features"]
                self.answers.append(Asked(sent, came, answer.status_code, content["degraded"], hop_ms))

    def since(self, moment: float) -> list[Asked]:
        """Those sent from then on."""
        return [answer for answer in self.answers if answer.sent >= moment]

    def gives_up_the_store(self, sick_at: float) -> bool:
        """Whether the breaker has kept enough requests from the store to judge by."""
        return within(60, lambda: sum("features_breaker" in one.degraded for one in self.since(sick_at)) > ENOUGH)


@contextmanager
def load(stack: Stack) -> Iterator[Load]:
    asking = Load()
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(asking.run, stack, stack.known[k::CLIENTS]) for k in range(CLIENTS)]
        try:
            yield asking
        finally:
            asking.stop = True
    for one in running:
        one.result()


def judged(stack: Stack, asking: Load, sick_at: float, well_at: float) -> str:
    """All answers were 200; those of the sick time say why they are less and kept the hop's deadline."""
    codes = Counter(answer.code for answer in asking.answers)
    assert set(codes) == {200}
    sick = [answer for answer in asking.since(sick_at) if answer.sent < well_at]
    settled = [answer for answer in sick if answer.came < well_at]
    assert len(settled) > 20
    reasons = Counter(reason for answer in settled for reason in answer.degraded)
    assert all(LOST.intersection(answer.degraded) for answer in settled)
    assert reasons["features_breaker"] > len(settled) / 2
    hops = np.array([answer.hop_ms for answer in sick])  # also of those that were held until it was well
    assert np.quantile(hops, 0.99) < HELD * stack.hop_ms
    assert np.median(hops) < stack.hop_ms / 2
    return f"0 of {codes.total():,} 5xx, {len(settled)} flagged, features p99 {np.quantile(hops, 0.99):.1f} ms"
