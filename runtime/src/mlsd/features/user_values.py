"""What may be trusted of one user's stored values."""

from datetime import datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlsd.design.sections import MaxAge
from mlsd.features.online_stores.base import AHEAD, UserRow
from mlsd.problem.problem import Problem


def _mistrusted(written: datetime | None, max_h: float, now: datetime) -> str | None:
    if written is None:
        return None
    if now - written > timedelta(hours=max_h):
        return "stale"
    return "future" if written - now > AHEAD else None


def fill(
    row: UserRow | None,
    problem: Problem,
    max_age_h: MaxAge,
    now: datetime,
    when_stale: Literal["default", "flag"] = "default",
) -> tuple[NDArray[np.float32], list[str]]:
    """Values [U] fit for the model and what was wrong with the stored ones.

    A view that is older than its max_age_h is not trusted, whatever the store says of it: reason `stale_<view>`, and
    unless `when_stale` is "flag" its columns get their defaults. One that a wrong clock wrote is reason
    `future_<view>`, treated alike. A view that was never written gets its defaults silently (a new user has no
    session yet).
    """
    if row is None:
        return problem.user_defaults.copy(), ["unknown_user"]
    values, reasons, start = row.values.copy(), [], 0
    for view, columns in problem.user_views.items():
        part = slice(start, start + len(columns))
        start += len(columns)
        if why := _mistrusted(row.written.get(view), getattr(max_age_h, view), now):
            reasons.append(f"{why}_{view}")
            if when_stale == "default":
                values[part] = np.nan
    return np.where(np.isnan(values), problem.user_defaults, values), reasons
