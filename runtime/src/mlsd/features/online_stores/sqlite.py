"""Feast's SQLite store, read without Feast."""

import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.online_stores.base import AHEAD, UserRow, Views
from mlsd.features.values import decode_hex, entity_key

_LATE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT}
WRITE_WAIT_S = 10.0
LOOK_S = 1.0  # between two looks at whether the file is still the same


def table_name(project: str, view: str) -> str:
    """Feast's table of a view; a project name knows no hyphens."""
    return f"{project.replace('-', '_')}_{view}"


class UserReader:
    """A read-only connection to the SQLite store; one per thread."""

    def __init__(self, path: Path, project: str, views: Views, *, timeout_s: float = 0.05) -> None:
        """Connect.

        Args:
            path: the SQLite file.
            project: Feast's project, or the design's name.
            views: view name to its columns; their concatenation is the order of `UserRow.values`.
            timeout_s: the longest that one read may take, waiting for a lock included.

        Raises:
            UserError: there is no such file.
        """
        if not path.exists():
            raise UserError(f"{path}: not found; run `mlsd features` first")
        self._path, self._timeout_s, self._until = path, timeout_s, 0.0
        self._connect()
        names = [name for columns in views.values() for name in columns]
        self._position = {name: k for k, name in enumerate(names)}
        self._views = tuple(views)
        self._known: dict[str, NDArray[np.intp]] = {}
        # All views in one row: SQLite's module lets go of the interpreter lock at every row it fetches, and while
        # requests are scored each of 70 rows would wait for its turn again (150 requests/s: p50 104 ms, not 2).
        parts = ", ".join(
            "(SELECT group_concat(feature_name), group_concat(hex(value), ' '), min(event_ts) "  # noqa: S608
            f'FROM "{table_name(project, view)}" WHERE entity_key = ?)'
            for view in views
        )
        self._query = f"SELECT * FROM {parts}"  # noqa: S608

    def _connect(self) -> None:
        self._file, self._looked = self._path.stat().st_ino, time.monotonic()
        self._connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=ro", uri=True, timeout=self._timeout_s, check_same_thread=False
        )
        self._connection.set_progress_handler(lambda: int(time.monotonic() > self._until), 1000)

    def _follow(self) -> None:
        """A damaged store is made anew beside the old file, which would answer for ever with what it held."""
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        with suppress(FileNotFoundError):
            if self._path.stat().st_ino != self._file:
                self._connection.close()
                self._connect()

    def read(self, user_id: int) -> UserRow | None:
        """Stored values of a user; None if no view knows it.

        Raises:
            TimeoutError: the store is locked or too slow.
            sqlite3.Error: it is damaged, or has no such tables.
            ValueError: a stored value is not a number.
        """
        self._follow()
        row = self._fetch(entity_key("user_id", user_id))
        values = np.full(len(self._position), np.nan, dtype=np.float32)
        written: dict[str, datetime] = {}
        for k, view in enumerate(self._views):
            names, stored, at = row[3 * k : 3 * k + 3]
            if names is None:
                continue
            places = self._places(names)
            found = places >= 0
            if found.any():
                values[places[found]] = decode_hex(stored, len(places))[found]
                # Feast stores naive UTC as if it were local time, so it is read back the same way.
                written[view] = datetime.fromtimestamp(at).replace(tzinfo=UTC)
        return UserRow(values, written) if written else None

    def _fetch(self, key: bytes) -> tuple[Any, ...]:
        self._until = time.monotonic() + self._timeout_s
        try:
            row: tuple[Any, ...] = self._connection.execute(self._query, (key,) * len(self._views)).fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode in _LATE:
                raise TimeoutError(str(error)) from None
            raise
        return row

    def _places(self, names: str) -> NDArray[np.intp]:
        """Where each of the comma-separated names goes, -1 for one nobody asked for; the same few lists each time."""
        places = self._known.get(names)
        if places is None:
            places = np.array([self._position.get(name, -1) for name in names.split(",")], dtype=np.intp)
            if len(self._known) < 64:
                self._known[names] = places
        return places


class SqliteOnlineStore:
    """The state folder's own store: no server to install, one machine."""

    def __init__(self, design: Design, home: Home) -> None:
        """`design` names the tables, `home` is where the file lies."""
        self._path, self._project = home.online_store, design.name

    def feast(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Feast's own SQLite store; nothing of it is secret."""
        settings = {"type": "sqlite", "path": str(self._path)}
        return settings, settings

    def reader(self, views: Views, *, timeout_s: float) -> UserReader:
        """A read-only connection.

        Raises:
            UserError: there is no file yet.
        """
        return UserReader(self._path, self._project, views, timeout_s=timeout_s)

    def awaited(self, _: Views) -> None:
        """A file is read by blocking."""

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """Name the file that another process holds, or that cannot be written.

        Raises:
            UserError: it is locked, or its disk is full.
        """
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UserError(f"{self._path}: {error}; try again when no other run writes it") from None

    def prepare(self) -> None:
        """Let servers read while a batch writes."""
        with closing(sqlite3.connect(self._path, timeout=WRITE_WAIT_S)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")

    def discard(self) -> None:
        """Everything in the file is derived; servers follow to the new one."""
        for path in self._path.parent.glob(f"{self._path.name}*"):
            path.unlink(missing_ok=True)

    def keep_newest(self, view: str, join_key: str, newest: Mapping[int, datetime], now: datetime) -> int:
        """Feast lets an older row overwrite a newer one (a batch, what was just pushed): a trigger does not."""
        table = table_name(self._project, view)
        # Feast stores naive UTC as if it were local time.
        latest = (now + AHEAD).astimezone(UTC).replace(tzinfo=None).timestamp()
        forget = f'DELETE FROM "{table}" WHERE entity_key = ? AND event_ts > ?'  # noqa: S608
        with closing(sqlite3.connect(self._path, timeout=WRITE_WAIT_S)) as connection, connection:
            connection.execute(
                f'CREATE TRIGGER IF NOT EXISTS "keep_newest_{table}" BEFORE UPDATE ON "{table}" '
                "WHEN NEW.event_ts < OLD.event_ts BEGIN SELECT RAISE(IGNORE); END"
            )
            return sum(connection.execute(forget, (entity_key(join_key, key), latest)).rowcount > 0 for key in newest)
