"""The one clock. A replayed or synthetic world has a time of its own; production has offset zero."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache

from mlsd.home import find_home, write_json


@cache
def _offset() -> timedelta:
    try:
        seconds = json.loads(find_home().clock.read_text(encoding="utf-8"))["offset_s"]
    except FileNotFoundError:
        seconds = 0.0
    return timedelta(seconds=seconds)


def now() -> datetime:
    """Current time, UTC, aware, on the world's clock (the offset is read once per process, see `reread`)."""
    return datetime.now(UTC) + _offset()


def set_world_time(world_now: datetime) -> None:
    """Make `now()` return `world_now` from this moment on, here and in processes started later."""
    write_json(find_home().clock, {"offset_s": (world_now - datetime.now(UTC)).total_seconds()})
    _offset.cache_clear()


def reread() -> None:
    """Look at the world's clock again at the next `now()`: for processes that outlive a change of it."""
    _offset.cache_clear()
