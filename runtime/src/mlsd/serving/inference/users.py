"""The features hop's read of one user: bounded in time and in number, left out while the store is known to be down.

A store over the network is awaited by the event loop. A store in a file blocks whoever reads it, so the thread that
ranks the request reads it too, and the event loop cuts that thread off at the deadline.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable

from mlsd.features.online_stores.base import Awaited, Reader, UserRow
from mlsd.serving.dispatch.circuit_breaker import Breaker

HANGS_S = 1.0
"""A read that takes longer hangs; no other thread is risked until it is back."""
Row = UserRow | None


class CircuitOpenError(Exception):
    """Not asked: the store failed too often just now."""


class Blocking:
    """An online store that blocks the thread that reads it; each thread has a connection of its own."""

    def __init__(self, connect: Callable[[], Reader]) -> None:
        """`connect` opens a connection, at a thread's first read."""
        self._connect = connect
        self._own = threading.local()
        self._since: dict[int, float] = {}

    @property
    def hangs(self) -> bool:
        """Whether a read has been under way for longer than any that will end soon."""
        late = time.monotonic() - HANGS_S
        return any(since < late for since in list(self._since.values()))

    def read(self, user_id: int) -> Row:
        """Stored values of a user, None for an unknown one."""
        own = threading.get_ident()
        self._since[own] = time.monotonic()
        try:
            if not hasattr(self._own, "reader"):
                self._own.reader = self._connect()
            row: Row = self._own.reader.read(user_id)
        except TimeoutError:
            raise
        except Exception:
            self._own.__dict__.clear()  # a damaged file may have been made anew: the next read opens what is there then
            raise
        finally:
            del self._since[own]
        return row


class UserStore:
    """Reads of users that end at the deadline, whatever the store does."""

    def __init__(self, store: Awaited | Blocking, deadline_ms: float, breaker: Breaker) -> None:
        """`deadline_ms`: the longest that a request waits for its user."""
        self._store, self._deadline_s, self._breaker = store, deadline_ms / 1e3, breaker

    @property
    def reads_here(self) -> bool:
        """Whether to call `read_here`, in the thread that ranks, rather than `begin`, in the event loop."""
        return isinstance(self._store, Blocking)

    def begin(self, user_id: int, max_s: float | None = None) -> Awaitable[Row]:
        """Start a read; the caller has the time until it awaits for work of its own.

        Args:
            user_id: whose values.
            max_s: what is left of the request's own budget, where that is less than the hop's.

        Awaiting gives the stored values, None for an unknown user, and raises:
            TimeoutError: not read within the deadline, or too many reads are under way.
            CircuitOpenError: not tried, at once.
            Exception: whatever the store raised.
        """
        if isinstance(self._store, Blocking):
            raise TypeError("a store that blocks is not read in the event loop")
        within = self._deadline_s if max_s is None else max(min(max_s, self._deadline_s), 0.0)
        if not self._breaker.enter():
            return _refuse(CircuitOpenError())
        reading = self._store.begin(user_id)
        if reading is None:
            self._breaker.failed()
            return _refuse(TimeoutError())
        return self._until(reading, asyncio.get_running_loop().time() + within)

    async def _until(self, reading: "asyncio.Future[Row]", moment: float) -> Row:
        try:
            # Unlike asyncio.timeout, a row that came in time counts although a busy loop looks late.
            await asyncio.wait((reading,), timeout=moment - asyncio.get_running_loop().time())
            if not reading.done():
                raise TimeoutError
            row = reading.result()
        except Exception:
            self._breaker.failed()
            raise
        finally:
            reading.cancel()
        self._breaker.succeeded()
        return row

    def read_here(self, user_id: int) -> Row:
        """Read in the calling thread; the reader's own deadline bounds all but a disk that hangs.

        Raises as awaiting `begin` does.
        """
        if not isinstance(self._store, Blocking):
            raise TypeError("a store over the network is read in the event loop")
        if self._store.hangs or not self._breaker.enter():
            raise CircuitOpenError
        try:
            row = self._store.read(user_id)
        except Exception:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return row

    def gave_up(self) -> None:
        """The event loop no longer waits for a thread that reads."""
        self._breaker.failed()


async def _refuse(why: Exception) -> Row:
    raise why
