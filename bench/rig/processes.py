"""Child processes: every one in a session of its own, all of them stopped at the end, whatever ends it."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from rig.client import Job

READY_S = 120.0


def free_port() -> int:
    """A port on 127.0.0.1 that nothing listens on, below the range that the system hands out."""
    for port in random.sample(range(20_000, 32_000), 200):
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=0.5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def stop(process: psutil.Popen, grace_s: float = 8.0) -> None:
    """SIGTERM to the leader, SIGKILL to what is left of its session."""
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    with suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
        process.wait(grace_s)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
        process.wait(5)


@dataclass
class Server:
    """A contestant that answers."""

    name: str
    port: int
    path: str
    bodies: Path
    process: psutil.Popen
    log: Path
    full: str = ""
    ready_s: float = 0.0

    def processes(self) -> list[psutil.Process]:
        """The leader and all below it."""
        return [self.process, *self.process.children(recursive=True)]

    def rss_mb(self) -> float:
        """Of the largest process, which is the one that holds the model."""
        found = []
        for each in self.processes():
            with suppress(psutil.NoSuchProcess):
                found.append(each.memory_info().rss / 1e6)
        return max(found)

    def job(self, seconds: float, connections: int = 1, **more: Any) -> Job:
        """A job for the client against this server."""
        settings: dict[str, Any] = {"full": self.full, "warmup_s": min(seconds / 4, 0.5)} | more
        return Job(self.port, self.path, str(self.bodies), seconds, connections, **settings)


@contextmanager
def serve(
    name: str,
    argv: list[str],
    env: dict[str, str],
    port: int,
    log: Path,
    *,
    path: str,
    bodies: Path,
    ready: str,
    full: str = "",
) -> Iterator[Server]:
    """Start a server, wait until `ready` answers 200, stop it in the end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    with log.open("wb") as output:
        process = psutil.Popen(argv, env=env, stdout=output, stderr=output, start_new_session=True, cwd=log.parent)
    try:
        while _status(f"http://127.0.0.1:{port}{ready}") != 200:
            if process.poll() is not None or time.perf_counter() - started > READY_S:
                raise RuntimeError(f"{name} does not answer:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.02)
        yield Server(name, port, path, bodies, process, log, full, time.perf_counter() - started)
    finally:
        stop(process)


class Asking:
    """A client at work in a process of its own."""

    def __init__(self, job: Job) -> None:
        """Start it."""
        self.started = time.perf_counter()
        argv, pipe = [sys.executable, "-m", "rig.client"], subprocess.PIPE
        self._process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(job)))
        self._process.stdin.close()
        self._process.stdin = None

    def result(self, timeout_s: float = 600.0) -> dict[str, Any]:
        """What it saw, when it is done."""
        try:
            output, complaint = self._process.communicate(timeout=timeout_s)
        finally:
            self._process.kill()
        if self._process.returncode:
            raise RuntimeError(f"the client: {complaint[-2000:]}")
        found: dict[str, Any] = json.loads(output)
        return found


def child(argv: list[str], timeout_s: float = 600.0) -> Any:
    """Run a part of the rig in a process of its own; what it printed, as JSON."""
    command = [sys.executable, "-m", *argv]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ask(job: Job) -> dict[str, Any]:
    """What the client saw."""
    return Asking(job).result()
