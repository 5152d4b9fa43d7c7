"""What all connections of a serving process share: who answers, the bounds, who is in; and one request to answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mlsd.serving.http.connection_balancer import ConnectionBalancer

SWEEP_S = 0.25
ACTIVE_S = 1.0  # a connection counts as busy so long after its last request


class Connection(Protocol):
    """What the limiter needs of a connection; `protocol.py` has it."""

    loop: asyncio.AbstractEventLoop
    used: bool  # whether it has brought a whole request
    since: float  # of time.perf_counter: when its state last changed

    def is_idle(self) -> bool:
        """Whether nothing is under way on it."""

    def expire(self, now: float) -> None:
        """End what took too long, at `now` of time.perf_counter."""

    def send(self, call: HttpCall, status: int, head: bytes, body: bytes) -> None:
        """Write the answer to `call`."""

    def abort(self) -> None:
        """End it at once, whatever is under way."""


@dataclass(slots=True)
class HttpCall:
    """One request to `/rank` as it came, and the way to answer it, once, from the event loop."""

    connection: Connection
    method: bytes
    headers: list[tuple[bytes, bytes]]
    arrived: float  # of time.perf_counter: its last byte, for a slow sender waits for nobody but itself
    body: bytearray = field(default_factory=bytearray)
    keep_alive: bool = True

    def header(self, name: bytes) -> str | None:
        """A header's value; names are lower case."""
        for found, value in self.headers:
            if found == name:
                return value.decode("latin-1")
        return None

    def respond(self, status: int, head: bytes, body: bytes) -> None:
        """Send an answer; `head` is header lines that end in CR LF."""
        self.connection.send(self, status, head, body)

    def abort(self) -> None:
        """End the connection without an answer."""
        self.connection.abort()


@dataclass(slots=True)
class ConnectionLimiter:
    """What all connections of a process share: who answers, the bounds, and who is in, longest idle first."""

    take: Callable[[HttpCall], None]
    reject: Callable[[HttpCall, int, str, str, str], None]  # status, field, found, expected
    max_body: int
    connections: int
    balancer: ConnectionBalancer | None = None
    surplus: int = 0  # connections to end, each after its next answer
    inside: dict[Connection, None] = field(default_factory=dict)
    sweeper: asyncio.TimerHandle | None = None

    def enter(self, connection: Connection) -> bool:
        """Give a new connection a place. Where there is none the longest idle one goes, first of those that never
        asked anything; False when nobody is idle.
        """
        if len(self.inside) >= self.connections:
            idle = min((each for each in self.inside if each.is_idle()), key=lambda each: each.used, default=None)
            if idle is None:
                return False
            idle.abort()
            del self.inside[idle]
        self.inside[connection] = None
        if self.sweeper is None:
            self.sweeper = connection.loop.call_later(SWEEP_S, self._sweep, connection.loop)
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at every connection now and then: cheaper than timers that each request sets and cancels."""
        now, active = time.perf_counter(), 0
        for connection in list(self.inside):
            connection.expire(now)
            active += connection.used and now - connection.since < ACTIVE_S
        if self.balancer is not None:
            self.surplus = self.balancer.surplus(active)
        self.sweeper = loop.call_later(SWEEP_S, self._sweep, loop) if self.inside else None
