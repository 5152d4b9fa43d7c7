"""Redis as the online store: written by Feast, read by the small reader; the newest row wins, here as on SQLite."""

import asyncio
import shutil
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import redis

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.materialise import materialise
from mlsd.features.online_stores.address import REDIS_URL
from mlsd.features.online_stores.base import Reader, online_store
from mlsd.features.online_stores.redis import CONNECTIONS, RedisReader, RedisStore
from mlsd.features.push import push
from mlsd.features.repository.store import open_store
from mlsd.features.snapshot import current
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.problem.tables import Tables
from support.gameday import Seen
from support.redis_rows import STRANGER, on_redis, online, read, same, session, stored, write
from support.redis_server import RedisServer, free_port, redis_server
from support.tcp_proxy import tcp_proxy

pytestmark = pytest.mark.slow

NOW = datetime(2026, 3, 4, tzinfo=UTC)
Frames = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


@pytest.fixture(scope="module")
def frames(world: Tables, small_design: Design, problem: Problem) -> Frames:
    return problem.feature_tables(world, small_design, NOW)


@pytest.fixture(scope="module")
def homes(
    server: RedisServer, featured_home: Home, frames: Frames, small_design: Design, problem: Problem,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Home]:  # fmt: skip
    """The small world on SQLite and, by the same Feast repository, on Redis."""
    folder = tmp_path_factory.mktemp("stores")
    shutil.copytree(featured_home.root, folder / "sqlite")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(REDIS_URL, server.url)
        materialise(Context.of(on_redis(small_design), Home(folder / "redis"), problem), frames, end=NOW, now=NOW)
    return {"sqlite": Home(folder / "sqlite"), "redis": Home(folder / "redis")}


