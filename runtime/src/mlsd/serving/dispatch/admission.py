"""Who is let in: judged by how long a request would wait for its turn, not by how many wait."""

from enum import Enum

from mlsd.design.online_sections import Admission as Settings

SMOOTHING = 0.05  # of the running mean of the time that one request holds a thread: about the last 20 count
FIRST_GUESS_S = 0.002


class AdmissionDecision(Enum):
    """What a request gets."""

    FULL = "full"
    PRUNED = "pruned"  # or a cached answer
    SHED = "shed"


class Admission:
    """The queue in front of the ranking threads, as time."""

    def __init__(self, settings: Settings, threads: int) -> None:
        """No request waits yet."""
        self._prune_s, self._max_s = settings.prune_queue_ms / 1e3, settings.max_queue_ms / 1e3
        self._threads = threads
        self._held_s = FIRST_GUESS_S
        self.inside = 0

    @property
    def max_s(self) -> float:
        """The longest that a request may wait for its turn."""
        return self._max_s

    def wait_s(self) -> float:
        """How long a request that came now would wait for a thread."""
        ahead = self.inside - self._threads + 1
        return max(ahead, 0) * self._held_s / self._threads

    def verdict(self, wait_s: float) -> AdmissionDecision:
        """For a request that will have waited so long."""
        if wait_s > self._max_s:
            return AdmissionDecision.SHED
        return AdmissionDecision.PRUNED if wait_s > self._prune_s else AdmissionDecision.FULL

    def enter(self) -> None:
        """A request is queued."""
        self.inside += 1

    def leave(self, held_s: float | None) -> None:
        """It is answered, after it held a thread for `held_s`; None when that is not known."""
        self.inside -= 1
        if held_s is not None:
            self._held_s += SMOOTHING * (held_s - self._held_s)
