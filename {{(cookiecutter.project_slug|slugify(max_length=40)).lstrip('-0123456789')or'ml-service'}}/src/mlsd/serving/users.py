"""The features hop's read of one user: in a thread of a bounded pool, cut off at the hop's deadline."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from mlsd.features.online import UserRow

THREADS = 4
MOST_WAITING = 64


class Reader(Protocol):
    """One connection to the online store."""

    def read(self, user_id: int) -> UserRow | None:
        """Stored values of a user, None for an unknown one."""


class UserStore:
    """Reads that no locked or hanging store can hold longer than the deadline, nor pile up behind each other."""

    def __init__(self, connect: Callable[[], Reader], deadline_ms: float) -> None:
        """Open nothing yet: each thread connects at its first read.

        Args:
            connect: a new connection, for one thread.
            deadline_ms: the longest a request waits.
        """
        self._connect = connect
        self._deadline_s = deadline_ms / 1e3
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="users")
        self._own = threading.local()
        self._waiting = 0
        self._lock = threading.Lock()

    def _read(self, user_id: int) -> UserRow | None:
        if not hasattr(self._own, "reader"):
            self._own.reader = self._connect()
        row: UserRow | None = self._own.reader.read(user_id)
        return row

    def _done(self, _: Future[UserRow | None]) -> None:
        with self._lock:
            self._waiting -= 1

    def begin(self, user_id: int) -> Awaitable[UserRow | None]:
        """Start a read; the caller has the time until it awaits for work of its own.

        Awaiting gives the stored values, None for an unknown user, and raises:
            TimeoutError: not read within the deadline, or too many reads hang already.
            Exception: whatever the store raised.
        """
        with self._lock:
            full = self._waiting >= MOST_WAITING
            self._waiting += not full
        if full:
            return _refuse()
        future = self._pool.submit(self._read, user_id)
        future.add_done_callback(self._done)
        until = asyncio.get_running_loop().time() + self._deadline_s
        return _until(asyncio.wrap_future(future), until)


async def _refuse() -> UserRow | None:
    raise TimeoutError


async def _until(row: asyncio.Future[UserRow | None], moment: float) -> UserRow | None:
    async with asyncio.timeout_at(moment):
        return await row
