"""One user's stored values from Feast's Redis store, without Feast: all views of a user are fields of one hash."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import numpy as np
import redis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from mlsd.features.online_stores.base import UserRow, Views
from mlsd.features.values import decode_all, entity_key, moment, redis_field

CONNECTIONS = 16
MAX_READING = 64
CONNECT_S = 1.0
"""The longest that a new connection may take; the request that asked for it does not wait so long."""
_OPTIONS = {"protocol": 2, "lib_name": None, "lib_version": None, "decode_responses": False}  # no words of greeting

Reply = Sequence[bytes | None]


class Layout:
    """Where Feast puts the views of a user: the hash's key, its fields, and a row from their values."""

    def __init__(self, project: str, views: Views) -> None:
        """`project` is Feast's, or the design's name; the views' columns in order make `UserRow.values`."""
        self._project = project.replace("-", "_").encode()
        self._views = tuple(views)
        self._ends = np.cumsum([len(columns) for columns in views.values()]).tolist()
        self.fields = [redis_field(view, name) for view, columns in views.items() for name in columns]
        self.fields += [time_field(view) for view in views]
        bulk = b"".join(b"$%d\r\n%s\r\n" % (len(field), field) for field in self.fields)
        self._head = b"*%d\r\n$5\r\nHMGET\r\n" % (len(self.fields) + 2)
        self._tail = b"\r\n" + bulk

    def key(self, user_id: int) -> bytes:
        """Of the hash of a user."""
        return entity_key("user_id", user_id) + self._project

    def command(self, user_id: int) -> bytes:
        """HMGET of all fields, as it goes over the wire."""
        key = self.key(user_id)
        return b"%s$%d\r\n%s%s" % (self._head, len(key), key, self._tail)

    def row(self, reply: Reply) -> UserRow | None:
        """The stored values; None if no view has a time: to Feast such a user is present and of 1970.

        Raises:
            ValueError: a stored value is not a number.
        """
        count = self._ends[-1]
        times = {view: moment(at) for view, at in zip(self._views, reply[count:], strict=True) if at}
        if not times:
            return None
        if len(times) == len(self._views):
            return UserRow(decode_all(reply[:count]), times)
        values, start = np.full(count, np.nan, dtype=np.float32), 0
        for view, end in zip(self._views, self._ends, strict=True):
            if view in times:
                values[start:end] = decode_all(reply[start:end])
            start = end
        return UserRow(values, times)


def time_field(view: str) -> bytes:
    """Name of the field that holds a view's time."""
    return f"_ts:{view}".encode()


class RedisReader:
    """The same, one after the other, for programs that may wait."""

    def __init__(self, url: str, project: str, views: Views, *, timeout_s: float = 0.05) -> None:
        """Connect at the first read; `timeout_s` bounds connecting and each answer."""
        self.layout = Layout(project, views)
        self._client = redis.Redis.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s)

    def read(self, user_id: int) -> UserRow | None:
        """Stored values of a user; None if no view knows it.

        Raises:
            redis.RedisError: the store is down or too slow.
        """
        reply = self._client.hmget(cast("str", self.layout.key(user_id)), self.layout.fields)
        return self.layout.row(cast("Reply", reply))


class RedisStore:
    """Reads in the event loop over a few connections of its own: one round trip each, no retries of the client.

    A connection whose answer did not come in time is dropped: the late answer would be taken for the next user's.
    """

    def __init__(self, url: str, project: str, views: Views) -> None:
        """Open nothing yet: a worker connects at its first read."""
        self._layout = Layout(project, views)
        never = Retry(NoBackoff(), 0)
        self._pool = ConnectionPool.from_url(url, socket_connect_timeout=CONNECT_S, retry=never, **_OPTIONS)
        self._idle: asyncio.LifoQueue[AbstractConnection] = asyncio.LifoQueue()
        self._open = self._reading = 0
        self._opening: set[asyncio.Task[None]] = set()

    def begin(self, user_id: int) -> "asyncio.Future[UserRow | None] | None":
        """Start a read; None if too many are under way. Cancelling it drops the connection that it waits for."""
        if self._reading >= MAX_READING:
            return None
        self._reading += 1
        task = asyncio.get_running_loop().create_task(self._read(user_id))
        task.add_done_callback(self._ended)
        return task

    def _ended(self, _: "asyncio.Future[UserRow | None]") -> None:
        self._reading -= 1

    async def _read(self, user_id: int) -> UserRow | None:
        command = self._layout.command(user_id)
        reused = not self._idle.empty()
        try:
            reply = await self._ask(command)
        except redis.ConnectionError:
            if not reused:
                raise
            while not self._idle.empty():  # the server went away; what it left behind is dead as well
                await self._drop(self._idle.get_nowait())
            reply = await self._ask(command)
        return self._layout.row(reply)

    async def _ask(self, command: bytes) -> Reply:
        if self._idle.empty() and self._open < CONNECTIONS:
            await self._connected()
        connection = await self._idle.get()
        try:
            await connection.send_packed_command(command, check_health=False)
            reply = await connection.read_response(disable_decoding=True)
        except BaseException:
            await self._drop(connection)
            raise
        self._idle.put_nowait(connection)
        return cast("Reply", reply)

    async def _connected(self) -> None:
        """One more connection; it takes the time it needs, while the request gives up at its deadline."""
        self._open += 1
        task = asyncio.get_running_loop().create_task(self._connect())
        self._opening.add(task)
        task.add_done_callback(self._opened)
        await asyncio.shield(task)

    async def _connect(self) -> None:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(CONNECT_S):
                await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await self._drop(connection)
            raise
        self._idle.put_nowait(connection)

    def _opened(self, task: "asyncio.Task[None]") -> None:
        self._opening.discard(task)
        if not task.cancelled():
            task.exception()  # the request that waited for it heard of it, or has been answered without

    async def _drop(self, connection: AbstractConnection) -> None:
        self._open -= 1
        with suppress(Exception):
            await connection.disconnect(nowait=True)
