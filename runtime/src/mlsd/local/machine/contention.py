"""How much of the machine went to work that is not ours: a latency measured beside it says little."""

from dataclasses import dataclass
from typing import Self

import psutil

from mlsd.core.home import Home
from mlsd.local import processes

QUIET = 0.1  # of the machine: when others take more, a missed time may be their doing


@dataclass(frozen=True)
class CpuReading:
    """CPU seconds since boot: of the machine, of it busy, and of this process and the stack by process."""

    total: float
    busy: float
    ours: dict[int, float]

    @classmethod
    def take(cls, home: Home) -> Self:
        """Read the counters now."""
        times = psutil.cpu_times()
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        return cls(total, total - idle, {pid: _used(pid) for pid in _ours(home)})


def _ours(home: Home) -> set[int]:
    found = set()
    for pid in (psutil.Process().pid, *processes.running(home).values()):
        try:
            process = psutil.Process(pid)
            found |= {pid, *(child.pid for child in process.children(recursive=True))}
        except psutil.NoSuchProcess:
            continue
    return found


def _used(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    # A child that has ended is in its parent's `children_*`.
    return sum((times.user, times.system, times.children_user, times.children_system))


def cpu_contention(before: CpuReading, after: CpuReading) -> float:
    """Share of the machine, 0 to 1, that others took between two readings."""
    ours = sum(max(used - before.ours.get(pid, 0.0), 0.0) for pid, used in after.ours.items())
    spent = after.total - before.total
    return max(after.busy - before.busy - ours, 0.0) / spent if spent > 0 else 0.0
