"""What an online store provides: a user's stored values to read, and the newest rows kept while Feast writes."""

import asyncio
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mlsd.core.home import Home
from mlsd.design import components
from mlsd.design.design import Design

AHEAD = timedelta(minutes=5)
"""Clocks of two machines may differ by so much; a row further ahead is from a clock that is wrong."""
Views = Mapping[str, tuple[str, ...]]
"""View name to its columns; their concatenation is the order of `UserRow.values`."""


@dataclass(frozen=True)
class UserRow:
    """`values` [U], NaN where nothing is stored; `written` when each view's row was true."""

    values: NDArray[np.float32]
    written: dict[str, datetime]


class Reader(Protocol):
    """One connection to the online store, used by one thread at a time."""

    def read(self, user_id: int) -> UserRow | None:
        """Stored values of a user, None for one that no view knows."""


class Awaited(Protocol):
    """An online store that the event loop reads."""

    def begin(self, user_id: int) -> "asyncio.Future[UserRow | None] | None":
        """Start a read; None if too many are under way. Cancelling it frees what it holds."""


class OnlineStore(Protocol):
    """A registered store of one design and state folder. Making it checks its address and connects nothing."""

    def feast(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Section `online_store` of Feast's configuration: to be used, and for a file that everybody may read."""

    def reader(self, views: Views, *, timeout_s: float) -> Reader:
        """A connection that blocks its thread, at most so long for one read.

        Raises:
            UserError: there is no store yet.
        """

    def awaited(self, views: Views) -> Awaited | None:
        """The same for the event loop of a server; None if it can only be read by blocking."""

    def reachable(self) -> AbstractContextManager[None]:
        """Around what reads or writes, for programs that end when the store is not there.

        Raises:
            UserError: it is down, refuses, or is too slow.
        """

    def prepare(self) -> None:
        """Called once Feast has set the store up, before anything is written."""

    def discard(self) -> None:
        """Called when Feast cannot read the store: what is this store's alone and damaged goes, to be written anew."""

    def keep_newest(self, view: str, join_key: str, newest: Mapping[int, datetime], now: datetime) -> int:
        """Called before Feast writes rows: what is stored of them must not stand in the way of a newer one.

        Args:
            view: whose rows.
            join_key: name of its key.
            newest: key to the time of the row that will be written.
            now: stored rows of these keys that are later (by more than `AHEAD`) are to be forgotten.

        Returns:
            How many were forgotten.
        """


def online_store(design: Design, home: Home) -> OnlineStore:
    """The store that the design names.

    Raises:
        UserError: its address is missing, or is not one.
    """
    store: OnlineStore = components.load(components.ONLINE_STORES[design.features.online_store])(design, home)
    return store
