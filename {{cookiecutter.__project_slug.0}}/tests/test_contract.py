"""The contract stops a run on every kind of defect, and lets good data through (3.24, 3.25, 3.29)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.data import ingest
from mlsd.design.design import Design
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.problem.tables import Tables

Frame = pd.DataFrame


def change(table: str, edit: Callable[[Frame], Frame]) -> Callable[[Tables], Tables]:
    return lambda tables: replace(tables, **{table: edit(getattr(tables, table).copy())})


def put(column: str, row: int, value: Any) -> Callable[[Frame], Frame]:
    def edit(frame: Frame) -> Frame:
        values = list(frame[column])
        values[row] = value
        return frame.assign(**{column: pd.Series(values, index=frame.index)})

    return edit


DEFECTS = {
    "renamed column": (
        change("impressions", lambda f: f.rename(columns={"item_id": "post_id"})),
        ["impressions.item_id: found no such column", "'post_id'", "impressions.post_id"],
    ),
    "wrong type": (
        change("impressions", lambda f: f.assign(position=f["position"].astype(str))),
        ["impressions.position: found object such as '0', expected integer"],
    ),
    "duplicate key": (
        change("users", lambda f: pd.concat([f, f.iloc[[4]]], ignore_index=True)),
        ["users.user_id: row 300: found 5 again, expected a unique key (1 rows)"],
    ),
    "out of range": (
        change("engagements", put("value", 2, -3.0)),
        ["engagements.value: row 2: found -3.0, expected >= 0"],
    ),
    "not finite": (
        change("engagements", put("value", 2, np.inf)),
        ["engagements.value: row 2: found inf, expected a finite number"],
    ),
    "unknown foreign key": (
        change("impressions", put("user_id", 7, 99_999_999)),
        ["impressions.user_id: row 7: found 99999999, expected a user_id of table users (1 of"],
    ),
    "naive time": (
        change("items", lambda f: f.assign(created_at=f["created_at"].dt.tz_localize(None))),
        ["items.created_at: found naive times (no time zone), expected UTC time"],
    ),
    "another time zone": (
        change("items", lambda f: f.assign(created_at=f["created_at"].dt.tz_convert("Europe/Berlin"))),
        ["items.created_at: found times in Europe/Berlin, expected UTC time"],
    ),
    "unknown category value": (
        change("impressions", put("device", 3, "fridge")),
        ["impressions.device: row 3: found 'fridge', expected one of mobile, desktop, tablet, unknown"],
    ),
    "null": (change("users", put("country", 1, None)), ["users.country: row 1: found None, expected a value"]),
    "extra column": (
        change("items", lambda f: f.assign(price=1.0)),
        ["items.price: found a column that the contract does not know"],
    ),
    "empty table": (change("users", lambda f: f.iloc[:0]), ["users: found no rows, expected at least 1"]),
    "text where a list belongs": (
        change("items", lambda f: f.assign(categories="news")),
        ["items.categories: found object such as 'news', expected list of text"],
    ),
}


def test_good_data_passes(world: Tables, small_design: Design, problem: Problem) -> None:
    contract = problem.contract(small_design)
    assert contract.violations(world) == []
    assert contract.rules > 20
    contract.check(world)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_named(name: str, world: Tables, small_design: Design, problem: Problem) -> None:
    spoil, expected = DEFECTS[name]
    with pytest.raises(UserError) as caught:
        problem.contract(small_design).check(spoil(world))
    for part in expected:
        assert part in str(caught.value)


def test_all_defects_are_told_at_once(world: Tables, small_design: Design, problem: Problem) -> None:
    spoilt = DEFECTS["null"][0](DEFECTS["out of range"][0](DEFECTS["naive time"][0](world)))
    lines = problem.contract(small_design).violations(spoilt)
    assert len(lines) == 3


@pytest.mark.fault("Schema change upstream", "stops before training; nothing written")
def test_a_violation_stops_the_data_step_and_nothing_is_written(
    world: Tables, small_design: Design, problem: Problem, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoilt = DEFECTS["unknown foreign key"][0](world)
    monkeypatch.setattr(type(problem), "synthesise", lambda _self, _design: spoilt)
    with pytest.raises(UserError, match="breaks its contract"):
        ingest.run(Context.of(small_design, home, problem))
    assert not home.data.exists()
