"""The registry on a real MLflow store: versions, digests, aliases, and what happens when it is dead or lies."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.models.bundle import ModelRefused
from mlsd.models.engines import benchmark
from mlsd.models.scoring import load_bundle
from mlsd.plan.model_costs import REQUEST_MS
from mlsd.registry import registry
from mlsd.registry.mlflow_store import client, tracking_uri
from mlsd.training.bundling import Lineage
from mlsd.training.candidate import Candidate
from mlsd.training.engine_benchmark import benchmark_engines, compiling
from mlsd.training.leaderboard import Parts, run_leaderboard
from mlsd.training.recording import tracking
from mlsd.training.rows import from_frame
from mlsd.training.serving_cost import usd_per_1000
from support.frames import training_frame

pytestmark = pytest.mark.slow


FEATURES = ("a", "b", "c", "d", "e")
PACK = SimpleNamespace(feature_names=FEATURES, user_columns=("a", "b"), item_columns=("c", "d", "e"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def candidates(design: Design, store: Home, tmp_path_factory: pytest.TempPathFactory) -> list[Candidate]:
    content = design.model_dump(mode="json")
    content["training"] |= {"trees": 10, "bootstrap_rounds": 100}
    frame = training_frame(FEATURES, requests=600)
    parts = Parts(*(from_frame(frame[i * 2400 : (i + 1) * 2400], FEATURES) for i in range(3)))
    lineage = Lineage("0123456789ab", "src-test", datetime(2025, 4, 1, tzinfo=UTC))
    small, folder = Design.model_validate(content), tmp_path_factory.mktemp("models")
    with compiling(store, folder / "texts") as begin:
        made = run_leaderboard(small, PACK, parts, lineage, folder, begin)
    return benchmark_engines(small, store, made, {candidate.name for candidate in made[1:]}, parts.test)


@pytest.fixture(scope="module")
def registered(
    store: Home, design: Design, candidates: list[Candidate], tmp_path_factory: pytest.TempPathFactory
) -> list[int]:
    leaderboard = tracking.log_leaderboard(
        store, design, candidates, {"mlsd.run": "1"}, tmp_path_factory.mktemp("plots")
    )
    made = []
    for candidate in candidates[1:]:
        run, source = tracking.log_candidate(store, design, candidate, leaderboard)
        made.append(registry.register(store, design, Path(str(candidate.bundle)), run, source))
    return made


def test_versions_carry_digest_lineage_and_aliases(
    store: Home, design: Design, candidates: list[Candidate], registered: list[int]
) -> None:
    """4.13, 4.24: version, alias, signature, lineage."""
    assert registered == [1, 2, 3]
    registry.set_aliases(store, design, champion=2, challenger=3)
    found = registry.versions(store, design)
    assert [entry.digest for entry in found] == [candidate.digest for candidate in candidates[1:]]
    assert [entry.aliases for entry in found] == [(), ("champion",), ("challenger",)]
    registry.set_aliases(store, design, champion=3, previous=2)
    registry.drop_alias(store, design, "challenger")
    registry.drop_alias(store, design, "challenger")
    assert [entry.aliases for entry in registry.versions(store, design)] == [(), ("previous",), ("champion",)]


def test_runs_have_parameters_metrics_plots_signature_and_digests(
    store: Home, design: Design, candidates: list[Candidate], registered: list[int]
) -> None:
    """4.11."""
    with client(store) as mlflow:
        entry = mlflow.get_model_version(design.name, "2")
        run = mlflow.get_run(entry.run_id)
        parent = mlflow.get_run(run.data.tags["mlflow.parentRunId"])
        plots = {artifact.path for artifact in mlflow.list_artifacts(parent.info.run_id, "plots")}
    assert run.data.metrics["ndcg10"] == pytest.approx(candidates[2].ndcg10)
    assert "weekend.ndcg10" in run.data.metrics
    assert run.data.tags["mlsd.digest"] == candidates[2].digest
    assert run.data.tags["mlsd.verdict"].startswith(("passed", "refused"))
    assert parent.data.params["gates.min_auc"] == str(design.training.gates.min_auc)
    assert plots == {"plots/reliability.svg", "plots/ndcg.svg"}


def test_training_records_which_engine_meets_the_budget_and_what_it_costs(
    store: Home, design: Design, candidates: list[Candidate], registered: list[int]
) -> None:
    """4.21, 4.22, 5.11: engine, p50, p99, gain, difference, cost; int8 with its loss, or why it makes no sense."""
    linear, trees = candidates[1].engines, candidates[2].engines
    assert linear is not None and trees is not None
    assert [row.engine for row in linear.engines] == ["linear", "onnx", "onnx_int8"]
    assert [row.engine for row in trees.engines] == ["lightgbm", "lleaves", "onnx"]
    assert trees.refused == {"onnx_int8": "no operator of an ensemble of trees can be quantised"}
    native, fast, graph = trees.engines
    assert trees.best == "lleaves" and fast.ratio < 1 and fast.max_difference <= 1e-9 and fast.same_order
    assert fast.meets_budget and fast.ndcg10_change == 0 and 0 < fast.usd_per_1000 < native.usd_per_1000
    assert 1e-9 < graph.max_difference < 1e-4, "close, and not the same: auto does not take it"
    assert linear.best == "linear" and linear.engines[2].max_difference > 1e-4
    for version, candidate in zip(registered[1:], candidates[2:], strict=True):
        assert benchmark.read(registry.fetch(store, design, version)) == candidate.engines
    with client(store) as mlflow:
        run = mlflow.get_run(mlflow.get_model_version(design.name, "2").run_id)
    assert run.data.tags["mlsd.engine"] == "lleaves"
    assert run.data.metrics["engine.lleaves.ratio"] == pytest.approx(fast.ratio)
    assert run.data.metrics["engine.onnx.usd_per_1000"] == pytest.approx(graph.usd_per_1000)


def test_a_model_over_the_budget_says_so(design: Design, candidates: list[Candidate], store: Home) -> None:
    content = design.model_dump(mode="json")
    content["latency"]["hops_ms"]["inference"] = 0.001
    frame = training_frame(FEATURES, requests=30)
    rows = from_frame(frame, FEATURES)
    [candidate] = benchmark_engines(Design.model_validate(content), store, candidates[1:2], {candidates[1].name}, rows)
    assert candidate.engine is not None and not candidate.engine.meets_budget


def test_the_cost_follows_prices_and_load(design: Design) -> None:
    """4.22"""
    content = design.model_dump(mode="json")
    content["capacity"]["load"] = design.capacity.load / 2
    assert usd_per_1000(Design.model_validate(content), 2.0) == pytest.approx(2 * usd_per_1000(design, 2.0))
    by_hand = (2.0 + REQUEST_MS) / 1e3 * 1000 / 0.7 / 3600 * (0.0445 + 0.5 * 0.0049)
    assert usd_per_1000(design, 2.0) == pytest.approx(by_hand)


def test_the_trees_load_through_mlflow_and_their_signature_names_the_features(
    store: Home, design: Design, registered: list[int]
) -> None:
    import mlflow

    mlflow.set_tracking_uri(tracking_uri(store))
    info = mlflow.models.get_model_info(f"models:/{design.name}/2")
    assert info.signature is not None and info.signature.inputs.input_names() == list(FEATURES)


def test_fetch_gives_a_verified_copy_once(
    store: Home, design: Design, candidates: list[Candidate], registered: list[int]
) -> None:
    folder = registry.fetch(store, design, 3)
    assert folder == store.models / f"3-{str(candidates[3].digest)[:12]}"
    before = (folder / "model.txt").stat().st_mtime_ns
    assert registry.fetch(store, design, 3) == folder
    assert (folder / "model.txt").stat().st_mtime_ns == before
    load_bundle(folder, registry.digest_of(store, design, 3))
    assert [path.name for path in store.models.iterdir() if path.name.startswith(".")] == []


def test_an_altered_artefact_is_refused_and_leaves_no_copy(store: Home, design: Design, registered: list[int]) -> None:
    with client(store) as mlflow:
        run = mlflow.get_model_version(design.name, "1").run_id
        place = Path(mlflow.get_run(run).info.artifact_uri.removeprefix("file://")) / "bundle" / "weights.json"
    original = place.read_text()
    content = json.loads(original)
    place.write_text(json.dumps({**content, "intercept": content["intercept"] + 1}))
    try:
        with pytest.raises(ModelRefused, match=r"weights\.json"):
            registry.fetch(store, design, 1)
    finally:
        place.write_text(original)
    assert not list(store.models.glob("1-*"))


def test_a_damaged_local_copy_is_fetched_again(store: Home, design: Design, registered: list[int]) -> None:
    folder = registry.fetch(store, design, 2)
    whole = (folder / "model.txt").read_bytes()
    (folder / "model.txt").write_text("tree")
    assert registry.fetch(store, design, 2) == folder
    assert (folder / "model.txt").read_bytes() == whole
    assert [path.name for path in store.models.iterdir() if path.name.startswith(".")] == []


def test_an_unknown_version_names_the_known_ones(store: Home, design: Design, registered: list[int]) -> None:
    with pytest.raises(UserError, match="version 99 is not registered; known: 1, 2, 3"):
        registry.digest_of(store, design, 99)


def test_an_empty_registry_has_no_versions(home: Home, design: Design) -> None:
    assert registry.versions(home, design) == []


def test_a_dead_registry_gives_an_error_in_seconds(home: Home, design: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLSD_MLFLOW_URL", "http://127.0.0.1:9")
    started = time.monotonic()
    with pytest.raises(UserError, match=r"model registry http://127\.0\.0\.1:9"):
        registry.digest_of(home, design, 1)
    assert time.monotonic() - started < 90
