"""One request between its arrival and its answer, and who may still answer it."""

import asyncio
import threading
from dataclasses import dataclass, field
from enum import Enum

from mlsd.serving.http.connection_limiter import HttpCall
from mlsd.serving.inference.ranker import Read
from mlsd.tasks.ranking.ranking import Progress, Ranking
from mlsd.tasks.ranking.request import RankRequest


class State(Enum):
    """Whose it is."""

    QUEUED = "queued"
    RUNNING = "running"  # in a ranking thread
    RANKED = "ranked"
    CUT_OFF = "cut off"  # answered without the thread


_LOCK = threading.Lock()  # one for all: it is held for a comparison


@dataclass(slots=True)
class InFlightRequest:
    """A request on its way."""

    call: HttpCall
    request_id: str
    role: str
    progress: Progress
    request: RankRequest | None = None
    keep: int | None = None
    read: Read | None = None
    state: State = State.QUEUED
    ranking: Ranking | None = None
    items: bytes = b""
    error: Exception | None = None
    took_s: float | None = None  # of a thread's time
    timer: asyncio.TimerHandle | None = field(default=None)

    def turn(self, before: State, after: State) -> bool:
        """Change the state; False if somebody else was faster."""
        with _LOCK:
            if self.state is not before:
                return False
            self.state = after
            return True
