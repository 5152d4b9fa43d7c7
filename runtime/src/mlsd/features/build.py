"""`mlsd features`: compute, apply, materialise, join; and prove that nothing was lost on the way."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlsd.core import clock
from mlsd.core.home import read_json
from mlsd.core.result import Check, StepResult
from mlsd.data.storage import load_tables
from mlsd.features.materialise import Materialised, materialise
from mlsd.features.online_stores.base import Reader, UserRow, online_store
from mlsd.features.training_set import build
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = 200
_READ_S = 5.0


def _same_view(row: UserRow, view: str, part: slice, newest: "pd.DataFrame", user: int) -> bool:
    """Whether the stored values of a view are those of the batch to the bit, or newer ones that were pushed."""
    written = row.written.get(view)
    if user not in newest.index:
        return written is None or written > newest["event_timestamp"].max()
    batch = newest.loc[user]
    if written is not None and written > batch["event_timestamp"]:
        return True
    expected = batch.drop("event_timestamp").to_numpy(dtype=np.float32)
    return np.array_equal(row.values[part], expected, equal_nan=True)


def _same_online(reader: Reader, problem: Problem, tables: dict[str, "pd.DataFrame"]) -> tuple[int, int]:
    """(users compared, users whose online row is the newest offline row of each view to the bit, or a newer one)."""
    newest, parts, start = {}, {}, 0
    for view, columns in problem.user_views.items():
        table = tables[view][["user_id", "event_timestamp", *columns]]
        newest[view] = table.groupby("user_id").tail(1).set_index("user_id")
        parts[view] = slice(start, start := start + len(columns))
    first = next(iter(newest.values()))
    users = first.index.to_numpy()[:: max(len(first) // _SAMPLE, 1)]
    equal = 0
    for user in users:
        row = reader.read(int(user))
        equal += row is not None and all(_same_view(row, v, parts[v], newest[v], user) for v in problem.user_views)
    return len(users), equal


def _checks(done: Materialised, rows: int, joined: int, compared: int, equal: int) -> list[Check]:
    online = sum(done.online_keys.values())
    return [
        Check(name="rows through the join", designed=f"{rows:,} in", measured=f"{joined:,} out", passed=rows == joined),
        Check(name="keys materialised", designed=">= 1", measured=f"{online:,}", passed=online > 0),
        Check(
            name="online equals offline",
            designed=f"{compared} users, to the bit",
            measured=f"{equal} users",
            passed=equal == compared > 0,
        ),
    ]


def run(context: Context) -> StepResult:
    """Bring offline store, online store, item snapshot and training frame up to date.

    Raises:
        UserError: the tables are missing, a feature row lies in the future, or the join lost a row.
    """
    from mlsd.prediction_log.retention import tidy

    design, home, problem = context.design, context.home, context.problem
    now, started = clock.now(), time.perf_counter()
    data = load_tables(home)
    tables = problem.feature_tables(data, design, now)
    computed_s = time.perf_counter() - started
    done = materialise(context, tables, end=now, now=now)
    materialised_s = time.perf_counter() - started - computed_s
    frame: Path = build(context, now)
    joined_s = time.perf_counter() - started - computed_s - materialised_s
    meta = read_json(frame.with_suffix(".json"), "run `mlsd features` again")
    online = online_store(design, home)
    with online.reachable():
        reader = online.reader(problem.user_views, timeout_s=_READ_S)
        compared, equal = _same_online(reader, problem, tables)
    rows = len(problem.labels(data, design, now))
    checks = _checks(done, rows, meta["rows"], compared, equal)
    tidy(home, design.serving.feature_log.retention_days)
    summary = f"{len(problem.feature_names)} features, {meta['rows']:,} training rows, snapshot {done.snapshot}"
    details = {
        "offline_rows": dict(done.offline_rows),
        "online_keys": dict(done.online_keys),
        "snapshot": done.snapshot,
        "training": meta,
        "seconds": {"compute": computed_s, "materialise": materialised_s, "join": joined_s},
    }
    return StepResult(step="features", summary=summary, checks=checks, details=details, at=clock.now())
