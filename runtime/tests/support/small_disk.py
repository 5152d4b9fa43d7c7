"""A disk of a few MiB for one folder of one process, full on demand; where nothing may be mounted, a limit instead."""

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psutil

SIZE_MIB = 48
FILE_SIZE = resource.RLIMIT_FSIZE
_MOUNT = f'mount -t tmpfs -o size={SIZE_MIB}m tmpfs "$0" && exec "$@"'


@cache
def may_mount() -> bool:
    """Whether this user may have mounts of its own."""
    tried = subprocess.run(
        ["unshare", "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    return tried.returncode == 0


def under(folder: Path) -> list[str]:
    """A command that mounts a small disk on the folder, for itself and what it becomes."""
    folder.mkdir(parents=True, exist_ok=True)
    return ["unshare", "-Urm", "sh", "-c", _MOUNT, str(folder)] if may_mount() else []


def seen_by(process: psutil.Process, folder: Path) -> Path:
    """The folder as that process sees it."""
    return Path(f"/proc/{process.pid}/root{folder}")


@contextmanager
def full(process: psutil.Process, folder: Path) -> Iterator[str]:
    """Not a byte more fits into the folder; yields what the writer is told: ENOSPC or EFBIG."""
    if may_mount():
        filler = seen_by(process, folder) / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        try:
            yield "ENOSPC"
        finally:
            filler.unlink()
        return
    held = {worker.pid: resource.prlimit(worker.pid, FILE_SIZE) for worker in process.children(recursive=True)}
    try:
        for pid, (_, hard) in held.items():
            own = [path.stat().st_size for path in folder.glob(f"*-{pid}-*.log")]
            resource.prlimit(pid, FILE_SIZE, (max(own, default=0), hard))
        yield "EFBIG"
    finally:
        for pid, limits in held.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, FILE_SIZE, limits)
