"""The end of the loop: the run that the last trigger started has ended, and what it left."""

import time
from typing import Any

from mlsd.core.clock import now
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.design.design import Design
from mlsd.monitoring import state
from mlsd.monitoring.triggers import hook_client
from mlsd.registry.trainings import Training, newest

POLL_S = 0.5
DONE = ("succeeded", "refused", "failed")


def _ended(home: Home, key: str, timeout_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    run = hook_client.run_of(home, key)
    while run["status"] not in DONE and time.monotonic() < deadline:
        time.sleep(POLL_S)
        run = hook_client.run_of(home, key)
    return run


def _end(run: dict[str, Any], trained: Training | None) -> str:
    """How it ended: a model that gates refused is an answer, a run that broke down is none."""
    if run["status"] == "refused":
        return f"refused by gates: {trained.refused}" if trained and trained.refused else "refused: no new data"
    return str(run["status"]) if run["exit_code"] in {0, None} else f"{run['status']}, exit code {run['exit_code']}"


def wait_for_retrain(design: Design, home: Home, timeout_s: float = 300.0) -> StepResult:
    """Wait for the run of the last trigger, started by the hook server.

    Raises:
        UserError: nothing was triggered, or the hook server is gone.
    """
    key = state.load(home).last_key
    if key is None:
        raise UserError(f"{state.path_of(home)}: no trigger has fired; run `mlsd monitor` on shifted traffic")
    run = _ended(home, key, timeout_s)
    trained = newest(home)
    ended = Check(
        name=f"{run['action']} run {run['run_id']}",
        designed="succeeded, once",
        measured=f"{_end(run, trained)}, attempt {run['attempts']}",
        passed=run["status"] == "succeeded" and run["attempts"] == 1,
    )
    checks, challenger = [ended], None
    if run["status"] == "succeeded":
        challenger = trained.challenger if trained else None
        checks.append(
            Check(
                name="new challenger",
                designed=f"registered as {design.name}",
                measured=f"version {challenger}" if challenger else "none",
                passed=challenger is not None,
            )
        )
    summary = f"{run['reason']} -> {run['action']} run {run['run_id']}: {run['status']}; its log: {run['log']}"
    details = {"run": run, "challenger": challenger}
    return StepResult(step="retrain_triggered", summary=summary, checks=checks, details=details, at=now())
