"""The business metrics of the pack, each in its unit, from what was known at the time."""

from datetime import timedelta

import pytest
from test_labels import AT, tables

from mlsd.design.design import Design
from mlsd.problem.problem import Problem


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("ctr", [1.0, 1.0, 0.0]), ("watch_time", [45.0, 3.0, 0.0]), ("engagement_rate", [1.0, 0.0, 0.0])],
)
def test_gains(design: Design, problem: Problem, metric: str, expected: list[float]) -> None:
    """A click that held and a short one on the first item, a bounce on the second, a like and a late click there."""
    data = tables(
        (1, "click", 40.0, 1), (1, "click", 5.0, 2), (2, "click", 3.0, 1), (2, "like", 1.0, 1), (3, "click", 90.0, 50)
    )
    success = design.success.model_copy(update={"metric": metric})
    label = design.label.model_copy(update={"event": "click", "min_dwell_s": 30.0, "maturity_h": 24.0})
    chosen, now = design.model_copy(update={"success": success, "label": label}), AT + timedelta(hours=25)
    rows = problem.labels(data, chosen, now)
    assert rows["row_id"].tolist() == [1, 2, 3]
    assert problem.gains(rows, data, chosen, now).tolist() == expected
    later = problem.gains(rows, data, chosen, AT + timedelta(hours=51))
    if metric != "engagement_rate":
        assert later[2] > 0


def test_ratings_are_clicks(design: Design, problem: Problem) -> None:
    data, now = tables((1, "rating", 2.0, 1)), AT + timedelta(hours=25)
    chosen = design.model_copy(update={"success": design.success.model_copy(update={"metric": "ctr"})})
    assert problem.gains(problem.labels(data, chosen, now), data, chosen, now).tolist() == [1.0, 0.0, 0.0]


def test_no_impressions(design: Design, problem: Problem) -> None:
    data, now = tables(), AT  # nothing is mature yet
    for metric in problem.business_metrics:
        chosen = design.model_copy(update={"success": design.success.model_copy(update={"metric": metric})})
        assert problem.gains(problem.labels(data, chosen, now), data, chosen, now).shape == (0,)
