"""`mlsd retrain`: take in what arrived, bring the features up to date, run the same pipeline on the new slice."""

import json

from mlsd.core.clock import now
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.design.design import Design
from mlsd.pipelines import training
from mlsd.problem.problem import Problem


def _last_trained_on(home: Home) -> str | None:
    """Digest of the tables that the newest training saw."""
    paths = [path for name in ("train", "retrain") if (path := home.results / f"{name}.json").exists()]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["details"]["tables_digest"])
        except (ValueError, KeyError):  # half a file, or a run that had nothing to train on
            continue
    return None


def run(design: Design, home: Home, problem: Problem, window_days: int | None = None) -> StepResult:
    """Retrain if there is new data; the new model challenges the one that serves and is released by `mlsd release`.

    Raises:
        UserError: the tables are missing or broken, or another run is under way.
    """
    from mlsd.data.arrivals import arrive
    from mlsd.data.storage import digest
    from mlsd.features import build as features

    arrived = arrive(design, home, problem, now())
    if digest(home) == _last_trained_on(home):
        fresh = Check(name="new rows since the last training", designed=">= 1", measured="0", passed=False)
        return StepResult(
            step="retrain", summary="no new data, so no run; what serves goes on", checks=[fresh], at=now()
        )
    features.run(design, home, problem)
    trained = training.run(design, home, problem, window_days)
    return trained.model_copy(update={"step": "retrain", "details": {**trained.details, "arrived": arrived}})
