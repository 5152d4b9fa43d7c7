"""The read of one user keeps its deadline, and hanging reads do not pile up."""

import asyncio
import threading
import time
from datetime import UTC, datetime

import numpy as np
import pytest

from mlsd.features.online import UserRow
from mlsd.serving.users import MOST_WAITING, UserStore

ROW = UserRow(values=np.ones(3, np.float32), written={"user": datetime(2026, 1, 1, tzinfo=UTC)})


class Hanging:
    """A store that answers once it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def read(self, user_id: int) -> UserRow | None:
        self.go.wait(10)
        return ROW if user_id else None


def test_a_hanging_read_ends_at_the_deadline_and_the_store_comes_back() -> None:
    store = Hanging()
    users = UserStore(lambda: store, deadline_ms=20)

    async def scenario() -> None:
        started = time.perf_counter()
        results = await asyncio.gather(*(users.begin(k) for k in range(MOST_WAITING)), return_exceptions=True)
        assert time.perf_counter() - started < 1.0
        assert all(isinstance(result, TimeoutError) for result in results)
        store.go.set()
        await asyncio.sleep(0.1)
        assert await users.begin(1) is ROW
        assert await users.begin(0) is None

    asyncio.run(scenario())


def test_reads_beyond_the_bound_are_refused_at_once() -> None:
    store = Hanging()
    users = UserStore(lambda: store, deadline_ms=5_000)

    async def scenario() -> None:
        hanging = [asyncio.ensure_future(users.begin(k + 1)) for k in range(MOST_WAITING)]
        started = time.perf_counter()
        with pytest.raises(TimeoutError):
            await users.begin(1)
        assert time.perf_counter() - started < 0.5
        store.go.set()
        assert await asyncio.gather(*hanging) == [ROW] * MOST_WAITING

    asyncio.run(scenario())


def test_an_error_of_the_store_reaches_the_caller() -> None:
    def broken() -> Hanging:
        raise OSError("no such store")

    async def scenario() -> None:
        with pytest.raises(OSError, match="no such store"):
            await UserStore(broken, deadline_ms=100).begin(1)

    asyncio.run(scenario())
