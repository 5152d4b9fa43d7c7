"""A circuit breaker: after some failures in a row the store is left alone, then single requests try it again."""

import threading
import time
from collections.abc import Callable


class Breaker:
    """Closed: all may pass. Open: one request each `open_s`, until one succeeds. Threads may share it.

    A request that tries needs not report back: the next one tries `open_s` later all the same.
    """

    def __init__(
        self,
        failures: int,
        open_s: float,
        told: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`told` hears of every change: True when it opens."""
        self._most, self._open_s, self._told, self._clock = failures, open_s, told, clock
        self._failures = 0
        self._next_try: float | None = None
        self._lock = threading.Lock()

    @property
    def open(self) -> bool:
        """Whether requests are turned away, but for those that try."""
        return self._next_try is not None

    def enter(self) -> bool:
        """Whether this request may pass."""
        if self._next_try is None:
            return True
        with self._lock:
            now = self._clock()
            if self._next_try is not None:
                if now < self._next_try:
                    return False
                self._next_try = now + self._open_s
        return True

    def succeeded(self) -> None:
        """A request that passed was answered."""
        self._failures = 0
        if self._next_try is not None:
            with self._lock:
                closes, self._next_try = self._next_try is not None, None
            if closes:
                self._told(False)

    def failed(self) -> None:
        """A request that passed was not answered, or too late."""
        with self._lock:
            self._failures += 1
            if self._failures < self._most:
                return
            opens = self._next_try is None
            self._next_try = self._clock() + self._open_s
        if opens:
            self._told(True)
