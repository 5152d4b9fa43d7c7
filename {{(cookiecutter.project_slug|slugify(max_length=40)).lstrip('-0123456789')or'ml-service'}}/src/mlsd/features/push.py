"""The stream path: what a user just did reaches the online store without waiting for the next batch."""

from datetime import datetime
from typing import TYPE_CHECKING

from mlsd.design import Design
from mlsd.errors import UserError
from mlsd.features.materialise import quiet
from mlsd.features.online import UserReader
from mlsd.features.store import open_store
from mlsd.home import Home
from mlsd.problem import Problem

if TYPE_CHECKING:
    import pandas as pd


def push(design: Design, home: Home, problem: Problem, view: str, rows: "pd.DataFrame", now: datetime) -> int:
    """Write rows (user_id, event_timestamp, the view's columns) through the push source `<view>_push`.

    A row that is older than the stored one is left out: the store itself would let it overwrite the newer one.
    Returns how many rows were written.

    Raises:
        UserError: the view is not a user's, a column is missing, or a row lies in the future.
    """
    columns = ["user_id", "event_timestamp", *problem.user_views.get(view, ())]
    if view not in problem.user_views or not set(columns) <= set(rows.columns):
        raise UserError(f"push to view {view!r}: found columns {list(rows.columns)}, expected {columns}")
    if len(late := rows[rows["event_timestamp"] > now]):
        raise UserError(f"push to view {view!r}: found {len(late)} rows after {now.isoformat()}; they are refused")
    newest = rows.sort_values("event_timestamp").groupby("user_id").tail(1)
    reader = UserReader(home.online_store, design.name, {view: problem.user_views[view]}, timeout_s=5)
    stored = {user: reader.read(int(user)) for user in newest["user_id"]}
    fresh = [
        (row := stored[user]) is None or at > row.written[view]
        for user, at in zip(newest["user_id"], newest["event_timestamp"], strict=True)
    ]
    if any(fresh):
        store = open_store(design, home)
        with quiet(home):
            store.push(f"{view}_push", newest.loc[fresh, columns])
    return sum(fresh)