@pytest.fixture(params=["sqlite", "redis"])
def home(
    request: pytest.FixtureRequest, homes: dict[str, Home], server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Home:
    """One of them; tests of one store write users of their own."""
    if request.param == "redis":
        monkeypatch.setenv(REDIS_URL, server.url)
    return homes[request.param]


@pytest.fixture
def chosen(home: Home, homes: dict[str, Home], small_design: Design) -> Design:
    """The design that names this home's store."""
    return on_redis(small_design) if home is homes["redis"] else small_design


@pytest.fixture
def reader(home: Home, chosen: Design, problem: Problem) -> Reader:
    return online_store(chosen, home).reader(problem.user_views, timeout_s=5)


def test_every_user_and_item_is_read_as_feast_reads_them(
    homes: dict[str, Home], server: RedisServer, small_design: Design, problem: Problem, world: Tables,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """3.10: all users and items, all columns, to the bit, from Redis; and the same times as from SQLite."""
    file = online_store(small_design, homes["sqlite"]).reader(problem.user_views, timeout_s=5)
    monkeypatch.setenv(REDIS_URL, server.url)
    users = [*world.users["user_id"].tolist(), STRANGER]
    design = on_redis(small_design)
    mine = online_store(design, homes["redis"]).reader(problem.user_views, timeout_s=5)
    rows = {user: mine.read(user) for user in users}
    parts = [online(homes["redis"], design, v, c, "user_id", users) for v, c in problem.user_views.items()]
    expected = np.concatenate(parts, axis=1)
    assert rows.pop(STRANGER) is None
    assert np.isnan(expected[-1]).all()
    assert np.array_equal([row.values for row in rows.values() if row], expected[:-1], equal_nan=True)
    for user, row in rows.items():
        other = file.read(user)
        assert row
        assert other
        assert set(row.written) == set(other.written)
        assert all(abs(row.written[v] - other.written[v]) < timedelta(seconds=1) for v in row.written)
    assert sum(len(row.written) < len(problem.user_views) for row in rows.values() if row) > 0
    items = world.items["item_id"].to_numpy()
    found, known = current(homes["redis"]).rows(items)
    assert known.all()
    assert (
        found.tobytes()
        == online(homes["redis"], design, "post", problem.item_columns, "item_id", items.tolist()).tobytes()
    )


@pytest.mark.fault("Future-dated row (clock skew)", "rejected at ingestion; entity not poisoned")
def test_a_row_from_the_future_is_refused_and_one_that_got_in_hides_nothing(
    home: Home, reader: Reader, chosen: Design, problem: Problem, seen: Seen
) -> None:
    """+2 days, then now: the value is the latter."""
    with pytest.raises(UserError, match="rows after 2026-03-04"):
        push(Context.of(chosen, home, problem), "interaction", session(problem, 901, NOW + timedelta(days=2), 1.0), NOW)
    assert reader.read(901) is None
    write(home, chosen, problem, 901, NOW + timedelta(days=2), 7.0)
    assert stored(reader, problem, 901) == (7.0, NOW + timedelta(days=2))
    assert push(Context.of(chosen, home, problem), "interaction", session(problem, 901, NOW, 2.0), NOW) == 1
    assert stored(reader, problem, 901) == (2.0, NOW)
    seen("push refused; a row written past it gave way to the next true one")


@pytest.mark.fault("Late older row", "newer kept on every store")
def test_a_late_older_row_never_wins(home: Home, reader: Reader, chosen: Design, problem: Problem, seen: Seen) -> None:
    for value, minutes, written in ((2.0, -30, 1), (3.0, -40, 0), (4.0, -20, 1)):
        rows = session(problem, 902, NOW + timedelta(minutes=minutes), value)
        assert push(Context.of(chosen, home, problem), "interaction", rows, NOW) == written
    write(home, chosen, problem, 902, NOW - timedelta(minutes=25), 9.0)
    assert stored(reader, problem, 902) == (4.0, NOW - timedelta(minutes=20))
    seen("kept through push and through Feast's own SDK")


def test_a_batch_neither_overwrites_what_was_pushed_since_nor_skips_what_it_corrects(
    home: Home, reader: Reader, chosen: Design, problem: Problem, frames: Frames
) -> None:
    """A second batch of the same times: a pushed session stays, a poisoned row goes, corrected values are written."""
    newest = frames["interaction"].groupby("user_id")["event_timestamp"].max()
    pushed, poisoned, corrected = (int(user) for user in newest.index[:3])
    later = NOW + timedelta(minutes=10)
    assert push(Context.of(chosen, home, problem), "interaction", session(problem, pushed, later, 5.0), later) == 1
    write(home, chosen, problem, poisoned, NOW + timedelta(days=9), 6.0)
    changed = frames["interaction"].copy()
    columns = list(problem.user_views["interaction"])
    rows = changed["user_id"].isin([pushed, poisoned, corrected])
    changed.loc[rows, columns] = np.float32(8.0)
    end = NOW + timedelta(minutes=20)
    materialise(Context.of(chosen, home, problem), frames | {"interaction": changed}, end=end, now=end)
    assert stored(reader, problem, pushed) == (5.0, later)
    for user in (poisoned, corrected):
        value, at = stored(reader, problem, user)
        assert value == 8.0
        assert abs(at - newest[user].to_pydatetime()) < timedelta(seconds=1)


def test_a_user_without_times_is_unknown_and_a_lost_view_is_empty(
    server: RedisServer, homes: dict[str, Home], small_design: Design, problem: Problem
) -> None:
    """Feast calls both present, of 1970: PRESENT and None on Redis."""
    mine = RedisReader(server.url, small_design.name, problem.user_views, timeout_s=5)
    layout, wide = mine.layout, len(problem.user_views["user"])
    client = redis.Redis(port=server.port)
    whole = {field: b"\x35" + struct.pack("<f", 1.5) for field in layout.fields[: len(problem.user_columns)]}
    client.hset(layout.key(911), mapping=whole)  # type: ignore[arg-type]
    assert mine.read(911) is None
    client.hset(layout.key(911), "_ts:user", b"\x08\x80\x80\x80\x80\x06")
    row = mine.read(911)
    assert row
    assert set(row.written) == {"user"}
    assert row.values[:wide].tolist() == [1.5] * wide
    assert np.isnan(row.values[wide:]).all()
    client.hset(layout.key(911), layout.fields[0], b"\x12\x01x")
    with pytest.raises(ValueError, match="field 2 is not a number"):
        mine.read(911)


def test_a_late_answer_is_never_taken_for_the_next_users(
    server: RedisServer, homes: dict[str, Home], small_design: Design, problem: Problem
) -> None:
    """A connection that timed out is dropped; one that the server closed is replaced within the same read."""
    expected = {
        user: RedisReader(server.url, small_design.name, problem.user_views, timeout_s=5).read(user) for user in (1, 2)
    }
    with tcp_proxy(server.port) as proxy:
        store = RedisStore(f"redis://127.0.0.1:{proxy.port}/0", small_design.name, problem.user_views)

        async def scenario() -> None:
            assert same(await read(store, 1), expected[1])
            proxy.delay_s = 1.0
            assert await read(store, 1, 0.05) == "late"
            proxy.restore()
            await asyncio.sleep(1.2)  # the late answer has come
            assert same(await read(store, 2), expected[2])
            await asyncio.gather(*(read(store, 1) for _ in range(60)))
            assert proxy.open <= CONNECTIONS
            proxy.drop()
            assert await read(store, 1) == "lost"
            proxy.restore()
            assert same(await read(store, 1), expected[1])

        asyncio.run(scenario())


def test_user_password_and_database_of_the_address_are_used(
    server: RedisServer, homes: dict[str, Home], small_design: Design, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = redis.Redis(port=server.port)
    client.execute_command("ACL", "SETUSER", "feed", "on", ">p@ss", "~*", "+@all")
    good, wrong = (f"redis://feed:{word}@127.0.0.1:{server.port}/2" for word in ("p%40ss", "other"))
    monkeypatch.setenv(REDIS_URL, good)
    design, at = on_redis(small_design), NOW - timedelta(hours=1)
    open_store(design, homes["redis"]).write_to_online_store("interaction", session(problem, 921, at, 3.0))
    mine = online_store(design, homes["redis"]).reader(problem.user_views, timeout_s=5)
    assert stored(mine, problem, 921) == (3.0, at)
    assert asyncio.run(read(RedisStore(good, small_design.name, problem.user_views), 921)).written["interaction"] == at
    assert redis.Redis(port=server.port, db=2).dbsize() == 1
    assert RedisReader(server.url, small_design.name, problem.user_views, timeout_s=5).read(921) is None
    assert asyncio.run(read(RedisStore(wrong, small_design.name, problem.user_views), 921)) == "lost"


def test_a_batch_or_a_push_without_redis_says_so(
    homes: dict[str, Home], frames: Frames, small_design: Design, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, design = free_port(), on_redis(small_design)
    monkeypatch.setenv(REDIS_URL, f"redis://me:secret@127.0.0.1:{port}")
    for act in (
        lambda: materialise(Context.of(design, homes["redis"], problem), frames, end=NOW, now=NOW),
        lambda: push(Context.of(design, homes["redis"], problem), "interaction", session(problem, 1, NOW, 1.0), NOW),
    ):
        with pytest.raises(UserError, match=f"MLSD_REDIS_URL: 127.0.0.1:{port}: .*refused") as refused:
            act()
        assert "secret" not in str(refused.value)
