"""The training pipeline: what compiles is what runs, and every way it can refuse has its own answer."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mlsd.core.errors import GateError, UserError
from mlsd.core.home import Home, write_json
from mlsd.design.design import Design
from mlsd.pipelines import component_bodies, fences, local_run
from mlsd.pipelines.graph import compile_pipeline
from mlsd.pipelines.run import Outcome, Run, read_outcome
from mlsd.problem.problem import load_problem
from mlsd.registry import registry
from mlsd.training.gating.winner import InService
from support.frames import training_frame

pytestmark = pytest.mark.slow


def quick(design: Design, **changes: object) -> Design:
    content = design.model_dump(mode="json")
    content["training"] |= {"trees": 25, "bootstrap_rounds": 100}
    for path, value in changes.items():
        *parents, last = path.split("__")
        part = content
        for name in parents:
            part = part[name]
        part[last] = value
    return Design.model_validate(content)


def start(home: Home, design: Design) -> Run:
    home.root.mkdir(parents=True, exist_ok=True)
    folder = home.root / "pipelines" / "1"
    folder.mkdir(parents=True)
    write_json(folder / "design.yaml", design.model_dump(mode="json"))
    return Run(home=str(home.root), design=str(folder / "design.yaml"), folder=str(folder))


def frame_of(home: Home, design: Design, frame: pd.DataFrame | None = None) -> str:
    home.data.mkdir(parents=True, exist_ok=True)
    path = home.data / "training.parquet"
    names = load_problem(design.problem).feature_names
    (training_frame(names) if frame is None else frame).to_parquet(path, index=False)
    return str(path)


def fit(run: Run, frame: str, window_start: str = "", champion: str = "") -> Outcome:
    component_bodies.train(run, frame, "0123456789ab", window_start, champion)
    return read_outcome(Path(run.folder))


def test_the_compiled_pipeline_is_kubeflow_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4.14, 3.28: four steps in order, no caching, the data's digest and window are parameters."""
    monkeypatch.setenv("MLSD_PIPELINE_IMAGE", "registry.example/ranker-pipeline-python@sha256:0")
    compile_pipeline(tmp_path / "train.yaml")
    [spec] = yaml.safe_load_all((tmp_path / "train.yaml").read_text())
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == {"validate", "training-set", "train", "register"}
    assert [tasks[name].get("dependentTasks", []) for name in ("validate", "training-set", "register")] == [
        [],
        ["validate"],
        ["train"],
    ]
    assert all(not task["cachingOptions"] for task in tasks.values())
    assert {"tables_digest", "window_start", "window_end"} <= set(spec["root"]["inputDefinitions"]["parameters"])
    images = {executor["container"]["image"] for executor in spec["deploymentSpec"]["executors"].values()}
    assert images == {"registry.example/ranker-pipeline-python@sha256:0"}


def test_train_and_register_leave_champion_and_challenger(home: Home, design: Design) -> None:
    """4.08, 4.11, 4.13."""
    wanted = quick(design)
    run = start(home, wanted)
    outcome = fit(run, frame_of(home, wanted))
    versions = json.loads(component_bodies.register(run, str(Path(run.folder) / "outcome.json")))
    assert outcome.choice.champion == "boosted_trees/pointwise"
    found = {alias: entry for entry in registry.versions(home, wanted) for alias in entry.aliases}
    assert {alias: entry.version for alias, entry in found.items()} == versions
    assert set(versions) == {"champion", "challenger"}
    assert found["champion"].digest == outcome.candidates[2].digest
    for entry in found.values():
        assert (home.models / f"{entry.version}-{entry.digest[:12]}" / "manifest.json").exists()


def test_the_window_leaves_older_rows_out(home: Home, design: Design) -> None:
    """3.28, 6.11."""
    wanted = quick(design)
    run = start(home, wanted)
    path = frame_of(home, wanted)
    outcome = fit(run, path, window_start="2025-03-17T00:00:00+00:00")
    times = pd.read_parquet(path, columns=["at"])["at"]
    assert outcome.rows["all"] == int((times >= pd.Timestamp("2025-03-17", tz="UTC")).sum()) < len(times)


def test_with_a_model_in_service_the_new_one_is_only_a_challenger(home: Home, design: Design) -> None:
    wanted = quick(design)
    run = start(home, wanted)
    path = frame_of(home, wanted)
    first = fit(run, path)
    logistic = first.candidates[1]
    kept = home.root / "kept"
    Path(str(logistic.bundle)).rename(kept)
    held = InService(version=1, folder=str(kept), digest=str(logistic.digest))
    outcome = fit(run, path, champion=held.model_dump_json())
    assert outcome.choice.champion_ndcg10 == logistic.ndcg10
    assert outcome.choice.champion is None and outcome.choice.challenger is not None


