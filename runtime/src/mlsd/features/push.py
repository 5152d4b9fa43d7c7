"""The stream path: what a user just did reaches the online store without waiting for the next batch."""

from datetime import datetime
from typing import TYPE_CHECKING

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.materialise import quiet
from mlsd.features.newest import keep_newest
from mlsd.features.online_stores.base import AHEAD, OnlineStore, online_store
from mlsd.features.repository.store import open_store
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

READ_S = 5.0


def push(context: Context, view: str, rows: "pd.DataFrame", now: datetime) -> int:
    """Write rows (user_id, event_timestamp, the view's columns) through the push source `<view>_push`.

    A row that is older than the stored one is left out, unless that one is from the future: it is forgotten.
    Returns how many rows were written.

    Raises:
        UserError: the view is not a user's, a column is missing, a row lies in the future, or the store is not there.
    """
    design, home, problem = context.design, context.home, context.problem
    columns = ["user_id", "event_timestamp", *problem.user_views.get(view, ())]
    if view not in problem.user_views or not set(columns) <= set(rows.columns):
        raise UserError(f"push to view {view!r}: found columns {list(rows.columns)}, expected {columns}")
    if len(late := rows[rows["event_timestamp"] > now]):
        raise UserError(f"push to view {view!r}: found {len(late)} rows after {now.isoformat()}; they are refused")
    online = online_store(design, home)
    with online.reachable():
        newest = rows[columns].sort_values("event_timestamp").groupby("user_id").tail(1)
        chosen = _fresh(online, problem, view, newest, now)
        if len(chosen):
            _write(design, home, online, view, chosen, now)
    return len(chosen)


def _fresh(online: OnlineStore, problem: Problem, view: str, newest: "pd.DataFrame", now: datetime) -> "pd.DataFrame":
    """The rows that are newer than what is stored."""
    reader = online.reader({view: problem.user_views[view]}, timeout_s=READ_S)
    stored = {int(user): reader.read(int(user)) for user in newest["user_id"]}
    fresh = [
        (row := stored[user]) is None or at > row.written[view] or row.written[view] > now + AHEAD
        for user, at in zip(newest["user_id"], newest["event_timestamp"], strict=True)
    ]
    return newest[fresh]


def _write(design: Design, home: Home, online: OnlineStore, view: str, rows: "pd.DataFrame", now: datetime) -> None:
    store = open_store(design, home)
    times = {int(user): at.to_pydatetime() for user, at in zip(rows["user_id"], rows["event_timestamp"], strict=True)}
    keep_newest(online, {view: ("user_id", times)}, now)
    with quiet(home):
        store.push(f"{view}_push", rows)
