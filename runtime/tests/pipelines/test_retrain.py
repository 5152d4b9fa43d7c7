"""Retraining starts only on rows that no training has seen (3.27); it is promoted, refused by gates, or fails."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.monitoring.triggers.outbox import Outbox
from mlsd.monitoring.triggers.wait import _end
from mlsd.pipelines import retrain
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.registry.trainings import Training, first_champion, newest, path_of
from support.trained import trained


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


def test_no_new_rows_no_run(design: Design, home: Home, problem: Problem, calls: list[str]) -> None:
    trained(home, tables="now")
    result = retrain.run(Context.of(design, home, problem))
    assert not result.passed and "no new data" in result.summary
    assert calls == []


def test_new_rows_start_a_run(design: Design, home: Home, problem: Problem, calls: list[str]) -> None:
    trained(home, tables="before")
    with pytest.raises(InterruptedError):
        retrain.run(Context.of(design, home, problem))
    assert calls == ["features"]


@pytest.mark.parametrize(("exit_code", "status"), [(0, "succeeded"), (1, "refused"), (2, "failed"), (-9, "failed")])
def test_a_run_ends_in_one_of_three_ways(tmp_path: Path, exit_code: int, status: str) -> None:
    from datetime import timedelta

    outbox = Outbox(tmp_path / "hooks.db")
    run, _ = outbox.accept("retrain", "key", "drift", "now", timedelta(0))
    outbox.claim(run.run_id, "log")
    assert outbox.finish(run.run_id, exit_code)
    assert outbox.get(run.run_id).status == status


def test_a_refusal_names_the_gate_and_a_breakdown_its_exit_code() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    gate = Training(at=at, tables_digest="t", champion=1, challenger=None, refused="NDCG@10 over the champion: -0.05")
    refused, failed = {"status": "refused", "exit_code": 1}, {"status": "failed", "exit_code": 2}
    assert _end(refused, gate) == "refused by gates: NDCG@10 over the champion: -0.05"
    assert _end(failed, gate) == "failed, exit code 2"
    assert _end({"status": "succeeded", "exit_code": 0}, gate) == "succeeded"


def test_state_that_is_missing_or_damaged_is_named(home: Home) -> None:
    assert newest(home) is None
    with pytest.raises(UserError, match=r"training\.json: not found; run `mlsd train` first"):
        first_champion(home)
    path_of(home).parent.mkdir(parents=True)
    path_of(home).write_text('{"champion": "one"}')
    with pytest.raises(UserError, match=r"training\.json: at: .*; run `mlsd train` again"):
        first_champion(home)
