"""Files that other features, or another file, have taken the place of: followed, or refused by name."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.online_stores import sqlite
from mlsd.features.online_stores.sqlite import UserReader, table_name
from mlsd.features.snapshot import write
from mlsd.prediction_log.record import Record
from mlsd.problem.problem import Problem
from mlsd.serving.inference.replay import replay
from support.log_records import made

AT = datetime(2026, 3, 4, tzinfo=UTC)


def record(home: Home, problem: Problem, *, wider: int = 0, items: tuple[str, ...] | None = None) -> Record:
    """An answer of popular items over a snapshot; some columns too many or under other names."""
    names = items or tuple(problem.item_columns)
    version = write(home, np.arange(500), np.ones((500, len(names)), np.float32), names, AT)
    row, ids = np.ones(len(problem.user_columns) + wider, np.float32), np.arange(20)
    return replace(made(), snapshot_version=version, user_row=row, item_ids=ids, engine="popularity")


def test_a_record_of_other_features_is_not_replayed(home: Home, problem: Problem) -> None:
    """5.32: a column was added or moved since: said, not computed from the wrong ones."""
    assert len(replay(home, problem, record(home, problem))) == 20
    with pytest.raises(UserError, match="request-0: user row: its columns are not this project's"):
        replay(home, problem, record(home, problem, wider=1))
    moved = tuple(reversed(problem.item_columns))
    with pytest.raises(UserError, match=r"snapshot [0-9a-f]+: its columns are not this project's"):
        replay(home, problem, record(home, problem, items=moved))


def test_a_store_that_was_made_anew_is_read_from_then_on(
    featured_home: Home, small_design: Design, problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mlsd features` replaces a damaged store; a server that has the old file open would read it for ever."""
    monkeypatch.setattr(sqlite, "LOOK_S", 0.0)
    store = tmp_path / "online.db"
    shutil.copy(featured_home.online_store, store)
    reader = UserReader(store, small_design.name, problem.user_views, timeout_s=5)
    user = next(user for user in range(1, 300) if reader.read(user) is not None)
    shutil.copy(featured_home.online_store, tmp_path / "new.db")
    with closing(sqlite3.connect(tmp_path / "new.db")) as connection, connection:
        for view in problem.user_views:
            connection.execute(f'DELETE FROM "{table_name(small_design.name, view)}"')
    (tmp_path / "new.db").replace(store)
    assert reader.read(user) is None
    store.unlink()
    assert reader.read(user) is None  # being made anew right now
