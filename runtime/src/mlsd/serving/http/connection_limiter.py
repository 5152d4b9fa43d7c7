"""What all connections of a serving process share: who answers, the bounds, who is in; and one request to answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from mlsd.serving.http.connection_balancer import Peers
    from mlsd.serving.http.protocol import Wire

SWEEP_S = 0.25
ACTIVE_S = 1.0  # a connection counts as busy so long after its last request


@dataclass(slots=True)
class Call:
    """One request to `/rank` as it came, and the way to answer it, once, from the event loop."""

    wire: Wire
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
        self.wire.send(self, status, head, body)

    def abort(self) -> None:
        """End the connection without an answer."""
        self.wire.transport.abort()


@dataclass(slots=True)
class Door:
    """What all connections of a process share: who answers, the bounds, and who is in, longest idle first."""

    take: Callable[[Call], None]
    reject: Callable[[Call, int, str, str, str], None]  # status, field, found, expected
    most_body: int
    connections: int
    peers: Peers | None = None
    surplus: int = 0  # connections to end, each after its next answer
    inside: dict[Wire, None] = field(default_factory=dict)
    sweeper: asyncio.TimerHandle | None = None

    def enter(self, wire: Wire) -> bool:
        """Give a new connection a place. Where there is none the longest idle one goes, first of those that never
        asked anything; False when nobody is idle.
        """
        if len(self.inside) >= self.connections:
            idle = min(filter(type(wire).is_idle, self.inside), key=lambda each: each.used, default=None)
            if idle is None:
                return False
            idle.transport.abort()
            del self.inside[idle]
        self.inside[wire] = None
        if self.sweeper is None:
            self.sweeper = wire.loop.call_later(SWEEP_S, self._sweep, wire.loop)
        return True

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look at every connection now and then: cheaper than timers that each request sets and cancels."""
        now, active = time.perf_counter(), 0
        for wire in list(self.inside):
            wire.expire(now)
            active += wire.used and now - wire.since < ACTIVE_S
        if self.peers is not None:
            self.surplus = self.peers.surplus(active)
        self.sweeper = loop.call_later(SWEEP_S, self._sweep, loop) if self.inside else None
