"""The small reader gives what Feast's own SDK gives, for every user and column; what is too old is not trusted."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.data.storage import load_tables
from mlsd.design.design import Design
from mlsd.features.online_stores.base import UserRow
from mlsd.features.online_stores.sqlite import UserReader
from mlsd.features.push import push
from mlsd.features.repository.store import open_store
from mlsd.features.user_values import fill
from mlsd.features.values import decode, decode_all, decode_hex, entity_key, moment, redis_field, stamp
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem

NOW = datetime(2026, 3, 4, tzinfo=UTC)
STRANGER = 123_456_789


def reader(home: Home, design: Design, problem: Problem, timeout_s: float = 5) -> UserReader:
    return UserReader(home.online_store, design.name, problem.user_views, timeout_s=timeout_s)


@pytest.fixture
def copied(featured_home: Home, tmp_path: Path) -> Home:
    shutil.copytree(featured_home.root, tmp_path / "mlsd")
    return Home(tmp_path / "mlsd")


def test_it_reads_what_feast_reads_for_every_user_and_column(
    featured_home: Home, small_design: Design, problem: Problem
) -> None:
    users = [*load_tables(featured_home).users["user_id"].tolist(), STRANGER]
    store = open_store(small_design, featured_home)
    references = [f"{view}:{name}" for view, names in problem.user_views.items() for name in names]
    answer = store.get_online_features(references, [{"user_id": user} for user in users]).to_dict()
    expected = np.array([answer[name] for name in problem.user_columns], dtype=np.float32).T
    mine = reader(featured_home, small_design, problem)
    rows = [mine.read(user) for user in users]
    assert rows[-1] is None
    assert np.isnan(expected[-1]).all()
    found = np.array([row.values for row in rows[:-1] if row])
    assert np.array_equal(found, expected[:-1], equal_nan=True)
    assert np.isfinite(found[:, : len(problem.user_views["user"])]).all()


def test_the_time_of_each_view_is_read(featured_home: Home, small_design: Design, problem: Problem) -> None:
    sources = {v: pd.read_parquet(featured_home.feast / "offline" / f"{v}.parquet") for v in problem.user_views}
    newest = {view: table.groupby("user_id")["event_timestamp"].max() for view, table in sources.items()}
    mine = reader(featured_home, small_design, problem)
    for user in newest["interaction"].index[:50]:
        row = mine.read(int(user))
        assert row
        for view, at in row.written.items():
            assert abs(at - newest[view][user].to_pydatetime()) < timedelta(seconds=1)
        assert set(row.written) == set(problem.user_views)


def test_feast_computes_the_same_context(featured_home: Home, small_design: Design, problem: Problem) -> None:
    from feed_ranking.columns import CONTEXT_COLUMNS

    rows = [
        {"requested_at": NOW - timedelta(hours=7 * k), "device": d} for k, d in enumerate(["mobile", "desktop", "x"])
    ]
    references = [f"context:{name}" for name in CONTEXT_COLUMNS]
    answer = open_store(small_design, featured_home).get_online_features(references, rows).to_dict()
    at = np.array([row["requested_at"].replace(tzinfo=None) for row in rows], "datetime64[us]")  # type: ignore[attr-defined]
    expected = problem.context(at, np.array(["mobile", "desktop", "x"]))
    found = np.array([answer[name] for name in CONTEXT_COLUMNS], dtype=np.float32).T
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("message", "expected"),
    [({"float_val": -1.5}, -1.5), ({"double_val": 2.25}, 2.25), ({"int64_val": -7}, -7.0), ({"int64_val": 300}, 300.0),
     ({"bool_val": True}, 1.0), ({"float_val": 0.0}, 0.0), ({}, np.nan), ({"null_val": 0}, np.nan)],
)  # fmt: skip
def test_values_are_decoded_as_protobuf_encodes_them(message: dict[str, Any], expected: float) -> None:
    from feast.protos.feast.types.Value_pb2 import Value

    assert decode(Value(**message).SerializeToString()) == pytest.approx(expected, nan_ok=True)


def test_text_is_not_a_number() -> None:
    from feast.protos.feast.types.Value_pb2 import Value

    with pytest.raises(ValueError, match="field 2 is not a number"):
        decode(Value(string_val="x").SerializeToString())


def test_many_values_are_decoded_as_one_by_one() -> None:
    """Plain floats go a faster way; one value of another kind must not change the rest."""
    from feast.protos.feast.types.Value_pb2 import Value

    plain = [Value(float_val=k - 1.5).SerializeToString() for k in range(5)]
    mixed = [*plain, Value(int64_val=300).SerializeToString(), Value().SerializeToString(), *plain]
    for values in (plain, mixed, []):
        expected = [decode(value) for value in values]
        text = " ".join(value.hex() for value in values)
        assert np.array_equal(decode_all(values), np.array(expected, np.float32), equal_nan=True)
        assert np.array_equal(decode_hex(text, len(values)), np.array(expected, np.float32), equal_nan=True)
    assert np.array_equal(decode_all([plain[0], None, plain[1]]), [-1.5, np.nan, -0.5], equal_nan=True)


@given(st.text(min_size=0, max_size=40), st.text(min_size=1, max_size=40))
def test_fields_of_a_redis_hash_are_those_of_feast(view: str, feature: str) -> None:
    from feast.infra.online_stores.helpers import _mmh3

    assert redis_field(view, feature) == _mmh3(f"{view}:{feature}")


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))
def test_times_are_those_of_protobuf(naive: datetime) -> None:
    from google.protobuf.timestamp_pb2 import Timestamp

    at, message = naive.replace(tzinfo=UTC), Timestamp()
    message.FromDatetime(at)
    assert stamp(at) == message.SerializeToString()
    assert moment(stamp(at)) == at


@pytest.mark.parametrize("stored", [b"x", b"\x08", b"\x08\x80", b"\x1d\x00\x00\x00\x00"])
def test_what_is_no_time_is_refused(stored: bytes) -> None:
    with pytest.raises(ValueError, match="not a protobuf timestamp"):
        moment(stored)


def test_keys_are_those_of_feast() -> None:
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    for value in (0, 1, 2**40, -5):
        key = EntityKey(join_keys=["user_id"], entity_values=[Value(int64_val=value)])
        assert entity_key("user_id", value) == serialize_entity_key(key, 3)


def test_a_missing_store_says_what_to_run(tmp_path: Path, design: Design, problem: Problem) -> None:
    with pytest.raises(UserError, match="run `mlsd features` first"):
        UserReader(tmp_path / "online.db", design.name, problem.user_views)


@pytest.fixture
def writing(copied: Home) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(copied.online_store, isolation_level=None)) as connection:
        yield connection


def test_a_write_in_progress_does_not_hold_up_a_read(
    copied: Home, writing: sqlite3.Connection, small_design: Design, problem: Problem
) -> None:
    writing.execute("BEGIN IMMEDIATE")
    writing.execute(f'DELETE FROM "{small_design.name.replace("-", "_")}_user"')
    assert reader(copied, small_design, problem, timeout_s=5).read(1) is not None


def test_a_locked_store_gives_up_at_the_deadline(
    copied: Home, writing: sqlite3.Connection, small_design: Design, problem: Problem
) -> None:
    writing.execute("PRAGMA journal_mode=DELETE")
    writing.execute("BEGIN EXCLUSIVE")
    started = time.perf_counter()
    with pytest.raises(TimeoutError, match="locked"):
        reader(copied, small_design, problem, timeout_s=0.2).read(1)
    assert time.perf_counter() - started < 4  # SQLite's own patience is 5 s


def test_defaults_replace_what_is_absent_or_too_old(design: Design, problem: Problem) -> None:
    ages, wide = design.max_age_h, len(problem.user_views["user"])
    stored = np.arange(len(problem.user_columns), dtype=np.float32) + 1000
    fresh = UserRow(stored, {"user": NOW, "interaction": NOW})
    assert fill(fresh, problem, ages, NOW)[0].tolist() == stored.tolist()
    assert fill(fresh, problem, ages, NOW)[1] == []
    values, reasons = fill(fresh, problem, ages, NOW + timedelta(hours=ages.user, seconds=1))
    assert reasons == ["stale_user"]
    assert values[:wide].tolist() == problem.user_defaults[:wide].tolist()
    assert values[wide:].tolist() == stored[wide:].tolist()
    assert fill(fresh, problem, ages, NOW + timedelta(hours=ages.user))[1] == []
    both = fill(fresh, problem, ages, NOW + timedelta(hours=ages.interaction + 1))
    assert both[1] == ["stale_user", "stale_interaction"]
    partly = np.where(np.arange(len(stored)) < wide, stored, np.float32(np.nan))
    values, reasons = fill(UserRow(partly, {"user": NOW}), problem, ages, NOW)
    assert (reasons, values[wide:].tolist()) == ([], problem.user_defaults[wide:].tolist())
    values, reasons = fill(None, problem, ages, NOW)
    assert (reasons, values.tolist()) == (["unknown_user"], problem.user_defaults.tolist())


def test_what_is_too_old_is_flagged_and_used_where_the_design_says_so(design: Design, problem: Problem) -> None:
    """5.34: `when_stale: flag`; a row from a wrong clock is treated like one too old."""
    ages, wide = design.max_age_h, len(problem.user_views["user"])
    stored = np.arange(len(problem.user_columns), dtype=np.float32) + 1000
    late = NOW + timedelta(hours=ages.user, seconds=1)
    values, reasons = fill(UserRow(stored, {"user": NOW, "interaction": NOW}), problem, ages, late, "flag")
    assert (reasons, values.tolist()) == (["stale_user"], stored.tolist())
    ahead = UserRow(stored, {"user": NOW + timedelta(days=2), "interaction": NOW + timedelta(minutes=1)})
    values, reasons = fill(ahead, problem, ages, NOW)
    assert reasons == ["future_user"]
    assert values[:wide].tolist() == problem.user_defaults[:wide].tolist()
    assert values[wide:].tolist() == stored[wide:].tolist()


def session(problem: Problem, user: int, at: datetime, value: float) -> pd.DataFrame:
    row = {"user_id": user, "event_timestamp": pd.Timestamp(at)} | dict.fromkeys(
        problem.user_views["interaction"], value
    )
    return pd.DataFrame([row]).astype(dict.fromkeys(problem.user_views["interaction"], "float32"))


def test_a_pushed_session_is_read_at_once_and_an_older_one_never_wins(
    copied: Home, small_design: Design, problem: Problem
) -> None:
    """3.07, 3.09; a late older row must not overwrite a newer one."""
    part = slice(len(problem.user_views["user"]), None)
    mine = reader(copied, small_design, problem)
    for user in (1, STRANGER):
        for value, minutes, written in ((2.0, 10, 1), (3.0, 5, 0), (4.0, 11, 1)):
            rows = session(problem, user, NOW + timedelta(minutes=minutes), value)
            context = Context.of(small_design, copied, problem)
            assert push(context, "interaction", rows, NOW + timedelta(hours=1)) == written
        row = mine.read(user)
        assert row
        assert set(row.values[part].tolist()) == {4.0}
        assert row.written["interaction"] == NOW + timedelta(minutes=11)


def test_a_push_from_the_future_or_to_an_unknown_view_is_refused(
    copied: Home, small_design: Design, problem: Problem
) -> None:
    rows = session(problem, 1, NOW + timedelta(days=2), 1.0)
    with pytest.raises(UserError, match="rows after 2026-03-04"):
        push(Context.of(small_design, copied, problem), "interaction", rows, NOW)
    with pytest.raises(UserError, match="push to view 'post'"):
        push(Context.of(small_design, copied, problem), "post", rows, NOW)
