"""Every user's newest stored values, in chunks, from the offline store: what the online store was materialised from."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.features.online_stores.base import UserRow
from mlsd.features.repository.definitions import offline_folder
from mlsd.problem.problem import Problem

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
CHUNK = 2048


@dataclass(frozen=True)
class Users:
    """A chunk of users: ids [k] ascending, values [k, U] with NaN where nothing is stored, and when each was true."""

    ids: NDArray[np.int64]
    values: NDArray[np.float32]
    written_us: dict[str, NDArray[np.int64]]  # per view [k], microseconds since 1970; -1 where the view has no row

    def row(self, k: int) -> UserRow:
        """One user as the online store would give it."""
        moments = {view: int(at[k]) for view, at in self.written_us.items() if at[k] >= 0}
        return UserRow(self.values[k], {view: EPOCH + at * MICROSECOND for view, at in moments.items()})


def _newest(path: Path, view: str, columns: tuple[str, ...], until_us: int) -> str:
    """One row per user: the newest up to a time. Only numbers of rows are sorted and grouped, not the rows."""
    if not path.is_file():
        raise UserError(f"{path}: not found; run `mlsd features` first")
    source = f"read_parquet('{str(path).replace(chr(39), chr(39) * 2)}', file_row_number = true)"
    names = ", ".join(f'"{name}"' for name in columns)
    return (
        f'SELECT user_id, epoch_us(event_timestamp) AS "at {view}", {names} FROM {source} '  # noqa: S608
        f"SEMI JOIN (SELECT arg_max(file_row_number, event_timestamp) AS file_row_number FROM {source} "
        f"WHERE epoch_us(event_timestamp) <= {until_us} GROUP BY user_id) USING (file_row_number)"
    )


def _query(home: Home, problem: Problem, now: datetime) -> str:
    until_us = (now - EPOCH) // MICROSECOND
    parts = [
        f"({_newest(offline_folder(home) / f'{view}.parquet', view, columns, until_us)})"
        for view, columns in problem.user_views.items()
    ]
    joined = parts[0] + "".join(f" FULL JOIN {part} USING (user_id)" for part in parts[1:])
    return f"SELECT * FROM {joined} ORDER BY user_id"  # noqa: S608


def newest(home: Home, problem: Problem, now: datetime, *, threads: int, memory_mib: int) -> Iterator[Users]:
    """Users in the order of their ids.

    Args:
        home: the state folder.
        problem: its user views.
        now: later rows are not seen.
        threads: of the query.
        memory_mib: of the query; beyond it it works on disk.

    Raises:
        UserError: the offline store is missing.
    """
    query = _query(home, problem, now)
    spill = home.batch / ".spill"
    spill.mkdir(parents=True, exist_ok=True)
    settings: dict[str, str | bool | int | float | list[str]] = {
        "threads": threads,
        "memory_limit": f"{memory_mib}MiB",
        "temp_directory": str(spill),
    }
    with duckdb.connect(config=settings) as connection:
        for batch in connection.sql(query).to_arrow_reader(CHUNK):
            columns = {name: batch.column(k) for k, name in enumerate(batch.schema.names)}
            values = [
                columns[name].to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
                for name in problem.user_columns
            ]
            written = {
                view: columns[f"at {view}"].fill_null(-1).to_numpy(zero_copy_only=False) for view in problem.user_views
            }
            yield Users(columns["user_id"].to_numpy(), np.column_stack(values), written)
