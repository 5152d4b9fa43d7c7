"""Where the online store is: `$MLSD_REDIS_URL`, or the state folder's SQLite file."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.online_stores.sqlite import Reader, UserReader

REDIS_URL = "MLSD_REDIS_URL"


def redis_url() -> str | None:
    """The address in `$MLSD_REDIS_URL`, None when it is not set.

    Raises:
        UserError: it is not one of Redis.
    """
    url = os.environ.get(REDIS_URL)
    if not url:
        return None
    parts = urlsplit(url)
    try:
        good = parts.scheme in {"redis", "rediss"} and parts.hostname and parts.port != 0
        good = good and (parts.path.strip("/") or "0").isdecimal() and not parts.query
    except ValueError:  # the port is not a number
        good = False
    if not good:
        shown = url if "@" not in url else f"{parts.scheme}://...@{url.rsplit('@', 1)[1]}"
        raise UserError(f"{REDIS_URL}: found {shown!r}, expected redis[s]://[user:password@]host[:port][/database]")
    return url


@contextmanager
def reachable() -> Iterator[None]:
    """Around what writes to or reads from the online store, for programs that end when it is not there.

    Raises:
        UserError: Redis is down, refuses, or is too slow.
    """
    url = redis_url()
    if url is None:
        yield
        return
    import redis

    try:
        yield
    except redis.RedisError as error:
        raise UserError(f"{REDIS_URL}: {url.rsplit('@', 1)[-1]}: {error}") from None


def open_reader(design: Design, home: Home, views: Mapping[str, tuple[str, ...]], *, timeout_s: float = 5.0) -> Reader:
    """A connection that reads one user after the other, for programs that may wait.

    Raises:
        UserError: there is no store yet, or `$MLSD_REDIS_URL` is not an address of Redis.
    """
    url = redis_url()
    if url is None:
        return UserReader(home.online_store, design.name, views, timeout_s=timeout_s)
    from mlsd.features.online_stores.redis import RedisReader

    return RedisReader(url, design.name, views, timeout_s=timeout_s)
