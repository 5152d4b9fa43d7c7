"""The item snapshot holds what the online store holds, and readers never see half of one."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlsd.core import arrays, polling
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.data.storage import load_tables
from mlsd.design.design import Design
from mlsd.features import items as module
from mlsd.features.items import ItemStore, max_bytes
from mlsd.features.repository.store import open_store
from mlsd.features.snapshot import Snapshot, current, write
from mlsd.problem.problem import Problem
from support.waiting import within

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


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("more", [[], [10**9], [-7]], ids=["dense", "sparse", "negative"])
def test_rows_come_in_the_order_asked_and_unknown_ids_are_flagged(home: Home, more: list[int], in_memory: bool) -> None:
    ids = np.array([30, 10, 20, *more])
    write(home, ids, np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2), ("a", "b"), AT)
    snapshot = current(home, in_memory=in_memory)
    assert (snapshot.places is not None) == (in_memory and not more)
    rows, known = snapshot.rows(np.array([20, 99, 10, 5, -3, 2**62, *more]))
    assert known.tolist() == [True, False, True, False, False, False, *(True for _ in more)]
    assert rows[known].tolist() == [[4, 5], [2, 3], *([6, 7] for _ in more)]


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


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("name", ["ids.npy", "columns.npy", "meta.json"])
def test_one_flipped_bit_is_found(home: Home, name: str, in_memory: bool) -> None:
    folder = home.snapshots / made(home)
    content = bytearray((folder / name).read_bytes())
    place = content.index(b"2026-03-04") + 9 if name == "meta.json" else len(content) - 2
    content[place] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(UserError, match="damaged snapshot"):
        Snapshot.load(folder, in_memory=in_memory)


def wide(home: Home, problem: Problem, value: float, items: int = 50) -> str:
    columns = np.full((items, len(problem.item_columns)), value, dtype=np.float32)
    return write(home, np.arange(items), columns, tuple(problem.item_columns), AT)


def test_a_new_snapshot_is_taken_and_a_damaged_or_huge_one_refused_while_the_old_one_serves(
    home: Home, problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """5.35: refreshed when a materialisation completes; its size is bounded and said."""
    monkeypatch.setattr(module, "POLL_S", 0.02)
    caplog.set_level("INFO")
    first = wide(home, problem, 1.0)
    items = ItemStore(home, problem, max_bytes=100_000)
    assert f"snapshot {first}: 50 items, 0.0 MiB" in caplog.text
    second = wide(home, problem, 2.0)
    assert within(20, lambda: items.snapshot.version == second)
    elsewhere = Home(tmp_path / "elsewhere")
    torn = wide(elsewhere, problem, 3.0)
    (elsewhere.snapshots / torn / "columns.npy").write_bytes(b"torn")
    shutil.copytree(elsewhere.snapshots / torn, home.snapshots / torn)
    (home.snapshots / "current").write_text(torn)
    assert within(20, lambda: f"snapshot {second} stays in use" in caplog.text)
    wide(home, problem, 4.0, items=5000)
    assert within(20, lambda: "expected at most 0.1" in caplog.text)
    assert items.snapshot.version == second
    assert items.snapshot.rows(np.array([7]))[0].tolist() == [[2.0] * len(problem.item_columns)]
    last = wide(home, problem, 5.0)
    assert within(20, lambda: items.snapshot.version == last)


def test_a_snapshot_that_could_not_be_read_for_a_moment_is_taken_later(
    home: Home, problem: Problem, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.02)
    monkeypatch.setattr(polling, "RETRY_S", 0.1)
    first = wide(home, problem, 1.0)
    items, read = ItemStore(home, problem), arrays.read

    def fails(path: Path, *, mapped: bool = False) -> NDArray[Any]:
        raise MemoryError("no room")

    monkeypatch.setattr(arrays, "read", fails)
    second = wide(home, problem, 2.0)
    assert within(20, lambda: f"snapshot {first} stays in use: no room" in caplog.text)
    monkeypatch.setattr(arrays, "read", read)
    assert within(20, lambda: items.snapshot.version == second)


def test_the_bound_leaves_half_a_replica_while_snapshots_are_swapped(design: Design) -> None:
    held = max_bytes(design) * 2 * design.serving.workers
    assert held == design.capacity.replica_memory_mib * 2**20 / 2


def test_without_a_snapshot_the_message_says_what_to_run(home: Home) -> None:
    with pytest.raises(UserError, match="run `mlsd features` first"):
        current(home)


def test_an_older_pack_reads_its_columns_of_a_later_snapshot(home: Home) -> None:
    """A release keeps the pack it was trained with; the stored columns go on with the project."""
    made(home)
    whole = current(home)
    part = whole.only(["b"])
    ids = np.array([10, 20, 30])
    assert part.names == ("b",)
    assert part.rows(ids)[0].tolist() == whole.rows(ids)[0][:, 1:].tolist()
    assert whole.only(("a", "b")) is whole
    with pytest.raises(UserError, match=r"found no column c, which the model's pack reads"):
        whole.only(("b", "c"))
