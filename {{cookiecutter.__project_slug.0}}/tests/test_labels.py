"""What counts as an engagement, and when its label is known."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from mlsd.design.design import Design
from mlsd.problem.problem import Problem
from mlsd.problem.tables import Tables

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)


def tables(*engagements: tuple[int, str, float, float]) -> Tables:
    """Three impressions shown at AT; engagements (impression, event, value, hours after)."""
    shown = pd.DataFrame(
        {
            "impression_id": [1, 2, 3],
            "request_id": "r",
            "user_id": 1,
            "item_id": [10, 11, 12],
            "position": [0, 1, 2],
            "device": "mobile",
            "at": pd.to_datetime([AT] * 3),
        }
    )
    rows = [(i, 1, 9 + i, event, value, AT + timedelta(hours=h)) for i, event, value, h in engagements]
    columns = ["impression_id", "user_id", "item_id", "event", "value", "at"]
    return Tables(pd.DataFrame(), pd.DataFrame(), shown, pd.DataFrame(rows, columns=columns))


def changed(design: Design, **label: Any) -> Design:
    return design.model_copy(update={"label": design.label.model_copy(update=label)})


def positive(problem: Problem, design: Design, data: Tables, hours: float = 25) -> list[int]:
    rows = problem.labels(data, design, AT + timedelta(hours=hours))
    return rows.loc[rows["label"] == 1, "row_id"].tolist()


def test_a_click_counts_when_the_dwell_is_long_enough(problem: Problem, design: Design) -> None:
    """2.05: click and dwell of 30 s, not a raw click; changing the number changes the labels."""
    data = tables((1, "click", 29.9, 0.1), (2, "click", 30.0, 0.1), (3, "like", 1.0, 0.1))
    assert positive(problem, design, data) == [2]
    assert positive(problem, changed(design, min_dwell_s=10), data) == [1, 2]
    assert positive(problem, changed(design, event="like"), data) == [3]


@pytest.mark.parametrize(("hours", "rows"), [(23.9, 0), (24.0, 3)])
def test_a_young_impression_has_no_label(problem: Problem, design: Design, hours: float, rows: int) -> None:
    assert len(problem.labels(tables(), design, AT + timedelta(hours=hours))) == rows


def test_an_engagement_that_is_not_known_yet_is_not_seen(problem: Problem, design: Design) -> None:
    data = tables((1, "click", 60.0, 30))
    assert positive(problem, design, data, hours=25) == []
    assert positive(problem, design, data, hours=31) == [1]


def test_a_rating_counts_from_the_mark_of_the_mapping_on(problem: Problem, design: Design) -> None:
    mapped = design.model_copy(update={"data": design.data.model_copy(update={"source": "movielens"})})
    data = tables((1, "rating", 3.5, 0.1), (2, "rating", 4.0, 0.1))
    assert positive(problem, mapped, data) == [2]
