"""The hook server: a real process, real runs (C.09, 6.12, 6.16)."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from mlsd.core.home import Home
from support.paths import PYTHONPATH
from support.waiting import within

pytestmark = pytest.mark.slow


APPEND = "import sys,time; time.sleep({wait}); open({out!r}, 'a').write('done\\n')"
Start = Callable[..., "Server"]
PATIENCE_S = 90
LONG_S = 600  # of a run that must still be at work when its server ends


class Server:
    def __init__(self, home: Home, command: list[str], cooldown: float) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        argv = [sys.executable, "-m", "mlsd.monitoring.triggers.hooks", f"--port={port}", f"--cooldown-min={cooldown}"]
        self.home = home
        self.process = subprocess.Popen(
            [*argv, f"--command={json.dumps(command)}"],
            env=os.environ | {"PYTHONPATH": PYTHONPATH, "MLSD_HOME": str(home.root)},
        )
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(timeout=60, limits=httpx.Limits(max_connections=32))
        assert within(PATIENCE_S, self.alive)
        self.headers = {"authorization": f"Bearer {(home.run / 'hook_token').read_text()}"}

    def alive(self) -> bool:
        with suppress(httpx.TransportError):
            return self.client.get(f"{self.url}/livez").status_code == 200
        return False

    def post(self, key: str = "k1", action: str = "retrain", **changes: Any) -> httpx.Response:
        now = datetime.now(UTC).isoformat()
        body = {"key": key, "reason": "psi", "window_end": now, "sent_at": now} | changes
        return self.send(json.dumps(body).encode(), action)

    def send(self, content: bytes, action: str = "retrain", **headers: str) -> httpx.Response:
        return self.client.post(f"{self.url}/hooks/{action}", content=content, headers=self.headers | headers)

    def status(self, key: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"{self.url}/hooks/runs/{key}", headers=self.headers).json()
        return found

    def ended(self, key: str) -> dict[str, Any]:
        assert within(PATIENCE_S, lambda: self.status(key)["status"] in {"succeeded", "failed"})
        return self.status(key)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.txt"


@pytest.fixture
def start(home: Home, out: Path) -> Iterator[Start]:
    started: list[Server] = []

    def begin(wait: float = 0, cooldown: float = 60, command: list[str] | None = None) -> Server:
        program = APPEND.format(wait=wait, out=str(out))
        started.append(Server(home, command or [sys.executable, "-c", program], cooldown))
        return started[-1]

    yield begin
    for server in started:
        server.process.terminate()
        server.process.wait(PATIENCE_S)


def runs(out: Path) -> int:
    return len(out.read_text().splitlines()) if out.exists() else 0


@pytest.mark.fault("Duplicate trigger / alert storm", "1,000 in parallel: one run")
def test_a_thousand_parallel_posts_of_one_key_make_one_run(start: Start, out: Path) -> None:
    server = start()
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: server.post("storm"), range(1000)))
    assert {answer.status_code for answer in answers} == {202}
    assert sum(answer.json()["created"] for answer in answers) == 1
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    assert server.ended("storm")["exit_code"] == 0
    assert runs(out) == 1


def test_other_keys_join_the_run_during_the_cooldown_and_run_after_it(start: Start, out: Path) -> None:
    server = start(cooldown=60)
    first, second = server.post("a:1").json(), server.post("a:2").json()
    assert second["run_id"] == first["run_id"]
    assert second["triggers"] == 2
    assert server.post("b:1", action="rollback").json()["created"], "another action has a cooldown of its own"
    server.ended("a:1")
    server.ended("b:1")
    server.process.terminate()
    server.process.wait(PATIENCE_S)
    server = start(cooldown=0)
    assert server.post("a:3").json()["created"]
    server.ended("a:3")
    assert runs(out) == 3


@pytest.mark.fault("Orchestrator down when triggered", "durable outbox, retried, exactly one run")
def test_what_was_accepted_survives_a_sigkill_and_runs_once(start: Start, out: Path) -> None:
    server = start(wait=LONG_S, cooldown=0)
    server.post("running")
    assert within(PATIENCE_S, lambda: server.status("running")["status"] == "running")
    assert server.post("queued").json()["status"] == "accepted"
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.kill()
    server.process.wait()
    psutil.wait_procs(children, PATIENCE_S)
    assert not any(child.is_running() for child in children), "the run dies with its server"
    server = start(wait=0, cooldown=0)
    assert server.ended("queued")["attempts"] == 1
    assert server.ended("running")["attempts"] == 2
    assert runs(out) == 2


def test_killed_right_after_the_answer_nothing_is_lost_or_doubled(start: Start, out: Path) -> None:
    for number in range(2):
        server = start(cooldown=0)
        server.post(f"k{number}")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
    server = start(cooldown=0)
    for number in range(2):
        assert server.ended(f"k{number}")["status"] == "succeeded"
    assert runs(out) == 2


def test_sigterm_stops_the_run_and_leaves_no_process(start: Start, out: Path) -> None:
    server = start(wait=LONG_S)
    server.post()
    assert within(PATIENCE_S, lambda: server.status("k1")["status"] == "running")
    children = psutil.Process(server.process.pid).children(recursive=True)
    server.process.terminate()
    assert server.process.wait(PATIENCE_S) is not None
    psutil.wait_procs(children, PATIENCE_S)
    assert not any(child.is_running() for child in children)


def test_a_failing_command_is_recorded_with_its_log(start: Start) -> None:
    server = start(command=[sys.executable, "-c", "print('no data'); raise SystemExit(2)"])
    server.post()
    ended = server.ended("k1")
    assert (ended["status"], ended["exit_code"]) == ("failed", 2)
    assert "no data" in Path(ended["log"]).read_text()


@pytest.mark.fault("Resolved/old/replayed trigger", "ignored or 401; no run")
def test_what_is_not_a_trigger_is_refused_by_name(start: Start, home: Home, out: Path) -> None:
    server = start()
    now = datetime.now(UTC)
    good = {"key": "k", "reason": "r", "window_end": now.isoformat(), "sent_at": now.isoformat()}

    def answer(**changes: Any) -> tuple[int, str]:
        found = server.send(json.dumps(good | changes).encode())
        return found.status_code, found.json()["error"]["field"]

    assert answer(key="../x y") == (400, "key")
    assert answer(key=7) == (400, "key")
    assert answer(reason="") == (400, "reason")
    assert answer(window_end="2026-01-01T00:00:00") == (400, "window_end")
    assert answer(command="rm") == (400, "command")
    assert answer(sent_at=(now - timedelta(minutes=6)).isoformat()) == (401, "sent_at")
    assert answer(sent_at=(now + timedelta(minutes=6)).isoformat()) == (401, "sent_at")
    assert server.send(b"{not json").status_code == 400
    assert server.send(b"x" * 20_000).status_code == 413
    assert server.send(json.dumps(good).encode(), action="delete").status_code == 404
    server.headers = {"authorization": "Bearer wrong"}
    assert server.post().status_code == 401
    server.headers = {}
    assert server.post().status_code == 401
    assert httpx.get(f"{server.url}/hooks/runs/k1").status_code == 401
    assert (home.run / "hook_token").stat().st_mode & 0o777 == 0o600
    assert runs(out) == 0
