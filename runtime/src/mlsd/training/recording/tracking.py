"""Runs in MLflow: parameters, metrics, plots, signature, digests. A refused model is tracked too, with its reason."""

import importlib.metadata
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.models.bundle import read_bundle
from mlsd.registry.mlflow_store import client, prepare
from mlsd.registry.registry import ARTIFACT
from mlsd.training.candidate import Candidate
from mlsd.training.families import training_family
from mlsd.training.recording import plots

if TYPE_CHECKING:
    from mlflow import MlflowClient


def _experiment(home: Home, design: Design) -> str:
    with client(home) as mlflow:
        found = mlflow.get_experiment_by_name(design.name)
        if found is not None:
            return str(found.experiment_id)
        local = (home.mlflow / "artifacts").as_uri() if prepare(home).startswith("sqlite") else None
        return str(mlflow.create_experiment(design.name, artifact_location=local))


def _parameters(design: Design) -> dict[str, str]:
    flat = {f"training.{name}": value for name, value in design.training.model_dump(exclude={"gates"}).items()}
    gates = {f"gates.{name}": value for name, value in design.training.gates.model_dump().items()}
    return {
        name: str(value)
        for name, value in {**flat, **gates, "ranking": design.ranking, "seed": design.data.seed}.items()
    }


def _pinned(*packages: str) -> list[str]:
    return [f"{name}=={importlib.metadata.version(name)}" for name in packages]


def _log(mlflow: "MlflowClient", run: str, metrics: dict[str, float], parameters: dict[str, str]) -> None:
    """In one transaction: one by one each number is a commit of its own."""
    from mlflow.entities import Metric, Param

    moment = int(time.time() * 1000)
    mlflow.log_batch(
        run,
        metrics=[Metric(name, value, moment, 0) for name, value in metrics.items()],
        params=[Param(name, value) for name, value in parameters.items()],
    )


def log_leaderboard(home: Home, design: Design, candidates: list[Candidate], tags: dict[str, str], folder: Path) -> str:
    """One run for the whole leaderboard: parameters, NDCG@10 of each candidate, the plots.

    Returns:
        The run's id.
    """
    pictures = (
        [plots.reliability_curve(candidates, folder), plots.ndcg_by_model(candidates, folder)] if candidates else []
    )
    with client(home) as mlflow:
        run = mlflow.create_run(_experiment(home, design), tags=tags, run_name="leaderboard").info.run_id
        _log(
            mlflow,
            run,
            {f"ndcg10.{candidate.name.replace('/', '.')}": candidate.ndcg10 for candidate in candidates},
            _parameters(design),
        )
        for picture in pictures:
            mlflow.log_artifact(run, str(picture), "plots")
        mlflow.set_terminated(run)
    return str(run)


def log_candidate(home: Home, design: Design, candidate: Candidate, parent: str) -> tuple[str, str | None]:
    """One run for one model, below the leaderboard's: metrics, slices, verdict, bundle, MLflow's own flavour of trees.

    Returns:
        The run's id, and the address of the flavour if there is one.
    """
    manifest, text, digest = read_bundle(Path(str(candidate.bundle)), candidate.digest)
    tags = {
        "mlflow.parentRunId": parent,
        "mlsd.digest": digest,
        "mlsd.tables_digest": manifest.tables_digest,
        "mlsd.design_digest": manifest.design_digest,
        "mlsd.code_version": manifest.code_version,
        "mlsd.engine": candidate.engine.engine if candidate.engine else "not measured",
        "mlsd.verdict": "passed" if candidate.passed else f"refused: {candidate.reason}"[:5000],
    }
    slices = {f"{name}.{key}": value for name, row in candidate.slices.items() for key, value in row.plain.items()}
    with client(home) as mlflow:
        run = mlflow.create_run(_experiment(home, design), tags=tags, run_name=candidate.name).info.run_id
        _log(mlflow, run, {**candidate.plain, **slices, **candidate.engine_metrics}, {})
        mlflow.log_artifacts(run, str(candidate.bundle), ARTIFACT)
        flavoured = training_family(candidate.family).mlflow_flavour == "lightgbm"
        source = _log_flavour(home, run, text, manifest.feature_names) if flavoured else None
        mlflow.set_terminated(run)
    return str(run), source


def _log_flavour(home: Home, run: str, text: str, features: list[str]) -> str:
    """The trees as `mlflow.lightgbm` knows them, with signature: raw scores, before calibration."""
    import mlflow
    from lightgbm import Booster
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs = Schema([ColSpec(DataType.float, name) for name in features])
    signature = ModelSignature(inputs=inputs, outputs=Schema([ColSpec(DataType.double)]))
    mlflow.set_tracking_uri(prepare(home))
    with mlflow.start_run(run_id=run):
        info = mlflow.lightgbm.log_model(
            Booster(model_str=text),
            name="model",
            signature=signature,
            pip_requirements=_pinned("lightgbm", "mlflow", "numpy"),  # without it MLflow starts a process to find out
        )
    return str(info.model_uri)
