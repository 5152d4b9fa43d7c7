"""What the workers of the stack use: processor time, and memory over time."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import psutil

from mlsd.home import Home
from mlsd.local import envoy, processes
from mlsd.local.plane import process_name

MIB = 2**20
EVERY_S = 0.5


def _cpu_s(found: Iterable[psutil.Process]) -> float:
    total = 0.0
    for process in found:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants, itself first; empty when it has ended."""
    try:
        leader = psutil.Process(pid)
        return [leader, *leader.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def servers(home: Home) -> list[psutil.Process]:
    """The processes of the slots that run: supervisors and workers."""
    running = processes.running(home)
    names = (process_name("a"), process_name("b"))
    return [process for name in names if name in running for process in tree(running[name])]


def workers(home: Home) -> list[psutil.Process]:
    """Those of the servers that answer requests; all of them where none is called a worker."""
    found = servers(home)
    return [process for process in found if _is_worker(process)] or found


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "worker" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def edge(home: Home) -> list[psutil.Process]:
    """Envoy, if it runs."""
    running = processes.running(home)
    return tree(running[envoy.NAME]) if envoy.NAME in running else []


def memory_mib(found: Iterable[psutil.Process]) -> list[float]:
    """Resident memory of each, MiB; those that ended are left out."""
    sizes = []
    for process in found:
        try:
            sizes.append(process.memory_info().rss / MIB)
        except psutil.NoSuchProcess:
            continue
    return sizes


@dataclass
class Watch:
    """Watches the servers while a run goes on: `with Watch(home) as watch: ...`."""

    home: Home
    cpu_s: float = 0.0
    edge_cpu_s: float = 0.0
    samples: list[tuple[float, float]] = field(default_factory=list)  # seconds since the start, MiB of all workers
    largest_mib: float = 0.0  # of one process

    def __enter__(self) -> Self:
        """Start."""
        self._began, self._found, self._edge = time.monotonic(), servers(self.home), edge(self.home)
        self._workers = workers(self.home)
        self._cpu, self._edge_cpu = _cpu_s(self._found), _cpu_s(self._edge)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop; the numbers are complete then."""
        self.cpu_s, self.edge_cpu_s = _cpu_s(self._found) - self._cpu, _cpu_s(self._edge) - self._edge_cpu
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            sizes = memory_mib(self._workers)
            if sizes:
                self.samples.append((time.monotonic() - self._began, sum(sizes)))
                self.largest_mib = max(self.largest_mib, *sizes)
            if self._stop.wait(EVERY_S):
                return
