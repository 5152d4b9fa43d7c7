"""The read of one user keeps its deadline; a store that fails is left alone and found again; hanging reads are few."""

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest

from mlsd.features.online_stores.base import UserRow
from mlsd.serving.dispatch.circuit_breaker import Breaker
from mlsd.serving.inference import users as module
from mlsd.serving.inference.users import Blocking, CircuitOpenError, Row, UserStore
from support.waiting import within

ROW = UserRow(values=np.ones(3, np.float32), written={"user": datetime(2026, 1, 1, tzinfo=UTC)})
FAILURES = 3


class Network:
    """A store over the network whose answers this test gives."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[Row]] = []
        self.answer: Row | Exception | None = None
        self.silent = self.full = False

    def begin(self, user_id: int) -> "asyncio.Future[Row] | None":
        if self.full:
            return None
        reading: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self.asked.append(reading)
        if isinstance(self.answer, Exception):
            reading.set_exception(self.answer)
        elif not self.silent:
            reading.set_result(self.answer)
        return reading


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Callable[[], float] = time.monotonic, told: Callable[[bool], None] = lambda _: None) -> Breaker:
    return Breaker(FAILURES, 1.0, told, clock)


def test_a_silent_store_ends_at_the_deadline_and_is_let_go() -> None:
    store = Network()
    store.silent = True
    users = UserStore(store, 20, breaker())

    async def scenario() -> None:
        started = time.perf_counter()
        with pytest.raises(TimeoutError):
            await users.begin(1)
        assert 0.015 < time.perf_counter() - started < 10
        assert store.asked[0].cancelled()
        started = time.perf_counter()
        with pytest.raises(TimeoutError):
            await UserStore(store, 60_000, breaker()).begin(1, max_s=0.001)
        assert time.perf_counter() - started < 10
        store.silent, store.answer = False, ROW
        assert await users.begin(1) is ROW
        store.answer = None
        assert await users.begin(1) is None

    asyncio.run(scenario())


def test_an_error_of_the_store_reaches_the_caller_and_too_many_reads_are_late_at_once() -> None:
    store = Network()
    store.answer = OSError("no such store")
    users = UserStore(store, 10_000, breaker())

    async def scenario() -> None:
        with pytest.raises(OSError, match="no such store"):
            await users.begin(1)
        store.full = True
        started = time.perf_counter()
        with pytest.raises(TimeoutError):
            await users.begin(1)
        assert time.perf_counter() - started < 5

    asyncio.run(scenario())


def test_an_answer_that_came_in_time_counts_although_the_loop_looks_late() -> None:
    """Own work that holds the loop up is no failure of the store."""
    store = Network()
    store.silent = True
    users = UserStore(store, 20, breaker())

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        reading = asyncio.ensure_future(users.begin(1))
        await asyncio.sleep(0)

        def hold_up() -> None:
            answering = threading.Thread(target=loop.call_soon_threadsafe, args=(store.asked[0].set_result, ROW))
            answering.start()
            answering.join()
            time.sleep(0.2)

        loop.call_soon(hold_up)
        assert await reading is ROW

    asyncio.run(scenario())


def test_after_failures_in_a_row_nobody_waits_and_one_tries_now_and_then() -> None:
    store, clock, changes = Network(), Clock(), list[bool]()
    users = UserStore(store, 1_000, breaker(clock, changes.append))

    async def failing(expected: type[Exception], times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(expected):
                await users.begin(1)

    async def scenario() -> None:
        store.answer = OSError()
        await failing(OSError, FAILURES - 1)
        store.answer = ROW
        await users.begin(1)
        store.answer = OSError()
        await failing(OSError, FAILURES - 1)
        assert changes == []
        await failing(OSError)
        assert changes == [True]
        asked = len(store.asked)
        await failing(CircuitOpenError, 50)
        clock.now = 0.99
        await failing(CircuitOpenError)
        assert len(store.asked) == asked
        clock.now = 1.01
        await failing(OSError)
        await failing(CircuitOpenError, 50)
        assert len(store.asked) == asked + 1
        store.answer = ROW
        clock.now = 2.1
        assert await users.begin(1) is ROW
        assert changes == [True, False]
        assert await users.begin(1) is ROW

    asyncio.run(scenario())


def test_only_one_of_many_tries_and_if_it_is_lost_the_next_one_does() -> None:
    clock = Clock()
    one = breaker(clock)
    for _ in range(FAILURES):
        one.failed()
    clock.now = 1.5
    assert [one.enter() for _ in range(10)] == [True] + [False] * 9
    clock.now = 2.6
    assert one.enter()
    assert one.open


class File:
    """A store in a file that blocks until it is let go."""

    def __init__(self, go: threading.Event) -> None:
        self.go, self.asked = go, 0

    def read(self, user_id: int) -> Row:
        self.asked += 1
        self.go.wait(120)
        return ROW if user_id else None


def test_reads_that_hang_hold_few_threads_and_the_store_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HANGS_S", 60.0)
    go, files = threading.Event(), list[File]()

    def connect() -> File:
        files.append(File(go))
        return files[-1]

    store = Blocking(connect)
    users = UserStore(store, 20, Breaker(FAILURES, 0.05))
    assert users.reads_here
    results: list[object] = []
    hanging = [threading.Thread(target=lambda: results.append(users.read_here(1)), daemon=True) for _ in range(2)]
    for thread in hanging:
        thread.start()
    assert within(20, lambda: sum(file.asked for file in files) == len(hanging))
    monkeypatch.setattr(module, "HANGS_S", 0.05)
    assert within(20, lambda: store.hangs)
    for _ in range(50):
        with pytest.raises(CircuitOpenError):
            users.read_here(1)
    for _ in range(FAILURES):
        users.gave_up()
    time.sleep(0.1)  # until the breaker would let one try
    with pytest.raises(CircuitOpenError):
        users.read_here(1)
    assert sum(file.asked for file in files) == len(hanging)
    go.set()
    for thread in hanging:
        thread.join(30)
    assert results == [ROW, ROW]
    assert users.read_here(1) is ROW
    assert users.read_here(0) is None


def test_each_thread_has_a_connection_and_a_broken_one_is_opened_again() -> None:
    opened: list[File] = []
    broken = [True]

    def connect() -> File:
        go = threading.Event()
        go.set()
        opened.append(File(go))
        return opened[-1]

    class Breaking(File):
        def read(self, user_id: int) -> Row:
            raise OSError("damaged")

    def first_breaks() -> File:
        file = connect()
        return Breaking(file.go) if broken.pop() else file

    users = UserStore(Blocking(first_breaks), 20, breaker())
    with pytest.raises(OSError, match="damaged"):
        users.read_here(1)
    broken.append(False)
    assert [users.read_here(1), users.read_here(1)] == [ROW, ROW]
    assert len(opened) == 2
    broken.append(False)
    other = threading.Thread(target=users.read_here, args=(1,))
    other.start()
    other.join(30)
    assert len(opened) == 3


def test_a_store_is_read_only_the_way_it_is_meant() -> None:
    go = threading.Event()
    go.set()
    with pytest.raises(TypeError):
        UserStore(Network(), 20, breaker()).read_here(1)
    with pytest.raises(TypeError):
        UserStore(Blocking(lambda: File(go)), 20, breaker()).begin(1)
