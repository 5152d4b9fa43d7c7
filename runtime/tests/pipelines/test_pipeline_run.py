"""One run of the training pipeline, by kfp in processes of its own, from the tables to the registry."""

import shutil
from pathlib import Path

import pytest

from mlsd.core.clock import _offset
from mlsd.core.home import Home
from mlsd.core.result import StepResult
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.records import Model
from mlsd.design.design import Design
from mlsd.models.scoring import load_bundle
from mlsd.pipelines import retrain, training
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.registry import registry
from mlsd.training.gating.winner import InService

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, featured_home: Home, small_design: Design, problem: Problem
) -> tuple[Home, StepResult]:
    """A state folder after `mlsd train`: four processes, started by kfp."""
    home = Home(tmp_path_factory.mktemp("trained") / "mlsd")
    shutil.copytree(featured_home.root, home.root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSD_HOME", str(home.root))
        _offset.cache_clear()
        result = training.run(Context.of(small_design, home, problem))
        result.save(home)
    _offset.cache_clear()
    return home, result


def test_the_pipeline_runs_here_from_the_tables_to_the_registry(
    trained: tuple[Home, StepResult], small_design: Design
) -> None:
    """4.14, 4.02: the very graph that compiles; NDCG@10 of each family and its difference to popularity are told."""
    home, result = trained
    assert result.passed, result.checks
    leaderboard = result.details["leaderboard"]
    assert isinstance(leaderboard, list) and [row["family"] for row in leaderboard][:2] == [
        "popularity",
        "logistic_regression",
    ]
    assert all(
        {"ndcg10", "ndcg10_ci", "lift", "lift_ci", "p99_ms", "slices", "passed", "reason"} <= set(row)
        for row in leaderboard
    )
    assert result.checks[0].name == "NDCG@10 over popularity"
    by_alias = {alias: entry for entry in registry.versions(home, small_design) for alias in entry.aliases}
    for role in ("champion", "challenger"):
        assert by_alias[role].version == result.details[role]
        assert by_alias[role].digest == result.details[f"{role}_digest"]
        load_bundle(Path(str(result.details[f"{role}_folder"])), by_alias[role].digest)


def test_nothing_is_written_outside_the_state_folder_by_a_run(trained: tuple[Home, StepResult]) -> None:
    home, _ = trained
    assert not (Path.cwd() / "local_outputs").exists() and not (Path.cwd() / "mlruns").exists()
    assert (home.root / "pipelines" / "1" / "pipeline.yaml").exists()
    assert "Pipeline" in (home.logs / "train.log").read_text()


def test_without_new_data_there_is_no_retraining(
    trained: tuple[Home, StepResult], small_design: Design, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3.27: no new data, no run, reason told."""
    home, _ = trained
    monkeypatch.setenv("MLSD_HOME", str(home.root))
    result = retrain.run(Context.of(small_design, home, problem))
    assert not result.passed and result.summary.startswith("no new data")
    assert [path.name for path in (home.root / "pipelines").iterdir() if path.name.isdigit()] == ["1"]


def test_the_model_in_service_is_that_of_the_live_release(home: Home) -> None:
    assert training.in_service(home) is None
    ledger = Ledger(home.releases_db)
    assert training.in_service(home) is None
    model = Model(version=4, digest="ab" * 32, feature_service="ranking_v1", code_version="src-1")
    ledger.bootstrap(model, "d", "test")
    held = training.in_service(home)
    assert held == InService(version=4, folder=str(home.models / f"4-{'ab' * 6}"), digest="ab" * 32)
