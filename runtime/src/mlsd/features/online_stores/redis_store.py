"""Redis as an online store: a server that all replicas share, written by Feast, read without it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, cast

import redis

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.online_stores.address import REDIS_URL, connection_string, redis_url
from mlsd.features.online_stores.base import AHEAD, Views
from mlsd.features.online_stores.redis import RedisReader, RedisStore, time_field
from mlsd.features.values import entity_key, moment, stamp

WAIT_S = 10.0
CHUNK = 1000


class RedisOnlineStore:
    """The server at `$MLSD_REDIS_URL`."""

    def __init__(self, design: Design, _: Home) -> None:
        """`design` names the keys.

        Raises:
            UserError: there is no address, or it is not one of Redis.
        """
        self._url, self._project = redis_url(), design.name

    def feast(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Feast's Redis store, with the password and without it.

        Raises:
            UserError: user or password has a comma, which Feast cannot take.
        """
        secret, shown = connection_string(self._url)
        return {"type": "redis", "connection_string": secret}, {"type": "redis", "connection_string": shown}

    def reader(self, views: Views, *, timeout_s: float) -> RedisReader:
        """One user after the other."""
        return RedisReader(self._url, self._project, views, timeout_s=timeout_s)

    def awaited(self, views: Views) -> RedisStore:
        """Many users at once."""
        return RedisStore(self._url, self._project, views)

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """Name the server that does not answer, without its password.

        Raises:
            UserError: Redis is down, refuses, or is too slow.
        """
        try:
            yield
        except redis.RedisError as error:
            raise UserError(f"{REDIS_URL}: {self._url.rsplit('@', 1)[-1]}: {error}") from None

    def prepare(self) -> None:
        """Redis needs nothing."""

    def discard(self) -> None:
        """A server mends itself; nothing of it lies here."""

    def keep_newest(self, view: str, join_key: str, newest: Mapping[int, datetime], now: datetime) -> int:
        """Feast keeps the newest for ever, be it from the year 2100, and never writes the same time again.

        So a row of the very time that the batch has is made a microsecond older.
        """
        field, forgotten = cast("str", time_field(view)), 0
        project = self._project.replace("-", "_").encode()
        with redis.Redis.from_url(self._url, socket_timeout=WAIT_S, socket_connect_timeout=WAIT_S) as client:
            for chunk in _chunks(newest.items()):
                keys = [cast("str", entity_key(join_key, key) + project) for key, _ in chunk]
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


def _chunks(pairs: Iterable[tuple[int, datetime]]) -> Iterator[list[tuple[int, datetime]]]:
    rest = iter(pairs)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk
