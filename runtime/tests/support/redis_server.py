"""Debian's redis-server as a process of a test, on a free port, in memory only."""

import os
import shutil
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import psutil
import redis

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.online_stores.redis import Layout, time_field
from mlsd.features.online_stores.sqlite import UserReader
from mlsd.features.values import stamp
from mlsd.problem.problem import Problem

START_S = 20


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass
class RedisServer:
    """A server that can be killed, started again (empty) on the same port, stopped and let go on."""

    port: int = field(default_factory=free_port)
    folder: str | None = None
    """Where `save` writes and `start` reads."""
    process: psutil.Popen | None = None

    @property
    def url(self) -> str:
        """For MLSD_REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, with the data of the last `save` if there is a folder, and wait for its PONG."""
        program = shutil.which("redis-server")
        assert program, "redis-server is not installed: apt-get install redis-server"
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = psutil.Popen(
            [program, *options, "--loglevel", "warning", *(("--dir", self.folder) if self.folder else ())],
            stdout=-3,
            start_new_session=True,
        )
        until = time.monotonic() + START_S
        while not self.answers():
            assert self.process.poll() is None, "redis-server ended at start"
            assert time.monotonic() < until, "redis-server did not answer"
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it says PONG within half a second."""
        return self._ask(b"PING") == b"+PONG\r\n"

    def save(self) -> None:
        """Write its data down: the next start from the same folder has it."""
        assert self._ask(b"SAVE", timeout_s=30) == b"+OK\r\n"

    def _ask(self, command: bytes, timeout_s: float = 0.5) -> bytes:
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection,
        ):
            connection.settimeout(timeout_s)
            connection.sendall(command + b"\r\n")
            return connection.recv(64)
        return b""

    def kill(self) -> None:
        """SIGKILL: connections break, data is gone unless saved."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and are accepted, nothing is answered."""
        assert self.process is not None
        self.process.suspend()

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.resume()


@contextmanager
def redis_server(folder: str | None = None) -> Iterator[RedisServer]:
    """A running server; killed at the end, frozen or not."""
    server = RedisServer(folder=folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def fill(server: RedisServer, home: Home, design: Design, problem: Problem) -> None:
    """The users of the state folder's SQLite store, in Feast's format (test_redis.py proves it)."""
    layout = Layout(design.name, problem.user_views)
    source = UserReader(home.online_store, design.name, problem.user_views, timeout_s=5)
    writing = redis.Redis(port=server.port).pipeline(transaction=False)
    user = 1
    while row := source.read(user):
        fields = {f: b"\x35" + struct.pack("<f", v) for f, v in zip(layout.fields, row.values.tolist(), strict=False)}
        times = {time_field(view): stamp(at) for view, at in row.written.items()}
        writing.hset(layout.key(user), mapping=fields | times)  # type: ignore[arg-type]
        user += 1
    writing.execute()
    assert user > 1
