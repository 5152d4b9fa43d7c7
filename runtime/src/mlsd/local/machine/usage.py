"""What the workers of the stack use: processor time, and memory over time."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from typing import Self

import psutil

from mlsd.core.home import Home
from mlsd.local.machine.stack_processes import answering, edge, servers

MIB = 2**20
EVERY_S = 0.5
FIND_EVERY = 4  # samples: to look for processes costs more than to measure them


class _Cpu:
    """Seconds used since the start by processes that may end, or begin, meanwhile."""

    def __init__(self, found: Iterable[psutil.Process]) -> None:
        self._before = {process: self._used(process) for process in found}
        self._last = dict(self._before)

    @staticmethod
    def _used(process: psutil.Process) -> float:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return float(times.user + times.system)

    def look(self, found: Iterable[psutil.Process]) -> None:
        for process in found:
            self._last[process] = max(self._used(process), self._last.get(process, 0.0))

    @property
    def total_s(self) -> float:
        return sum(used - self._before.get(process, 0.0) for process, used in self._last.items())


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
class UsageMeter:
    """Watches the servers while a run goes on: `with Watch(home) as watch: ...`."""

    home: Home
    cpu_s: float = 0.0
    edge_cpu_s: float = 0.0
    samples: list[tuple[float, float]] = field(default_factory=list)  # seconds since the start, MiB of all workers
    largest_mib: float = 0.0  # of one process
    seen: set[int] = field(default_factory=set)  # process ids of all workers there were
    last: set[int] = field(default_factory=set)  # and of those that are left

    def __enter__(self) -> Self:
        """Start."""
        self._began = time.monotonic()
        self._find()
        self._cpu, self._edge_cpu = _Cpu(self._servers), _Cpu(self._envoy)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop; the numbers are complete then."""
        self._stop.set()
        self._thread.join()
        self._find()
        self._cpu.look(self._servers)
        self._edge_cpu.look(self._envoy)
        self.cpu_s, self.edge_cpu_s = self._cpu.total_s, self._edge_cpu.total_s

    @property
    def ended(self) -> int:
        """Workers that are gone, whether or not another one took their place."""
        return len(self.seen - self.last)

    def _find(self) -> None:
        self._servers, self._envoy = servers(self.home), edge(self.home)
        self._workers = answering(self._servers)
        self.last = {process.pid for process in self._workers}
        self.seen |= self.last

    def _sample(self) -> None:
        for number in count():
            if number % FIND_EVERY == 0:
                self._find()
            self._cpu.look(self._servers)
            self._edge_cpu.look(self._envoy)
            sizes = memory_mib(self._workers)
            if sizes:
                self.samples.append((time.monotonic() - self._began, sum(sizes)))
                self.largest_mib = max(self.largest_mib, *sizes)
            if self._stop.wait(EVERY_S):
                return
