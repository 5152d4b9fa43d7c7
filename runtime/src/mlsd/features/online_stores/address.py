"""The address of Redis: `$MLSD_REDIS_URL`, checked, and as Feast writes it."""

import os
from urllib.parse import unquote, urlsplit

from mlsd.core.errors import UserError

REDIS_URL = "MLSD_REDIS_URL"
FORM = "redis[s]://[user:password@]host[:port][/database]"
FEAST_WAITS_S = {"socket_timeout": 10, "socket_connect_timeout": 5}


def redis_url(variable: str = REDIS_URL) -> str:
    """The address in an environment variable.

    Raises:
        UserError: it is not set, or not an address of Redis.
    """
    url = os.environ.get(variable)
    if not url:
        raise UserError(f"{variable}: not set, expected {FORM}: the design's features.online_store reads it")
    parts = urlsplit(url)
    try:
        good = parts.scheme in {"redis", "rediss"} and parts.hostname and parts.port != 0
        good = good and (parts.path.strip("/") or "0").isdecimal() and not parts.query
    except ValueError:  # the port is not a number
        good = False
    if not good:
        shown = url if "@" not in url else f"{parts.scheme}://...@{url.rsplit('@', 1)[1]}"
        raise UserError(f"{variable}: found {shown!r}, expected {FORM}")
    return url


def connection_string(url: str, variable: str = REDIS_URL) -> tuple[str, str]:
    """Feast's way to write an address of Redis, with its password and to be shown.

    Raises:
        UserError: user or password has a comma, which Feast cannot take.
    """
    parts = urlsplit(url)
    shown = [f"{parts.hostname}:{parts.port or 6379}", f"db={parts.path.strip('/') or 0}"]
    shown += [f"{name}={value:g}" for name, value in FEAST_WAITS_S.items()]
    if parts.scheme == "rediss":
        shown.append("ssl=true")
    secret = [f"{name}={unquote(value)}" for name in ("username", "password") if (value := getattr(parts, name))]
    if any("," in one for one in secret):
        raise UserError(f"{variable}: a comma in user or password; Feast cannot take it")
    return ",".join(shown + secret), ",".join(shown + ["username=...,password=..."] * bool(secret))
