"""The item snapshot holds what the online store holds, and readers never see half of one."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mlsd.data.tables import load_tables
from mlsd.design import Design
from mlsd.errors import UserError
from mlsd.features.snapshot import Snapshot, current, write
from mlsd.features.store import open_store
from mlsd.home import Home
from mlsd.problem import Problem

AT = datetime(2026, 3, 4, tzinfo=UTC)


def made(home: Home, scale: float = 1.0) -> str:
    ids = np.array([30, 10, 20])
    return write(home, ids, np.arange(6, dtype=np.float32).reshape(3, 2) * scale, ("a", "b"), AT)


def test_it_equals_the_online_store_for_every_item_and_column(
    featured_home: Home, small_design: Design, problem: Problem
) -> None:
    items = load_tables(featured_home).items["item_id"].to_numpy()
    references = [f"post:{name}" for name in problem.item_columns]
    store = open_store(small_design, featured_home)
    answer = store.get_online_features(references, [{"item_id": int(item)} for item in items]).to_dict()
    expected = np.array([answer[name] for name in problem.item_columns], dtype=np.float32).T
    snapshot = current(featured_home)
    rows, known = snapshot.rows(items)
    assert known.all()
    assert rows.tobytes() == np.ascontiguousarray(expected).tobytes()
    assert snapshot.names == problem.item_columns
    assert timedelta(0) <= snapshot.written_at - AT < timedelta(minutes=1)


def test_rows_come_in_the_order_asked_and_unknown_ids_are_flagged(home: Home) -> None:
    made(home)
    rows, known = current(home).rows(np.array([20, 99, 10, 5]))
    assert known.tolist() == [True, False, True, False]
    assert rows[[0, 2]].tolist() == [[4, 5], [2, 3]]


def test_the_version_follows_the_content(home: Home) -> None:
    first = made(home)
    assert made(home) == first
    second = made(home, 2.0)
    assert second != first
    assert current(home).version == second
    assert Snapshot.load(home.snapshots / first).columns[0, 1] == 3.0


def test_an_empty_snapshot_knows_nothing(home: Home) -> None:
    write(home, np.array([], dtype=np.int64), np.empty((0, 2), np.float32), ("a", "b"), AT)
    rows, known = current(home).rows(np.array([1, 2]))
    assert rows.shape == (2, 2)
    assert not known.any()


@pytest.mark.parametrize("missing", ["ids.npy", "columns.npy", "meta.json", "."])
def test_a_half_deleted_snapshot_says_what_to_run(home: Home, missing: str) -> None:
    folder: Path = home.snapshots / made(home)
    target = folder / missing
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(UserError, match="run `mlsd features`"):
        current(home)


def test_a_damaged_snapshot_is_refused(home: Home) -> None:
    folder = home.snapshots / made(home)
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"columns": ["a"]}))
    with pytest.raises(UserError, match="found columns of shape"):
        current(home)
    (folder / "ids.npy").write_bytes(b"torn")
    with pytest.raises(UserError, match="damaged snapshot"):
        current(home)


def test_without_a_snapshot_the_message_says_what_to_run(home: Home) -> None:
    with pytest.raises(UserError, match="run `mlsd features` first"):
        current(home)
