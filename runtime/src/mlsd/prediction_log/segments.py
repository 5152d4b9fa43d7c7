"""The files of the feature log: appended to by one process, each whole up to its last frame, deleted when too old."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

ROTATE_BYTES = 64 * 2**20
DAY_S = 86_400
AT_ONCE = 512  # buffers in one call; Linux allows 1024


def delete_expired(folder: Path, retention_days: int) -> int:
    """Delete log files not written to for longer than that; returns how many."""
    deleted = 0
    for path in folder.glob("*.log"):
        try:
            if time.time() - path.lstat().st_mtime > retention_days * DAY_S:
                path.unlink()
                deleted += 1
        except OSError:
            continue  # another process deletes as well, or it is not ours to delete: the log goes on
    return deleted


def started(path: Path) -> int:
    """When a file was begun, nanoseconds since 1970, by its name; 0 for a stranger's."""
    last = path.stem.rpartition("-")[2]
    return int(last) if last.isdigit() else 0


class Segments:
    """Writes `folder/<slot>-<pid>-<started>.log`; a new one after 64 MiB or a day, so that retention can be exact."""

    def __init__(self, folder: Path, slot: str, retention_days: int) -> None:
        """Open nothing yet."""
        self._folder, self._slot, self._retention_days = folder, slot, retention_days
        self._file, self._opened = -1, 0.0

    def write(self, frames: Sequence[bytes]) -> tuple[int, OSError | None]:
        """Append frames; returns how many are whole on disk, and what kept the others from it."""
        whole = 0
        while whole < len(frames):
            group = frames[whole : whole + AT_ONCE]
            try:
                start = self._ready()
                written, error = self._append(group)
            except OSError as refused:
                return whole, refused
            if error is None:
                whole += len(group)
                continue
            kept, size = _fit(group, written)
            if size < written:
                self._cut(start + size)
            return whole + kept, error
        return whole, None

    def close(self) -> None:
        """Close the file; the next write opens a new one."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, group: Sequence[bytes]) -> tuple[int, OSError | None]:
        """One call for all: the interpreter lock is given back once."""
        written, total = 0, sum(map(len, group))
        try:
            written = os.writev(self._file, group)
            while written < total:
                written += os.write(self._file, b"".join(group)[written:])
        except OSError as error:
            return written, error
        return written, None

    def _cut(self, size: int) -> None:
        """A disk that filled up half-way leaves no torn record in the middle of a file."""
        try:
            os.ftruncate(self._file, size)
        except OSError:
            self.close()  # then the torn one stays the last of its file

    def _ready(self) -> int:
        """Make sure that a file is open that may grow; returns its size."""
        if self._file >= 0:
            state = os.fstat(self._file)
            if state.st_nlink and state.st_size <= ROTATE_BYTES and time.monotonic() - self._opened < DAY_S:
                return state.st_size
            self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        delete_expired(self._folder, self._retention_days)
        path = self._folder / f"{self._slot}-{os.getpid()}-{time.time_ns()}.log"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._opened = time.monotonic()
        return os.fstat(self._file).st_size


def _fit(group: Sequence[bytes], written: int) -> tuple[int, int]:
    """How many frames lie wholly within the first `written` bytes, and their size."""
    kept = size = 0
    for each in group:
        if size + len(each) > written:
            break
        kept, size = kept + 1, size + len(each)
    return kept, size
