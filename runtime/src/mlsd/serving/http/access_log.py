"""One JSON line per answer, written by a thread a few times a second; bounded on disk and in memory."""

import logging
import os
import threading
import time
from collections import deque
from contextlib import suppress
from pathlib import Path

import orjson
import psutil

LOGGER = logging.getLogger("mlsd.access")
PAUSE_S = 0.25
MAX_WAITING = 10_000
ROTATE_BYTES = 16 * 2**20
KEPT = 8  # files of processes that are gone

Line = tuple[float, str, str, int, float, dict[str, float], list[str]]


def _written(line: Line) -> bytes:
    at, request_id, role, status, total_ms, hops_ms, degraded = line
    content: dict[str, object] = {
        "at": round(at, 3),
        "request_id": request_id,
        "role": role,
        "status": status,
        "ms": round(total_ms, 3),
    }
    content |= {f"{hop}_ms": round(value, 3) for hop, value in hops_ms.items()}
    if degraded:
        content["degraded"] = degraded
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


def forget_dead_processes(folder: Path, slot: str) -> None:
    """Delete the logs of workers that are gone, but for the newest few: why the last one ended may stand there."""
    gone = []
    for path in folder.glob(f"access-{slot}-*.jsonl*"):
        pid = path.name.removeprefix(f"access-{slot}-").partition(".")[0]
        with suppress(OSError):
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                gone.append((path.stat().st_mtime, path))
    for _, path in sorted(gone)[:-KEPT]:
        with suppress(OSError):  # another worker deletes as well, or it is not ours to delete: no reason not to start
            path.unlink()


class AccessLog:
    """Appends to one file, and begins it anew when it is full: the one before is kept as `.1`."""

    def __init__(self, path: Path) -> None:
        """Start the writer."""
        self._path = path
        self._waiting: deque[Line] = deque(maxlen=MAX_WAITING)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="access-log", daemon=True)
        self._thread.start()

    def append(
        self, request_id: str, role: str, status: int, total_ms: float, hops_ms: dict[str, float], degraded: list[str]
    ) -> None:
        """Hand over one answer; when the writer is behind, the oldest line is lost."""
        self._waiting.append((time.time(), request_id, role, status, total_ms, hops_ms, degraded))

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for at most `timeout_s`."""
        self._closing.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        said = ""
        while True:
            last = self._closing.wait(PAUSE_S)
            try:
                self._drain()
            except OSError as error:  # a full disk costs lines, nothing else
                if said != str(error):
                    LOGGER.error("access log: %s", error)
                said = str(error)
            if last:
                return

    def _drain(self) -> None:
        lines = [_written(self._waiting.popleft()) for _ in range(len(self._waiting))]
        if not lines:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size > ROTATE_BYTES:
            self._path.replace(self._path.with_suffix(f"{self._path.suffix}.1"))
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(file, b"".join(lines))
        finally:
            os.close(file)
