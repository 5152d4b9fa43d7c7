"""`mlsd retrain`: take in what arrived, bring the features up to date, run the same pipeline on the new slice."""

from mlsd.core.clock import now
from mlsd.core.result import Check, StepResult
from mlsd.pipelines import training
from mlsd.problem.context import Context
from mlsd.registry.trainings import newest


def run(context: Context, window_days: int | None = None) -> StepResult:
    """Retrain if there is new data. It ends in one of three ways: promoted, a new challenger that `mlsd release` takes
    on; refused, by the gates that the result names; or failed, which is an error.

    Raises:
        UserError: the tables are missing or broken, or another run is under way.
    """
    from mlsd.data.arrivals import arrive
    from mlsd.data.storage import digest
    from mlsd.features import build as features

    home = context.home
    arrived = arrive(context, now())
    last = newest(home)
    if last and digest(home) == last.tables_digest:
        fresh = Check(name="new rows since the last training", designed=">= 1", measured="0", passed=False)
        return StepResult(
            step="retrain", summary="no new data, so no run; what serves goes on", checks=[fresh], at=now()
        )
    features.run(context)
    trained = training.run(context, window_days)
    return trained.model_copy(update={"step": "retrain", "details": {**trained.details, "arrived": arrived}})
