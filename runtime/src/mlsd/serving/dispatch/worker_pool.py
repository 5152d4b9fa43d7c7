"""The threads that rank: few, fed in order of arrival, replaced when one hangs, never more than a bound."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

from mlsd.core import cpu

LOGGER = logging.getLogger("mlsd.lanes")
MAX_STUCK = 8

Work = Callable[[], bool]


def share_of_cores(workers: int) -> int:
    """Cores for each of so many processes, at least one."""
    return max(cpu.usable() // workers, 1)


class WorkerPool:
    """Runs work in `threads` threads. All methods but the threads' own are for one thread, the event loop's."""

    def __init__(self, threads: int) -> None:
        """Start them."""
        self.threads = threads
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._stuck = 0
        for _ in range(threads):
            self._start()

    def _start(self) -> None:
        threading.Thread(target=self._run, name="ranking", daemon=True).start()

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            if not work() and not self._keeps():
                return

    def _keeps(self) -> bool:
        """Back from work that was given up: whether this thread goes on, or its replacement does."""
        with self._lock:
            self._stuck -= 1
            return self._stuck >= MAX_STUCK

    def submit(self, work: Work) -> None:
        """Queue work; it returns False when it was given up while it ran, and must not raise."""
        self._queue.put(work)

    def abandon(self) -> None:
        """Count one thread as stuck in its work and put another in its place, up to the bound."""
        with self._lock:
            self._stuck += 1
            replace = self._stuck <= MAX_STUCK
        if replace:
            self._start()
        else:
            LOGGER.error("%d ranking threads hang; no more are started", self._stuck)

    @property
    def exhausted(self) -> bool:
        """Whether no thread is left that could take work."""
        return self._stuck >= MAX_STUCK + self.threads
