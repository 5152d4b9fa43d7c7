"""The one clock. A replayed or synthetic world has a time of its own; production has offset zero."""

import json
from datetime import UTC, datetime, timedelta
from functools import cache

from mlsd.core.errors import UserError
from mlsd.core.home import find_home, write_json


@cache
def _offset() -> timedelta:
    try:
        seconds = json.loads(find_home().clock.read_text(encoding="utf-8"))["offset_s"]
        return timedelta(seconds=seconds)
    except FileNotFoundError:
        return timedelta(0)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise UserError(f"{find_home().clock}: not a clock ({error}); run `mlsd data` again") from None


def now() -> datetime:
    """Current time, UTC, aware, on the world's clock (the offset is read once per process, see `reread`).

    Raises:
        UserError: the file that holds the offset is damaged.
    """
    return datetime.now(UTC) + _offset()


def set_world_time(world_now: datetime) -> None:
    """Make `now()` return `world_now` from this moment on, here and in processes started later."""
    write_json(find_home().clock, {"offset_s": (world_now - datetime.now(UTC)).total_seconds()})
    _offset.cache_clear()


def reread() -> None:
    """Look at the world's clock again at the next `now()`: for processes that outlive a change of it."""
    _offset.cache_clear()
