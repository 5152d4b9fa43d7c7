"""The log of predictions: encoded in a few microseconds, written by a thread, read back past what a crash has torn."""

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from mlsd.prediction_log.framing import ReadCount, frame, payloads
from mlsd.prediction_log.record import Record, decode, encode, header_of, time_of
from mlsd.prediction_log.segments import Segments, started

LOGGER = logging.getLogger("mlsd.feature_log")
PAUSE_S = 0.02  # between two rounds of writing: a thread woken by each record would take its turn from the answer
AT_ONCE = 512


class FeatureLog:
    """Appends records to files of its own; serving never waits for it and never fails with it.

    A record is encoded where it is made: that takes 8 microseconds, less than a second thread's fight for the
    interpreter lock would cost the answers. The thread only hands bytes to the system, a whole round in one call.
    """

    def __init__(
        self,
        folder: Path,
        slot: str,
        size: int,
        retention_days: int,
        dropped: Callable[[int], None] = lambda _: None,
        pseudonym: Callable[[int], str] | None = None,
    ) -> None:
        """Start the writer.

        Args:
            folder: where the files lie.
            slot: the serving process's slot, the first part of a file's name.
            size: records that may wait; more are dropped.
            retention_days: files not written to for longer are deleted.
            dropped: is told how many records were lost.
            pseudonym: what stands for a user id in the log; None writes the id itself.
        """
        self._size, self._dropped, self._pseudonym = size, dropped, pseudonym
        self._segments = Segments(folder, slot, retention_days)
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._lost, self._lock = 0, threading.Lock()
        self._closing = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="feature-log", daemon=True)
        self._thread.start()

    def append(self, record: Record) -> None:
        """Hand over one record; when the writer is behind by the whole queue, drop it."""
        if len(self._waiting) >= self._size:
            self._drop(1, 1)
            return
        user = record.user_id
        if self._pseudonym is not None and isinstance(user, int):
            user = self._pseudonym(user)
        with self._lock:
            lost, self._lost = self._lost, 0
        self._waiting.append((frame(encode(record, user, lost)), lost))

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, for at most `timeout_s`."""
        self._closing.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing.wait(PAUSE_S):
            self._drain()
        self._drain()
        self._segments.close()

    def _drain(self) -> None:
        while self._waiting:
            round_of = [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_ONCE))]
            whole, error = self._segments.write([each for each, _ in round_of])
            if error is None:
                self._failing = False
                continue
            torn_off = round_of[whole:]
            self._drop(len(torn_off), len(torn_off) + sum(lost for _, lost in torn_off))
            self._complain(error)

    def _drop(self, records: int, to_tell: int) -> None:
        """Count records as lost; the next one that is written says how many went before it."""
        with self._lock:
            self._lost += to_tell
        self._dropped(records)

    def _complain(self, error: OSError) -> None:
        """One line when writing begins to fail, not one per record."""
        if not self._failing:
            LOGGER.error("feature log: %s; predictions go on, their records are dropped", error)
        self._failing = True


def _payloads(folder: Path, count: ReadCount) -> Iterator[bytes]:
    for path in sorted(folder.glob("*.log"), key=started):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:  # retention may take it away meanwhile
            yield from payloads(file, count)


def read_records(folder: Path, after: datetime | None = None, count: ReadCount | None = None) -> Iterator[Record]:
    """Every whole record later than `after`, file by file in the order they were started; torn ones are counted.

    Memory holds one chunk of one file, however large the log is.

    Args:
        folder: the log's folder; an absent one is an empty log.
        after: only records with `at` later than this, aware.
        count: is filled while the iterator runs.
    """
    count = count or ReadCount()
    for payload in _payloads(folder, count):
        if after is None or time_of(header_of(payload)[0]) > after:
            count.records += 1
            yield decode(payload)
