"""The client that asks every contestant alike: raw sockets, one thread, one process; almost nothing but the wait.

`python -m rig.client` reads one job as JSON from standard input and prints what it saw as JSON.
"""

import json
import re
import select
import socket
import sys
import time
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RECEIVE = 1 << 18
STALL_S = 20.0
END = b"\r\n\r\n"
LAST = b"connection: close"
REASONS = re.compile(rb'"degraded":\[([^\]]+)\]')
TIMING = re.compile(rb"(\w+);dur=([\d.]+)")


@dataclass(frozen=True)
class Job:
    """What to send, how, and for how long."""

    port: int
    path: str
    bodies: str  # a file: one JSON body a line, sent in turn
    seconds: float
    connections: int = 1
    rate: float = 0.0  # requests a second from a fixed schedule; 0: each connection asks again when answered
    warmup_s: float = 0.0
    full: str = ""  # what the body of a whole answer contains; others are counted apart
    least: int = 0  # of a closed loop: go on until so many are answered
    reconnect: bool = False  # a broken connection is opened anew, its request counts as not answered
    timeline: bool = False  # give out (second of the schedule, milliseconds, status, whole) of every request
    hops: bool = False  # percentiles of each name in the Server-Timing headers


@dataclass
class _Connection:
    socket: socket.socket
    due: float = 0.0
    got: bytearray = field(default_factory=bytearray)
    need: int = 0  # length of the whole answer once its head is known
    busy: bool = False


def _head(bodies: list[bytes], path: str) -> list[bytes]:
    text = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: "
    return [text.encode() + str(len(body)).encode() + END + body for body in bodies]


def _length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    if at < 0:
        raise ValueError(f"an answer without content-length: {head[:200]!r}")
    return int(head[at + 15 : head.find(b"\r", at)])


class Client:
    """A closed or an open loop over keep-alive connections."""

    def __init__(self, job: Job) -> None:
        """Connect."""
        self.job = job
        self.messages = _head(Path(job.bodies).read_bytes().splitlines(), job.path)
        self.full = job.full.encode()
        self.epoll = select.epoll()
        self.by_fd: dict[int, _Connection] = {}
        self.idle: deque[_Connection] = deque()
        for _ in range(job.connections):
            self._connect()
        self.sent = 0
        self.done: list[tuple[float, float, int, bool]] = []  # due, seconds, status (0: broken), whole
        self.lag: list[float] = []
        self.bytes = 0
        self.hops: defaultdict[str, list[float]] = defaultdict(list)
        self.counted_from = 0.0
        self.reasons: Counter[str] = Counter()

    def _connect(self) -> None:
        made = socket.create_connection(("127.0.0.1", self.job.port), timeout=STALL_S)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(made)
        self.by_fd[made.fileno()] = connection
        self.epoll.register(made.fileno(), select.EPOLLIN)
        self.idle.append(connection)

    def _send(self, connection: _Connection, due: float) -> None:
        message = self.messages[self.sent % len(self.messages)]
        self.sent += 1
        connection.due, connection.busy, connection.need = due, True, 0
        connection.got.clear()
        try:
            connection.socket.sendall(message)
        except OSError:
            self._broken(connection)

    def _broken(self, connection: _Connection) -> None:
        if not self.job.reconnect:
            raise ConnectionError("the server closed a connection")
        if connection.busy:
            self.done.append((connection.due, time.perf_counter() - connection.due, 0, False))
        self._replace(connection)

    def _replace(self, connection: _Connection) -> None:
        fd = connection.socket.fileno()
        self.epoll.unregister(fd)
        del self.by_fd[fd]
        connection.socket.close()
        until = time.perf_counter() + STALL_S
        while True:
            try:
                return self._connect()
            except OSError:
                if time.perf_counter() > until:
                    raise
                time.sleep(0.005)

    def _receive(self, connection: _Connection) -> bool:
        """Whether an answer is complete."""
        try:
            data = connection.socket.recv(RECEIVE)
        except OSError:
            data = b""
        if not data:
            if connection in self.idle:
                self.idle.remove(connection)
            self._broken(connection)
            return False
        got = connection.got
        got += data
        if not connection.need and (end := got.find(END)) >= 0:
            connection.need = end + 4 + _length(bytes(got[:end]) + b"\r")
        if not connection.need or len(got) < connection.need:
            return False
        self._note(connection)
        connection.busy = False
        ends = LAST in got[: got.find(END)].lower()
        if ends:
            self._replace(connection)
        return not ends

    def _note(self, connection: _Connection) -> None:
        now, got = time.perf_counter(), connection.got
        status = int(got[9:12])
        whole = status == 200 and (not self.full or self.full in got)
        self.done.append((connection.due, now - connection.due, status, whole))
        if status == 200 and not whole and connection.due >= self.counted_from:
            self.reasons.update(found.decode() for found in REASONS.findall(got))
        self.bytes += len(got)
        if self.job.hops and connection.due >= self.counted_from:
            for name, duration in TIMING.findall(got[: got.find(END)]):
                self.hops[name.decode()].append(float(duration) / 1e3)

    def closed(self, until: float) -> None:
        """Each connection sends its next request when it has its answer."""
        while self.idle:
            self._send(self.idle.popleft(), time.perf_counter())
        while True:
            for fd, _ in self.epoll.poll(STALL_S):
                if self._receive(self.by_fd[fd]):
                    now = time.perf_counter()
                    if now > until and len(self.done) >= self.job.least:
                        return
                    self._send(self.by_fd[fd], now)
            while self.idle:  # opened anew
                self._send(self.idle.popleft(), time.perf_counter())

    def open(self, start: float, until: float) -> None:
        """Requests leave by a fixed schedule, late ones at once; their time counts from the schedule."""
        step, count = 1.0 / self.job.rate, round((until - start) * self.job.rate)
        sent = 0
        while sent < count or any(c.busy for c in self.by_fd.values()):
            now = time.perf_counter()
            while sent < count and self.idle and start + sent * step <= now:
                due = start + sent * step
                self.lag.append(now - due)
                self._send(self.idle.popleft(), due)
                sent += 1
            waiting = start + sent * step - now if sent < count and self.idle else STALL_S
            if now > until + STALL_S:
                return
            if not select.select([self.epoll], [], [], max(min(waiting, 1.0), 0.0))[0]:
                continue
            for fd, _ in self.epoll.poll(0):
                connection = self.by_fd[fd]
                if self._receive(connection):
                    self.idle.append(connection)

    def close(self) -> None:
        """Close every connection."""
        for connection in self.by_fd.values():
            connection.socket.close()
        self.epoll.close()