def missed(outcome: Outcome) -> list[str]:
    return [check.name for check in outcome.checks if not check.passed]


@pytest.mark.fault("Empty or tiny training slice", "refuse with reason; champion stays")
@pytest.mark.fault("One-class labels", "refuse with reason")
@pytest.mark.parametrize(
    ("rows", "positives", "name"),
    [(0, 0, "labelled rows"), (1, 1, "labelled rows"), (50, 5, "labelled rows"), (6000, 0, "labels of both classes")],
)
def test_an_empty_tiny_or_one_class_slice_trains_nothing(
    home: Home, design: Design, rows: int, positives: int, name: str
) -> None:
    wanted = quick(design)
    run = start(home, wanted)
    frame = training_frame(load_problem(design.problem).feature_names, requests=600).iloc[:rows].copy()
    frame["label"] = (np.arange(rows) < positives).astype(np.int8)
    with pytest.raises(GateError, match=name):
        component_bodies.train(run, frame_of(home, wanted, frame), "0123456789ab", "", "")
    assert name in missed(read_outcome(Path(run.folder)))
    assert json.loads((Path(run.folder) / "error.json").read_text())["kind"] == "gate"
    assert not home.mlflow.exists()


@pytest.mark.fault("Label leakage", "blocked, the column is named")
def test_a_planted_leak_trains_nothing(home: Home, design: Design) -> None:
    """3.26."""
    names = load_problem(design.problem).feature_names
    wanted = quick(design)
    frame = training_frame(names)
    frame[names[7]] = frame["label"] + np.random.default_rng(0).normal(0, 0.01, len(frame)).astype(np.float32)
    run = start(home, wanted)
    with pytest.raises(GateError, match=names[7]):
        component_bodies.train(run, frame_of(home, wanted, frame), "0123456789ab", "", "")


def test_models_that_are_too_slow_are_refused_however_accurate(home: Home, design: Design) -> None:
    """4.06: the trees rank better than anything else and are over the budget."""
    wanted = quick(design, latency__hops_ms__inference=0.5, training__trees=100)
    outcome = fit(start(home, wanted), frame_of(home, wanted))
    _, logistic, *trees = outcome.candidates
    assert all(candidate.ndcg10 > logistic.ndcg10 for candidate in trees)
    assert all(not candidate.passed and "candidates, p99" in candidate.reason for candidate in trees)
    assert {outcome.choice.champion, outcome.choice.challenger} <= {logistic.name, None}


def test_when_no_model_passes_nothing_is_registered(home: Home, design: Design) -> None:
    wanted = quick(design, training__gates__min_lift=0.9)
    run = start(home, wanted)
    fit(run, frame_of(home, wanted))
    with pytest.raises(GateError, match="no model was registered"):
        component_bodies.register(run, str(Path(run.folder) / "outcome.json"))
    assert registry.versions(home, wanted) == []


def test_only_one_run_at_a_time(home: Home) -> None:
    with fences.exclusive(home), pytest.raises(UserError, match="another training run"), fences.exclusive(home):
        pass


def test_only_the_newest_runs_are_kept(tmp_path: Path) -> None:
    for _ in range(5):
        fences.new_folder(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "4", "5"]


def test_a_failed_step_comes_out_as_its_message(home: Home, design: Design) -> None:
    run = start(home, design)
    arguments = {
        "home": run.home,
        "design": run.design,
        "folder": run.folder,
        "tables_digest": "0123456789ab",
        "window_start": "",
        "window_end": datetime(2025, 4, 1, tzinfo=UTC).isoformat(),
        "champion": "",
    }
    with pytest.raises(UserError, match=r"users\.parquet: not found; run `mlsd data` first"):
        local_run.run_pipeline(home, Path(run.folder), arguments)


def test_a_step_that_breaks_down_points_at_the_log(home: Home, design: Design) -> None:
    run = start(home, design)
    (Path(run.folder) / "design.yaml").write_text("problem: [")
    (home.root / "logs").mkdir()
    arguments = dict.fromkeys(("design", "folder", "tables_digest", "window_start", "window_end", "champion"), "x")
    with pytest.raises(UserError, match=r"training pipeline failed: .*; see .*train\.log"):
        local_run.run_pipeline(
            home, Path(run.folder), {**arguments, "home": str(home.root), "folder": str(home.root / "elsewhere")}
        )
