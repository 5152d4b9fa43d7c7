"""What refusing requests costs those who are let in, and the workers of a server as balancer."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlsd.serving.http.connection_balancer import ConnectionBalancer, join
from mlsd.serving.http.delayed_rejections import DelayedRejections

PEER = """
import sys
from pathlib import Path
from mlsd.serving.http.connection_balancer import ConnectionBalancer
balancer = ConnectionBalancer(Path(sys.argv[1]))
for line in sys.stdin:
    print(balancer.surplus(int(line)), flush=True)
"""


class Loop:
    """Runs refusals in an event loop, with rests that take no time but are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rests: list[float] = []
        self.sent: list[tuple[str, float]] = []
        self.refusals = DelayedRejections(held_s=0.06, rest_s=0.002)
        clock = SimpleNamespace(perf_counter=time.perf_counter, sleep=self.rests.append)  # other threads sleep on
        monkeypatch.setattr("mlsd.serving.http.delayed_rejections.time", clock)

    def refuse(self, name: str, waited_s: float = 0.0) -> None:
        now = time.perf_counter()
        self.refusals.add(now - waited_s, lambda: self.sent.append((name, time.perf_counter() - now)))

    def run(self, act: Callable[[], None], seconds: float = 0.2) -> None:
        async def both() -> None:
            act()
            await asyncio.sleep(seconds)

        asyncio.run(both())


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    return Loop(monkeypatch)


def test_a_refusal_comes_no_sooner_than_an_answer_would(loop: Loop) -> None:
    """5.36: else the worker that refuses is free first, and the proxy sends it everything."""

    def act() -> None:
        for name in ("first", "second"):
            loop.refuse(name)
        loop.refuse("waited in the queue already", waited_s=1.0)

    loop.run(act)
    assert [name for name, _ in loop.sent] == ["waited in the queue already", "first", "second"]
    took = dict(loop.sent)
    assert took["waited in the queue already"] < took["first"]
    assert took["first"] >= 0.06
    assert took["second"] >= 0.06


def test_the_loop_rests_once_after_a_burst_and_never_without_one(loop: Loop) -> None:
    """5.36: ranking threads get the interpreter in between."""
    loop.run(lambda: None, seconds=0.01)
    assert loop.rests == []
    loop.run(lambda: [loop.refuse(str(number)) for number in range(50)] and None)
    assert loop.rests == [0.002]
    assert len(loop.sent) == 50


def test_one_that_cannot_be_sent_does_not_keep_the_others(loop: Loop) -> None:
    def act() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: loop.sent.append(("told", 0.0)))
        now = time.perf_counter()
        loop.refusals.add(now, [].pop)
        loop.refuse("second")

    loop.run(act)
    assert [name for name, _ in loop.sent] == ["told", "second"]
    loop.sent.clear()
    loop.run(lambda: loop.refuse("later"))
    assert [name for name, _ in loop.sent] == ["later"]


class Peer:
    """Another process of the same server."""

    def __init__(self, folder: Path) -> None:
        argv = [sys.executable, "-c", PEER, str(folder)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def surplus(self, active: int) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{active}\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def test_a_worker_ends_half_of_what_it_has_too_much(tmp_path: Path) -> None:
    """5.12: no worker is left with most of the connections; a dead one counts for nothing."""
    own, other = ConnectionBalancer(tmp_path), Peer(tmp_path)
    try:
        assert other.surplus(0) == 0
        assert own.surplus(10) == 3  # 5 each: half of 5, rounded up
        assert own.surplus(7) == 2
        assert own.surplus(2) == 0  # one apart is even
        assert other.surplus(100) == 25
        assert own.surplus(99) == 0
        assert own.surplus(120) == 0  # within a tenth of the mean
    finally:
        other.kill()
    assert own.surplus(10) == 0
    assert len(list(tmp_path.glob("[0-9]*"))) == 1
    again = Peer(tmp_path)
    try:
        assert again.surplus(0) == 0
        assert own.surplus(16) == 4
    finally:
        again.kill()


def test_a_worker_that_cannot_see_the_others_keeps_its_connections(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full or broken disk costs the even share, not the sweep that ends slow senders, and not the start."""
    (tmp_path / "file").write_text("")
    assert join(tmp_path / "file" / "workers") is None
    own, other = ConnectionBalancer(tmp_path), Peer(tmp_path)
    try:
        assert other.surplus(0) == 0
        assert own.surplus(10) == 3
        (tmp_path / str(other.process.pid)).write_text("garbage")
        assert own.surplus(10) == 0

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("mlsd.serving.http.connection_balancer.os.pwrite", full)
        assert own.surplus(10) == 0
    finally:
        other.kill()
    assert caplog.text.count("connections are not shared out") == 3