def percentiles(seconds: Any) -> dict[str, float]:
    """p50, p90, p99, largest; milliseconds."""
    if not len(seconds):
        return {}
    found = np.percentile(np.asarray(seconds) * 1e3, [50, 90, 99, 100])
    return dict(zip(("p50_ms", "p90_ms", "p99_ms", "max_ms"), found.tolist(), strict=True))


def run(job: Job) -> dict[str, Any]:
    """Do the job."""
    client = Client(job)
    start, cpu = time.perf_counter(), time.process_time()
    client.counted_from = start + job.warmup_s
    if job.rate:
        client.open(start, start + job.warmup_s + job.seconds)
    else:
        client.closed(start + job.warmup_s + job.seconds)
    cpu = time.process_time() - cpu
    client.close()
    kept = [each for each in client.done if each[0] >= start + job.warmup_s]
    span = max((due + took for due, took, _, _ in kept), default=start) - start - job.warmup_s
    whole = [took for _, took, _, full in kept if full]
    result: dict[str, Any] = {
        "sent": len(kept),
        "statuses": dict(Counter(str(status) for _, _, status, _ in kept)),
        "whole": len(whole),
        "degraded": dict(client.reasons),
        "rps": len(whole) / span if span else 0.0,
        "client_us": cpu / max(len(client.done), 1) * 1e6,
        "answer_bytes": client.bytes / max(len(client.done), 1),
        **percentiles(whole),
        "answered": percentiles([took for _, took, status, _ in kept if status == 200]),
        "any": percentiles([took for _, took, _, _ in kept]),
        "lag_p99_ms": float(np.percentile(client.lag, 99) * 1e3) if client.lag else 0.0,
    }
    if job.hops:
        result["hops"] = {name: percentiles(seconds) for name, seconds in client.hops.items()}
    if job.timeline:
        result["timeline"] = [
            (round(due - start, 4), round(took * 1e3, 2), status, full) for due, took, status, full in kept
        ]
    return result


if __name__ == "__main__":
    print(json.dumps(run(Job(**json.load(sys.stdin)))))
