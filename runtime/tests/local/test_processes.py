"""Processes of the stack: started, found again, stopped with all their descendants."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.local import processes
from mlsd.local.ports import HOST
from support.paths import PYTHONPATH

pytestmark = pytest.mark.slow


SERVER = [sys.executable, "-m", "http.server", "--bind", HOST]
FAMILY = """
import subprocess, sys, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
orphan = "import os, time; os.fork() and os._exit(0); os.setsid(); time.sleep(600)"
subprocess.run([sys.executable, "-c", orphan])
subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
import http.server
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture(autouse=True)
def _nothing_left(home: Home) -> Iterator[None]:
    yield
    processes.stop_all(home, grace_s=0.2)
    assert marked(home) == []


def marked(home: Home) -> list[int]:
    return [p.pid for p in processes._members(str(home.run), ())]


def start(home: Home, name: str, port: int, argv: list[str] | None = None) -> int:
    return processes.start(home, name, [*(argv or SERVER), str(port)], env={}, ready_url=f"http://{HOST}:{port}/")


def test_start_find_stop(home: Home, free_port: int) -> None:
    pid = start(home, "web", free_port)
    assert processes.running(home) == {"web": pid}
    assert os.getsid(pid) == pid
    assert "GET / HTTP" in (home.logs / "web.log").read_text()
    processes.stop(home, "web")
    assert processes.running(home) == {}
    processes.stop(home, "web")


def test_starting_twice_replaces(home: Home, free_port: int) -> None:
    first, second = start(home, "web", free_port), start(home, "web", free_port)
    assert processes.running(home) == {"web": second}
    assert first != second


def test_stop_ends_the_whole_tree(home: Home, free_port: int) -> None:
    """Children that ignore SIGTERM and one that left the session go too."""
    start(home, "family", free_port, [sys.executable, "-c", FAMILY])
    assert len(marked(home)) == 3
    processes.stop(home, "family", grace_s=0.3)
    assert marked(home) == []


def test_a_child_that_ends_is_reported_at_once_with_its_last_words(home: Home) -> None:
    began = time.monotonic()
    crash = [sys.executable, "-c", "print('first'); raise SystemExit('no model here')"]
    with pytest.raises(UserError, match=r"web: ended before it was ready(.|\n)*no model here"):
        processes.start(home, "web", crash, env={}, ready_url=f"http://{HOST}:1/")
    assert time.monotonic() - began < 20
    with pytest.raises(UserError, match="No such file"):
        processes.start(home, "web", ["/does/not/exist"], env={}, ready_url=f"http://{HOST}:1/")


def test_a_child_that_never_answers_is_ended_at_the_deadline(home: Home) -> None:
    idle = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(UserError, match=r"not ready at .* within 3 s"):
        processes.start(home, "web", idle, env={}, ready_url=f"http://{HOST}:1/", timeout_s=3)
    assert marked(home) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "created": 0}', "SELF"])
def test_stale_pid_files_are_cleaned(home: Home, content: str) -> None:
    """SELF: the pid is in use again, by a process that started at another time."""
    home.run.mkdir(parents=True)
    path = home.run / "web.pid"
    path.write_text(content.replace("SELF", json.dumps({"pid": os.getpid(), "created": 1000.0})))
    assert processes.running(home) == {}
    assert not path.exists()
    processes.stop(home, "web")


def test_half_deleted_state_is_cleaned_up(home: Home, free_port: int) -> None:
    """The pid file is gone, the process is not: the next stop finds it by its mark."""
    pid = start(home, "web", free_port)
    for path in home.run.iterdir():
        path.unlink()
    home.run.rmdir()
    assert processes.running(home) == {}
    processes.stop_all(home)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    start(home, "web", free_port)


def test_survives_the_thread_that_started_it(home: Home, free_port: int) -> None:
    thread = threading.Thread(target=start, args=(home, "web", free_port))
    thread.start()
    thread.join()
    assert "web" in processes.running(home)


STARTER = """
import sys
from pathlib import Path
from support.paths import PYTHONPATH
from mlsd.core.home import Home
from mlsd.local import processes
argv = [sys.executable, "-c", "import time; time.sleep(600)"]
processes.start(Home(Path(sys.argv[1])), "slow", argv, env={}, ready_url="http://127.0.0.1:1/", timeout_s=60)
"""


def _starter(home: Home) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": PYTHONPATH}
    return subprocess.Popen([sys.executable, "-c", STARTER, str(home.root)], env=env, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("delay", [0.15, 0.3, 0.45, 0.6, 1.0])
def test_interrupt_leaves_nothing(home: Home, delay: float) -> None:
    starter = _starter(home)
    time.sleep(delay)
    starter.send_signal(signal.SIGINT)
    starter.wait(60)
    assert marked(home) == []


@pytest.mark.parametrize("delay", [0.3, 0.6, 1.0])
def test_kill_leaves_what_the_next_stop_finds(home: Home, delay: float) -> None:
    starter = _starter(home)
    time.sleep(delay)
    starter.kill()
    starter.wait(60)
    time.sleep(0.3)
    processes.stop_all(home)
    assert marked(home) == []
