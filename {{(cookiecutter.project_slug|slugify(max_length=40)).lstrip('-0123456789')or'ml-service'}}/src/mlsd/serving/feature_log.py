"""The log of predictions: written by a thread off the request path, read back past whatever a crash has torn."""

import contextlib
import logging
import os
import struct
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlsd.serving.record import Record, decode, encode, header_of, time_of

LOGGER = logging.getLogger("mlsd.feature_log")
MAGIC = b"\xf5MLR"
FRAME = struct.Struct("<4sII")  # magic, length of the payload, its crc32
LARGEST = 16 * 2**20
ROTATE_BYTES = 64 * 2**20
DAY_S = 86_400
PAUSE_S = 0.02  # between two rounds of writing: a thread woken by each record would take its turn from the answer


def frame(payload: bytes) -> bytes:
    """A payload that a reader can tell from a torn one."""
    return FRAME.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


class FeatureLog:
    """Appends records to `folder/<slot>-<pid>-<started>.log`; serving never waits for it and never fails with it."""

    def __init__(
        self, folder: Path, slot: str, size: int, retention_days: int, dropped: Callable[[int], None] = lambda _: None
    ) -> None:
        """Start the writer.

        Args:
            folder: where the files lie.
            slot: the serving process's slot, the first part of a file's name.
            size: records that may wait; more are dropped.
            retention_days: files not written to for longer are deleted.
            dropped: is told how many records were lost.
        """
        self._folder, self._slot, self._dropped = folder, slot, dropped
        self._retention_s = retention_days * DAY_S
        self._size = size
        self._waiting: deque[Record] = deque()
        self._closing = threading.Event()
        self._file = -1
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="feature-log", daemon=True)
        self._thread.start()

    def append(self, record: Record) -> None:
        """Hand over one record; when the writer is behind by the whole queue, drop it."""
        if len(self._waiting) < self._size:
            self._waiting.append(record)
        else:
            self._dropped(1)

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, for at most `timeout_s`."""
        self._closing.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._closing.wait(PAUSE_S):
            self._drain()
        self._drain()
        if self._file >= 0:
            os.close(self._file)

    def _drain(self) -> None:
        while self._waiting:
            try:
                self._write(frame(encode(self._waiting.popleft())))
            except OSError as error:
                self._dropped(1)
                self._complain(error)
            else:
                self._failing = False

    def _complain(self, error: OSError) -> None:
        """One line when writing begins to fail, not one per record."""
        if not self._failing:
            LOGGER.error("feature log: %s; predictions go on, their records are dropped", error)
        self._failing = True

    def _write(self, data: bytes) -> None:
        if self._file < 0 or os.fstat(self._file).st_size > ROTATE_BYTES:
            self._open()
        start = os.fstat(self._file).st_size
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            if written:  # a disk that filled up half-way: leave no torn record in the middle
                os.ftruncate(self._file, start)
            raise

    def _open(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.glob("*.log"):
            if time.time() - old.stat().st_mtime > self._retention_s:
                old.unlink(missing_ok=True)
        path = self._folder / f"{self._slot}-{os.getpid()}-{time.time_ns()}.log"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)


@dataclass
class ReadCount:
    """What a read found: whole records given out, places where one was torn."""

    records: int = 0
    torn: int = 0


def _payloads(data: bytes, count: ReadCount) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        if at + FRAME.size <= len(data):
            magic, length, crc = FRAME.unpack_from(data, at)
            end = at + FRAME.size + length
            payload = data[at + FRAME.size : end]
            if magic == MAGIC and length <= LARGEST and end <= len(data) and zlib.crc32(payload) == crc:
                yield payload
                at = end
                continue
        count.torn += 1
        at = data.find(MAGIC, at + 1)
        if at < 0:
            return


def _started(path: Path) -> int:
    last = path.stem.rpartition("-")[2]
    return int(last) if last.isdigit() else 0


def read_records(folder: Path, after: datetime | None = None, count: ReadCount | None = None) -> Iterator[Record]:
    """Every whole record later than `after`, file by file in the order they were started; torn ones are counted.

    Args:
        folder: the log's folder; an absent one is an empty log.
        after: only records with `at` later than this, aware.
        count: is filled while the iterator runs.
    """
    count = count or ReadCount()
    for path in sorted(folder.glob("*.log"), key=_started):
        with contextlib.suppress(FileNotFoundError):  # retention may take a file away meanwhile
            for payload in _payloads(path.read_bytes(), count):
                if after is None or time_of(header_of(payload)[0]) > after:
                    count.records += 1
                    yield decode(payload)
