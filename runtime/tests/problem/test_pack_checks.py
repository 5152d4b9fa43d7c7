"""Names of a design that are nothing in its pack are refused, with the nearest one and all that are known."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.problem.context import Context
from mlsd.problem.names import require_known_names
from mlsd.problem.problem import Problem


def changed(design: Design, field: str, value: Any) -> Design:
    content = design.model_dump(mode="json")
    *sections, last = field.split(".")
    part = content
    for section in sections:
        part = part[section]
    part[last] = value
    return Design.model_validate(content)


def refusal(design: Design, problem: Problem) -> list[str]:
    with pytest.raises(UserError) as caught:
        require_known_names(design, problem)
    return str(caught.value).splitlines()


def test_the_projects_own_names_are_known(design: Design, problem: Problem) -> None:
    require_known_names(design, problem)


def test_a_misspelt_critical_feature(design: Design, problem: Problem) -> None:
    wrong = changed(design, "monitoring.critical_features", ["item_age_hours", "item_ctr", "usr_ctr"])
    first, second = refusal(wrong, problem)
    assert "monitoring.critical_features: found 'item_age_hours', expected a feature of the pack, nearest" in first
    assert "nearest 'item_age_h' (known: " in first
    assert "found 'usr_ctr'" in second
    assert all(name in second for name in problem.feature_names)


def test_a_metric_that_the_pack_does_not_compute(design: Design, problem: Problem) -> None:
    for name in ("retention", "conversion", "revenue", "watchtime"):
        (line,) = refusal(changed(design, "success.metric", name), problem)
        assert f"success.metric: found '{name}', expected a metric that the pack computes" in line
        assert "(known: ctr, watch_time, engagement_rate)" in line
    assert "nearest 'watch_time'" in line


@pytest.mark.parametrize("metric", ["ctr", "engagement_rate"])
def test_a_share_that_cannot_be_reached(design: Design, problem: Problem, metric: str) -> None:
    success = {"metric": metric, "because": "it is what we are paid for"}
    (line,) = refusal(changed(design, "success", success | {"target": 1.0}), problem)
    assert "success.target: found 1, expected below 1 " in line
    require_known_names(changed(design, "success", success | {"target": 0.99}), problem)


def test_seconds_of_a_source_that_has_none(design: Design, problem: Problem) -> None:
    watched = changed(design, "success", {"metric": "watch_time", "target": 2.0, "because": "time is what counts"})
    require_known_names(watched, problem)
    (line,) = refusal(changed(watched, "data.source", "movielens"), problem)
    assert "success.metric: found 'watch_time', expected one of ctr, engagement_rate: movielens has no seconds" in line


def test_a_column_that_no_table_has(design: Design, problem: Problem) -> None:
    field = "data.mappings.movielens.items.columns"
    wrong = changed(design, field, {"item_id": "movieId", "titel": "title"})
    (line,) = refusal(wrong, problem)
    assert "movielens.items.columns: found 'titel', expected a column of items, nearest 'title'" in line


def test_whatever_reads_the_design_compares_names(
    design: Design, tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "design.yaml"
    wrong = changed(design, "monitoring.critical_features", ["item_age_hours"])
    path.write_text(yaml.safe_dump(wrong.model_dump(mode="json")), encoding="utf-8")
    monkeypatch.setenv("MLSD_DESIGN", str(path))
    with pytest.raises(UserError, match="item_age_hours"):
        _ = Context(home).declared
    done = subprocess.run(
        [sys.executable, "-m", "mlsd.commands.cli", "plan"], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 2
    assert f"{path}: monitoring.critical_features: found 'item_age_hours'" in done.stderr
    assert not home.results.exists()
