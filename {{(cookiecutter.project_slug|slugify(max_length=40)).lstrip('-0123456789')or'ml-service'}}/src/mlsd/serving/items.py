"""Item features in the process: the newest complete snapshot, swapped in one assignment when a newer one appears."""

import logging
import threading

import numpy as np
from numpy.typing import NDArray

from mlsd import clock
from mlsd.errors import UserError
from mlsd.features.snapshot import Snapshot, current
from mlsd.home import Home
from mlsd.problem import Problem

LOGGER = logging.getLogger("mlsd.items")
POLL_S = 1.0


def item_rows(snapshot: Snapshot, ids: NDArray[np.int64], problem: Problem) -> tuple[NDArray[np.float32], bool]:
    """Item values [n, I] from ids [n], unknown items by their defaults, and whether all were known."""
    rows, known = snapshot.rows(ids)
    if known.all():
        return rows, True
    return np.where(known[:, None], rows, problem.item_defaults).astype(np.float32), False


class ItemStore:
    """The snapshot in use, and the thread that looks for the next one."""

    def __init__(self, home: Home, problem: Problem) -> None:
        """Load the current snapshot.

        Raises:
            UserError: there is none, or its columns are not the problem's.
        """
        self._home, self._problem = home, problem
        self.snapshot = self._load()
        threading.Thread(target=self._watch, name="snapshots", daemon=True).start()

    def _load(self) -> Snapshot:
        snapshot = current(self._home)
        if tuple(snapshot.names) != tuple(self._problem.item_columns):
            raise UserError(f"snapshot {snapshot.version}: its columns are not the problem's item columns")
        return snapshot

    def _watch(self) -> None:
        pause = threading.Event()
        pointer, refused, said = self._home.snapshots / "current", "", ""
        while not pause.wait(POLL_S):
            clock.reread()  # a synthetic world may have jumped to the time when its labels are mature
            try:
                version = pointer.read_text(encoding="utf-8").strip()
                if version not in {self.snapshot.version, refused}:
                    refused = version
                    self.snapshot = self._load()
                    LOGGER.info("snapshot %s in use", version)
            except (OSError, UserError, ValueError) as error:
                if said != str(error):
                    LOGGER.error("snapshot %s stays in use: %s", self.snapshot.version, error)
                said = str(error)
