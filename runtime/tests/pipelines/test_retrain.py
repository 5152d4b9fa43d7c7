"""Retraining starts only on rows that no training has seen (3.27)."""

import os

import pytest

from mlsd.core.home import Home, write_json
from mlsd.design.design import Design
from mlsd.pipelines import retrain
from mlsd.problem.problem import Problem


def _seen(home: Home, step: str, digest: str | None, at: int) -> None:
    path = home.results / f"{step}.json"
    write_json(path, {"details": {} if digest is None else {"tables_digest": digest}})
    os.utime(path, (at, at))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Tables with digest `now`, nothing arrives; a run that starts is noted and ended."""
    made: list[str] = []

    def features(*_: object) -> None:
        made.append("features")
        raise InterruptedError

    monkeypatch.setattr("mlsd.data.arrivals.arrive", lambda *_: 0)
    monkeypatch.setattr("mlsd.data.storage.digest", lambda _: "now")
    monkeypatch.setattr("mlsd.features.build.run", features)
    return made


@pytest.mark.parametrize(("step", "other"), [("train", "retrain"), ("retrain", "train")])
def test_no_new_rows_no_run(
    design: Design, home: Home, problem: Problem, calls: list[str], step: str, other: str
) -> None:
    _seen(home, other, "before", 1)
    _seen(home, step, "now", 2)
    result = retrain.run(design, home, problem)
    assert not result.passed and "no new data" in result.summary
    assert calls == []


def test_a_run_without_tables_does_not_hide_the_one_before(
    design: Design, home: Home, problem: Problem, calls: list[str]
) -> None:
    _seen(home, "train", "now", 1)
    _seen(home, "retrain", None, 2)
    assert not retrain.run(design, home, problem).passed
    assert calls == []


def test_new_rows_start_a_run(design: Design, home: Home, problem: Problem, calls: list[str]) -> None:
    _seen(home, "train", "before", 1)
    with pytest.raises(InterruptedError):
        retrain.run(design, home, problem)
    assert calls == ["features"]
