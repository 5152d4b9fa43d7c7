"""The newest row wins on every store, and a row from the future (a clock that was wrong) does not hide later ones.

Feast leaves both to the store: its SQLite store lets an older row overwrite a newer one (a batch, what was just
pushed), its Redis store keeps the newest for ever, be it from the year 2100, and never writes the same time again.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import cast

from mlsd.core.home import Home
from mlsd.features.online_stores.address import redis_url
from mlsd.features.online_stores.sqlite import AHEAD, table_name
from mlsd.features.values import entity_key, moment, stamp

LOGGER = logging.getLogger("mlsd")
WAIT_S = 10.0
CHUNK = 1000


def keep_newest(
    home: Home, project: str, views: Mapping[str, tuple[str, Mapping[int, datetime]]], now: datetime
) -> None:
    """Prepare the store for these rows: what is there of them must not stand in the way of a newer one.

    Args:
        home: the state folder.
        project: Feast's project.
        views: view to its join key and to the newest time of each key to be written.
        now: stored rows of these keys that are later (by more than clocks may differ) are forgotten.
    """
    url = redis_url()
    forgotten = 0
    for view, (join_key, newest) in views.items():
        if url is None:
            forgotten += _in_sqlite(home, table_name(project, view), join_key, newest, now)
        else:
            forgotten += _in_redis(url, project, view, join_key, newest, now)
    if forgotten:
        LOGGER.warning("online store: %d rows were from the future, after %s; forgotten", forgotten, now.isoformat())


def _in_sqlite(home: Home, table: str, join_key: str, keys: Iterable[int], now: datetime) -> int:
    # Feast stores naive UTC as if it were local time.
    latest = (now + AHEAD).astimezone(UTC).replace(tzinfo=None).timestamp()
    forget = f'DELETE FROM "{table}" WHERE entity_key = ? AND event_ts > ?'  # noqa: S608
    with contextlib.closing(sqlite3.connect(home.online_store, timeout=WAIT_S)) as connection, connection:
        connection.execute(
            f'CREATE TRIGGER IF NOT EXISTS "keep_newest_{table}" BEFORE UPDATE ON "{table}" '
            "WHEN NEW.event_ts < OLD.event_ts BEGIN SELECT RAISE(IGNORE); END"
        )
        return sum(connection.execute(forget, (entity_key(join_key, key), latest)).rowcount > 0 for key in keys)


def _chunks(pairs: Iterable[tuple[int, datetime]]) -> Iterator[list[tuple[int, datetime]]]:
    rest = iter(pairs)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def _in_redis(url: str, project: str, view: str, join_key: str, newest: Mapping[int, datetime], now: datetime) -> int:
    """A row of the very time that the batch has is made a microsecond older, so that Feast writes it again."""
    import redis

    from mlsd.features.online_stores.redis import time_field

    field, forgotten = cast("str", time_field(view)), 0
    with redis.Redis.from_url(url, socket_timeout=WAIT_S, socket_connect_timeout=WAIT_S) as client:
        for chunk in _chunks(newest.items()):
            keys = [cast("str", entity_key(join_key, key) + project.encode()) for key, _ in chunk]
            asking = client.pipeline(transaction=False)
            for key in keys:
                asking.hget(key, field)
            changing = client.pipeline(transaction=False)
            for key, (_, at), stored in zip(keys, chunk, asking.execute(), strict=True):
                written = moment(stored) if stored else None
                if written is not None and written > now + AHEAD:
                    changing.hdel(key, field)
                    forgotten += 1
                elif written == at:
                    changing.hset(key, field, cast("str", stamp(at - timedelta(microseconds=1))))
            changing.execute()
    return forgotten
