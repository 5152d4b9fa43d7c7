"""One user's stored values from Feast's SQLite online store, without Feast (a test proves the values equal)."""

import sqlite3
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlsd.errors import UserError
from mlsd.problem import Problem
from mlsd.sections import MaxAge

_FLOAT, _DOUBLE = 6, 5  # fields of feast.types.Value
_INTEGERS = {3, 4, 7}
_KEY_VERSION_3 = struct.pack("<I", 1) + struct.pack("<I", 2)  # one join key, named by a string


def table_name(project: str, view: str) -> str:
    """Feast's table of a view; a project name knows no hyphens."""
    return f"{project.replace('-', '_')}_{view}"


def entity_key(join_key: str, value: int) -> bytes:
    """Feast's entity key, serialisation version 3, for one int64 join key."""
    name = join_key.encode()
    return _KEY_VERSION_3 + struct.pack("<I", len(name)) + name + struct.pack("<IIq", 4, 8, value)


def decode(value: bytes) -> float:
    """A protobuf `Value` that holds a number; NaN for an empty or null one.

    Raises:
        ValueError: it holds something else.
    """
    if not value:
        return float("nan")
    tag, body = value[0], value[1:]
    field, wire = tag >> 3, tag & 7
    if (field, wire, len(body)) == (_FLOAT, 5, 4):
        return float(struct.unpack("<f", body)[0])
    if (field, wire, len(body)) == (_DOUBLE, 1, 8):
        return float(struct.unpack("<d", body)[0])
    if field in _INTEGERS and wire == 0:
        whole = sum((byte & 0x7F) << (7 * k) for k, byte in enumerate(body))
        return float(whole - 2**64 if whole >= 2**63 else whole)
    if tag == 0x98:  # null_val, field 19
        return float("nan")
    raise ValueError(f"a stored value of Feast's field {field} is not a number")


@dataclass(frozen=True)
class UserRow:
    """`values` [U], NaN where nothing is stored; `written` when each view's row was true."""

    values: NDArray[np.float32]
    written: dict[str, datetime]


class UserReader:
    """A read-only connection to the online store; one per thread."""

    def __init__(
        self, path: Path, project: str, views: Mapping[str, tuple[str, ...]], *, timeout_s: float = 0.05
    ) -> None:
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
        self._connection = sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, timeout=timeout_s, check_same_thread=False
        )
        self._timeout_s, self._until = timeout_s, 0.0
        self._connection.set_progress_handler(lambda: int(time.monotonic() > self._until), 1000)
        names = [name for columns in views.values() for name in columns]
        self._position = {name: k for k, name in enumerate(names)}
        self._views = tuple(views)
        # One row per view: SQLite's module lets go of the interpreter lock at every row it fetches, and while requests
        # are scored each of 70 rows would wait for its turn again (150 requests/s: features p50 104 ms, not 2).
        self._query = " UNION ALL ".join(
            f"SELECT '{view}', group_concat(feature_name), group_concat(hex(value)), min(event_ts) "  # noqa: S608
            f'FROM "{table_name(project, view)}" WHERE entity_key = ?'
            for view in views
        )

    def read(self, user_id: int) -> UserRow | None:
        """Stored values of a user; None if no view knows it.

        Raises:
            sqlite3.OperationalError: the store is locked, damaged or too slow.
        """
        self._until = time.monotonic() + self._timeout_s
        values = np.full(len(self._position), np.nan, dtype=np.float32)
        written: dict[str, float] = {}
        key = entity_key("user_id", user_id)
        for view, names, stored, at in self._connection.execute(self._query, (key,) * len(self._views)).fetchall():
            for name, value in zip(names.split(","), stored.split(","), strict=True) if names else ():
                position = self._position.get(name)
                if position is not None:
                    values[position] = decode(bytes.fromhex(value))
                    written[view] = at
        # Feast stores naive UTC as if it were local time, so it is read back the same way.
        moments = {view: datetime.fromtimestamp(at).replace(tzinfo=UTC) for view, at in written.items()}
        return UserRow(values, moments) if written else None


def fill(
    row: UserRow | None, problem: Problem, max_age_h: MaxAge, now: datetime
) -> tuple[NDArray[np.float32], list[str]]:
    """Values [U] fit for the model and what was wrong with the stored ones.

    A view that is older than its max_age_h is not trusted, present or not: its columns get their defaults, reason
    `stale_<view>`. A view that was never written gets them silently (a new user has no session yet).
    """
    if row is None:
        return problem.user_defaults.copy(), ["unknown_user"]
    values, reasons, start = row.values.copy(), [], 0
    for view, columns in problem.user_views.items():
        part = slice(start, start + len(columns))
        start += len(columns)
        at = row.written.get(view)
        if at is not None and now - at > timedelta(hours=getattr(max_age_h, view)):
            values[part] = np.nan
            reasons.append(f"stale_{view}")
    return np.where(np.isnan(values), problem.user_defaults, values), reasons
