"""Debian's redis-server with the world's features in it, on a free port; its data is kept between runs."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from rig.processes import free_port
from rig.world import World

START_S = 30.0


@dataclass
class Redis:
    """A server that can be frozen, killed and started again with its data."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: psutil.Popen | None = None

    @property
    def url(self) -> str:
        """For MLSD_REDIS_URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start and wait for its PONG."""
        program = shutil.which("redis-server")
        if program is None:
            raise RuntimeError("redis-server is not installed: apt-get install redis-server")
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        log = (self.folder / "redis.log").open("ab")
        with log:
            self.process = psutil.Popen([program, *options], stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + START_S
        while not self.says(b"PING").startswith(b"+PONG"):
            if time.monotonic() > until:
                raise RuntimeError("redis-server did not answer")
            time.sleep(0.02)

    def says(self, command: bytes, timeout_s: float = 0.5) -> bytes:
        """Its answer to one inline command."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as connection:
            connection.sendall(command + b"\r\n")
            return connection.recv(256)
        return b""

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP, SIGCONT or SIGKILL."""
        if self.process is not None:
            with suppress(psutil.NoSuchProcess):
                self.process.send_signal(number)
            if number == signal.SIGKILL:
                self.process.wait(10)
                self.process = None


@contextmanager
def redis(world: World) -> Iterator[Redis]:
    """A running server that holds the world; filled by the template's own materialisation the first time."""
    folder = world.home.root / "redis"
    folder.mkdir(exist_ok=True)
    server = Redis(folder)
    try:
        server.start()
        if not (folder / "filled").exists():
            size = json.dumps(asdict(world.size))
            argv = [sys.executable, "-m", "rig.fill", str(world.home.root), str(world.design(store="redis")), size]
            subprocess.run(argv, env=os.environ | {"MLSD_REDIS_URL": server.url}, check=True, capture_output=True)
            server.says(b"SAVE", timeout_s=60)
            (folder / "filled").touch()
        config = folder / "home" / "feast" / "feature_store.yaml"  # names the port of the run that filled it
        config.write_text(re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{server.port}", config.read_text(encoding="utf-8")))
        yield server
    finally:
        server.signal(signal.SIGKILL)
