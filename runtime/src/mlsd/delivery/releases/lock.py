"""One release or rollback at a time: a file lock that the kernel frees when its holder dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mlsd.core.errors import UserError
from mlsd.core.home import Home


@contextmanager
def exclusive(home: Home, wait_s: float = 0.0) -> Iterator[None]:
    """Hold the lock.

    Raises:
        UserError: another command holds it for longer than `wait_s`.
    """
    home.run.mkdir(parents=True, exist_ok=True)
    handle = os.open(home.run / "release.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + wait_s
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise UserError("another release, rollback or start of the stack is at work; try again") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)
