"""How busy the other workers of this server are, so that none is left with most of the connections.

Workers listen on one socket, and the one that happens to be quick takes the next connection: 128 of them were seen to
fall 99 to 29. Clients and proxies keep connections for hours, so a worker that was started again would idle beside a
busy one. A worker that has more than its share therefore ends some, each with an answer that says so (RFC 9112, 9.6).
"""

import fcntl
import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path

LOGGER = logging.getLogger("mlsd.balancer")
TOLERANCE, MARGIN = 0.1, 1.0  # a share of the mean, and at least one connection, is not worth a new one
WIDTH = 8


def join(folder: Path) -> "ConnectionBalancer | None":
    """The workers who share `folder`; None, and a line in the log, when nothing can be written there."""
    try:
        return ConnectionBalancer(folder)
    except OSError as error:
        LOGGER.warning("connections are not shared out: %s", error)
        return None


class ConnectionBalancer:
    """The workers of one server, each with a file that it keeps locked while it lives."""

    def __init__(self, folder: Path) -> None:
        """Join those who share `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / str(os.getpid())
        hidden = folder / f".{os.getpid()}"
        self._own = os.open(hidden, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._own, fcntl.LOCK_EX)
        self._tell(0)
        hidden.replace(self._path)  # not seen before it is locked: what is not locked is taken for dead

    def _tell(self, active: int) -> None:
        os.pwrite(self._own, b"%*d" % (WIDTH, active), 0)

    def _others(self) -> Iterator[int]:
        for path in self._path.parent.glob("[0-9]*"):
            if path == self._path:
                continue
            try:
                found = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(found, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield int(os.pread(found, WIDTH, 0))
            else:
                path.unlink(missing_ok=True)  # its worker is gone
            finally:
                os.close(found)

    def surplus(self, active: int) -> int:
        """How many connections to end now, half of what is too much; the others are told of all `active` ones.

        0 when the others cannot be seen: an uneven share is better than a sweep of connections that breaks off.
        """
        try:
            self._tell(active)
            counts = [active, *self._others()]
        except (OSError, ValueError) as error:
            LOGGER.warning("connections are not shared out: %s", error)
            return 0
        mean = sum(counts) / len(counts)
        over = active - mean
        return math.ceil(over / 2) if over > max(MARGIN, TOLERANCE * mean) else 0
