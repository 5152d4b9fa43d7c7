"""Load that runs while something is done to the stack, and what the users saw of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.loadtest import sender
from mlsd.loadtest.sender import Pattern
from mlsd.loadtest.summary import Latencies, LoadSummary

WARMUP_S = 1.0
SETTLED_S = 1.0
LONGEST_S = 3600.0


@dataclass
class Drill:
    """Load that runs, and the stretches of it in which something was done, wall-clock seconds."""

    design: Design
    home: Home
    rps: float
    stretches: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start the load."""
        self._load = sender.start(
            self.design, self.home, seconds=LONGEST_S, rps=self.rps, pattern=Pattern(warmup_s=WARMUP_S, retry=True)
        )
        self._load.wait_begun()
        self._began = time.time()

    def steady(self, seconds: float) -> None:
        """Let the load run undisturbed."""
        time.sleep(seconds)
        if not self._load.runs():
            self._load.finish()
            raise UserError("load: ended before its time; see logs/load.log")

    def do(self, action: Callable[[], None]) -> None:
        """Do something to the stack and note when."""
        began = time.time()
        action()
        self.stretches.append((began, time.time()))

    def sent(self) -> int:
        """Requests that are due by now, roughly."""
        return int((time.time() - self._began - WARMUP_S) * self.rps)

    def end(self) -> LoadSummary:
        """Stop the load."""
        return self._load.finish()


@dataclass(frozen=True)
class DrillOutcome:
    """What the users of a drill saw, undisturbed and meanwhile."""

    sent: LoadSummary
    steady: Latencies
    meanwhile: Latencies


def seen(sent: LoadSummary, stretches: Sequence[tuple[float, float]]) -> DrillOutcome:
    """Split a run by the seconds that touch a stretch, or the second after it."""

    def touched(second: int) -> bool:
        start = sent.started_at + WARMUP_S + second
        return any(start < end + SETTLED_S and start + 1 > begin for begin, end in stretches)

    rows = sent.timeline
    return DrillOutcome(
        sent,
        Latencies.merged(row.latencies for row in rows if not touched(row.t)),
        Latencies.merged(row.latencies for row in rows if touched(row.t)),
    )
