"""Item features in the process: the newest complete snapshot, swapped in one assignment when a newer one appears."""

import logging
import math
import time

import numpy as np
from numpy.typing import NDArray

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.polling import Backoff, poll
from mlsd.design.design import Design
from mlsd.features.snapshot import Snapshot, current_version, size
from mlsd.problem.problem import Problem

LOGGER = logging.getLogger("mlsd.items")
POLL_S = 1.0
MIB = 2**20


def item_rows(snapshot: Snapshot, ids: NDArray[np.int64], problem: Problem) -> tuple[NDArray[np.float32], bool]:
    """Item values [n, I] from ids [n], unknown items by their defaults, and whether all were known."""
    rows, known = snapshot.rows(ids)
    if known.all():
        return rows, True
    return np.where(known[:, None], rows, problem.item_defaults).astype(np.float32), False


def max_bytes(design: Design) -> float:
    """How large a snapshot may be: with two of them in each worker, while one is swapped in, half a replica is left."""
    return design.capacity.replica_memory_mib * MIB / 2 / (2 * design.serving.workers)


class ItemStore:
    """The snapshot in use, swapped when a newer one can be had."""

    def __init__(self, home: Home, problem: Problem, max_bytes: float = math.inf) -> None:
        """Load the current snapshot.

        Args:
            home: the state folder.
            problem: whose item columns they are.
            max_bytes: a larger snapshot is refused; while one replaces another there are two.

        Raises:
            UserError: there is none, it is too large or damaged, or its columns are not the problem's.
        """
        self._home, self._problem, self._max_bytes = home, problem, max_bytes
        self._refused = Backoff()
        self.snapshot = self._load()
        poll(self._look, POLL_S, LOGGER, self._stays)

    def _stays(self) -> str:
        return f"snapshot {self.snapshot.version} stays in use"

    def _load(self) -> Snapshot:
        started, folder = time.perf_counter(), self._home.snapshots / current_version(self._home)
        if (bytes_ := size(folder)) > self._max_bytes:
            found, most = bytes_ / MIB, self._max_bytes / MIB
            raise UserError(f"snapshot {folder.name}: found {found:.1f} MiB, expected at most {most:.1f}")
        snapshot = Snapshot.load(folder, in_memory=True).only(self._problem.item_columns)
        took, held = time.perf_counter() - started, snapshot.nbytes / MIB
        LOGGER.info(
            "snapshot %s: %s items, %.1f MiB, read in %.2f s", snapshot.version, f"{len(snapshot.ids):,}", held, took
        )
        return snapshot

    def _look(self) -> None:
        clock.reread()  # a synthetic world may have jumped to the time when its labels are mature
        version = current_version(self._home)
        if version == self.snapshot.version or self._refused.holds(version):
            return
        self._refused.add(version)
        self.snapshot = self._load()
