"""Refusals that cost those who are let in as little as can be: sent late, and in bursts."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

HELD = 0.5  # of the longest queue
REST, MAX_REST_S = 0.25, 0.0025

Send = Callable[[], None]


def rest(shortest_s: float) -> float:
    """Seconds of one rest: a part of the shortest hop, for so much later may an answer leave or a hop be cut off.

    And however slow the design is, health checks and other answers wait no longer than they would notice.
    """
    return min(REST * shortest_s, MAX_REST_S)


@dataclass(slots=True)
class DelayedRejections:
    """What waits to be refused. For one thread, the event loop's.

    A worker that refuses at once has its connections back before the worker beside it has answered anything: a proxy
    then prefers it, and it refuses most requests while the other idles. So a refusal is held about as long as a request
    that was let in waits.

    While requests are refused the loop rests after each burst of them. Without that it wakes for every single one and
    takes the interpreter from the ranking threads in the middle of their work, thousands of times a second.
    """

    held_s: float
    rest_s: float
    _waiting: deque[tuple[float, Send]] = field(default_factory=deque)
    _resting: bool = False

    def add(self, arrived: float, send: Send) -> None:
        """Call `send` when a request that came at `arrived` has been held long enough."""
        loop, late = asyncio.get_running_loop(), time.perf_counter() - arrived
        if not self._resting:
            self._resting = True
            loop.call_soon(self._rest)
        if late >= self.held_s:
            send()
            return
        if not self._waiting:
            loop.call_later(self.held_s - late, self._flush)
        self._waiting.append((arrived + self.held_s, send))

    def _rest(self) -> None:
        self._resting = False
        time.sleep(self.rest_s)

    def _flush(self) -> None:
        now = time.perf_counter()
        try:
            while self._waiting and self._waiting[0][0] <= now:
                self._waiting.popleft()[1]()
        finally:  # one that cannot be sent must not keep all others waiting
            if self._waiting:
                asyncio.get_running_loop().call_later(max(self._waiting[0][0] - now, self.rest_s), self._flush)
