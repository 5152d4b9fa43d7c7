"""A release that starts beside the live one must not slow it: until it is ready it gets what the live one leaves.

`nice` cannot be taken back without root. The weight of a whole session can (autogroup, sched(7)). A model server is
several sessions: its supervisor leads one, and every worker that the supervisor starts leads another, as heavy as any.
So all of them are looked for while it starts. Where the kernel has no such weights (macOS, some containers) nothing
happens here.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

LOW, NORMAL = 5, 0  # weights 335 and 1024: the live release keeps three quarters of a core that both want
EVERY_S = 0.1
RETRIES, RETRY_S = 20, 0.05  # the kernel takes one such change in a tenth of a second from users other than root


def _weigh(pid: int, nice: int) -> None:
    for _ in range(RETRIES):
        try:
            Path(f"/proc/{pid}/autogroup").write_text(str(nice), encoding="ascii")
        except BlockingIOError:
            time.sleep(RETRY_S)
        except OSError:
            return
        else:
            return


def _leaders(pid: int) -> set[int]:
    """This process and its descendants, as far as they lead a session."""
    try:
        family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
        return {member for member in family if os.getsid(member) == member}
    except (psutil.NoSuchProcess, ProcessLookupError):
        return set()


def _lower_new(pid: int, lowered: set[int]) -> None:
    for leader in _leaders(pid) - lowered:
        _weigh(leader, LOW)
        lowered.add(leader)


@contextmanager
def lowered(pid: int) -> Iterator[None]:
    """The sessions of this process and of all that it starts meanwhile yield to others, for the time of the block."""
    found: set[int] = set()
    ready = threading.Event()

    def watch() -> None:
        while not ready.wait(EVERY_S):
            _lower_new(pid, found)

    _lower_new(pid, found)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ready.set()
        watcher.join()
        for leader in found:
            _weigh(leader, NORMAL)
