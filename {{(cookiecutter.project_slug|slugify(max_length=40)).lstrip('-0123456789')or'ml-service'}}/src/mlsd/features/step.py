"""`mlsd features`: compute, apply, materialise, join; and prove that nothing was lost on the way."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlsd import clock
from mlsd.data.tables import load_tables
from mlsd.design import Design
from mlsd.features.materialise import Materialised, materialise
from mlsd.features.online import UserReader
from mlsd.features.training_set import build
from mlsd.home import Home, read_json
from mlsd.problem import Problem
from mlsd.result import Check, StepResult

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = 200


def _same_online(design: Design, home: Home, problem: Problem, tables: dict[str, "pd.DataFrame"]) -> tuple[int, int]:
    """(users compared, users whose online row equals the newest offline row of each view to the bit)."""
    reader = UserReader(home.online_store, design.name, problem.user_views, timeout_s=5)
    newest = {view: tables[view].groupby("user_id").tail(1).set_index("user_id") for view in problem.user_views}
    first = next(iter(newest.values()))
    users = first.index.to_numpy()[:: max(len(first) // _SAMPLE, 1)]
    equal = 0
    for user in users:
        row = reader.read(int(user))
        parts = []
        for view, columns in problem.user_views.items():
            known = user in newest[view].index
            stored = newest[view].loc[user, list(columns)] if known else np.full(len(columns), np.nan)
            parts.append(np.asarray(stored, dtype=np.float32))
        equal += row is not None and np.array_equal(row.values, np.concatenate(parts), equal_nan=True)
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


def run(design: Design, home: Home, problem: Problem) -> StepResult:
    """Bring offline store, online store, item snapshot and training frame up to date.

    Raises:
        UserError: the tables are missing, a feature row lies in the future, or the join lost a row.
    """
    now, started = clock.now(), time.perf_counter()
    data = load_tables(home)
    tables = problem.feature_tables(data, design, now)
    computed_s = time.perf_counter() - started
    done = materialise(design, home, problem, tables, end=now, now=now)
    materialised_s = time.perf_counter() - started - computed_s
    frame: Path = build(design, home, problem, now)
    joined_s = time.perf_counter() - started - computed_s - materialised_s
    meta = read_json(frame.with_suffix(".json"), "run `mlsd features` again")
    compared, equal = _same_online(design, home, problem, tables)
    rows = len(problem.labels(data, design, now))
    checks = _checks(done, rows, meta["rows"], compared, equal)
    summary = f"{len(problem.feature_names)} features, {meta['rows']:,} training rows, snapshot {done.snapshot}"
    details = {
        "offline_rows": dict(done.offline_rows),
        "online_keys": dict(done.online_keys),
        "snapshot": done.snapshot,
        "training": meta,
        "seconds": {"compute": computed_s, "materialise": materialised_s, "join": joined_s},
    }
    return StepResult(step="features", summary=summary, checks=checks, details=details, at=clock.now())
