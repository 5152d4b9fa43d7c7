"""`mlsd data` and `mlsd features`: each gate fires on what it is for, and is silent otherwise."""

import json
from typing import Any

import pytest

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.data import ingest as data_step
from mlsd.design.design import Design
from mlsd.features import build as features_step
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.tasks.ranking.request import parse

pytestmark = pytest.mark.slow


def verdicts(result: Any) -> dict[str, bool]:
    return {check.name: check.passed for check in result.checks}


def with_data(design: Design, **changes: Any) -> Design:
    return design.model_copy(update={"data": design.data.model_copy(update=changes)})


def test_good_data_passes_and_the_clock_stands_at_the_end_of_the_world(
    small_design: Design, problem: Problem, home: Home
) -> None:
    """1.08: span, rows and label rate are measured."""
    result = data_step.run(Context.of(small_design, home, problem))
    assert result.passed
    assert result.details["counts"]["users"] == 300  # type: ignore[index,call-overload]
    assert 0.03 < result.details["label_rate"] < 0.1  # type: ignore[operator]
    assert clock.now().isoformat().startswith("2026-03-04T00:00")
    clock._offset.cache_clear()


@pytest.mark.parametrize(("change", "gate"), [({"min_history_days": 40}, "history"), ({"min_rows": 10**7}, "rows")])
def test_too_little_data_fails_its_gate(
    small_design: Design, problem: Problem, home: Home, change: dict[str, int], gate: str
) -> None:
    """1.09: the first step measures the span and fails below the declared minimum."""
    result = data_step.run(Context.of(with_data(small_design, **change), home, problem))
    assert [name for name, passed in verdicts(result).items() if not passed] == [gate]
    clock._offset.cache_clear()


def test_one_kind_of_labels_fails_its_gate(small_design: Design, problem: Problem, home: Home) -> None:
    nothing = small_design.model_copy(update={"label": small_design.label.model_copy(update={"min_dwell_s": 1e9})})
    assert not verdicts(data_step.run(Context.of(nothing, home, problem)))["labels of both kinds"]
    clock._offset.cache_clear()


def test_traffic_holds_requests_that_the_service_accepts(featured_home: Home, small_design: Design) -> None:
    for name in ("traffic", "traffic_shifted"):
        lines = (featured_home.data / f"{name}.jsonl").read_bytes().splitlines()
        assert len(lines) == 4000
        for line in lines[:50]:
            assert parse(line, small_design.scale.candidates).user_id == json.loads(line)["user_id"]


def test_features_pass_on_the_small_world(featured_home: Home) -> None:
    result = json.loads((featured_home.results / "features.json").read_text())
    assert [check["passed"] for check in result["checks"]] == [True, True, True]
    assert result["details"]["training"]["rows"] > 30_000


def test_features_without_data_say_what_to_run(small_design: Design, problem: Problem, home: Home) -> None:
    with pytest.raises(UserError, match="run `mlsd data` first"):
        features_step.run(Context.of(small_design, home, problem))


def state(home: Home) -> dict[str, bytes]:
    return {str(path.relative_to(home.root)): path.read_bytes() for path in home.root.rglob("*") if path.is_file()}


def test_a_run_that_fails_leaves_everything_as_it_was(small_design: Design, problem: Problem, home: Home) -> None:
    """The tables, the log of what was served and the world's clock: nothing changes before every check has passed."""
    assert data_step.run(Context.of(small_design, home, problem)).passed
    home.feature_log.mkdir()
    (home.feature_log / "a.log").write_bytes(b"served")
    before, now = state(home), clock.now()
    result = data_step.run(Context.of(with_data(small_design, min_rows=10**7), home, problem))
    assert not result.passed and result.summary.endswith("nothing was written: what lay there before is as it was")
    assert state(home) == before
    clock.reread()
    assert abs(clock.now() - now).total_seconds() < 60
    clock.reread()


def test_a_new_world_keeps_the_log_of_the_old_one(small_design: Design, problem: Problem, home: Home) -> None:
    for number in (1, 2):
        home.feature_log.mkdir(parents=True)
        (home.feature_log / "a.log").write_bytes(b"served %d" % number)
        assert data_step.run(Context.of(small_design, home, problem)).passed
        assert not home.feature_log.exists()
        assert (home.root / f"feature_log.{number}" / "a.log").read_bytes() == b"served %d" % number
    assert [path.name for path in home.root.iterdir() if path.name.startswith(".")] == []
    clock.reread()
