"""The end of the loop: the run that the last trigger started has ended, and what it left."""

import time
from typing import Any

from mlsd.core.clock import now
from mlsd.core.errors import UserError
from mlsd.core.home import Home, read_json
from mlsd.core.result import Check, StepResult
from mlsd.design.design import Design
from mlsd.monitoring import state
from mlsd.monitoring.triggers import hook_client

POLL_S = 0.5
DONE = ("succeeded", "failed")


def _ended(home: Home, key: str, timeout_s: float) -> dict[str, Any]:
    deadline = time.monotonic() + timeout_s
    run = hook_client.run_of(home, key)
    while run["status"] not in DONE and time.monotonic() < deadline:
        time.sleep(POLL_S)
        run = hook_client.run_of(home, key)
    return run


def wait_for_retrain(design: Design, home: Home, timeout_s: float = 300.0) -> StepResult:
    """Wait for the run of the last trigger, started by the hook server.

    Raises:
        UserError: nothing was triggered, or the hook server is gone.
    """
    key = state.load(home).last_key
    if key is None:
        raise UserError(f"{state.path_of(home)}: no trigger has fired; run `mlsd monitor` on shifted traffic")
    run = _ended(home, key, timeout_s)
    code = "no exit code" if run["exit_code"] is None else f"exit code {run['exit_code']}"
    ended = Check(
        name=f"{run['action']} run {run['run_id']}",
        designed="succeeded, once",
        measured=f"{run['status']}, {code}, attempt {run['attempts']}",
        passed=run["status"] == "succeeded" and run["attempts"] == 1,
    )
    checks, challenger = [ended], None
    if run["status"] == "succeeded":
        result = read_json(home.results / "retrain.json", "the run's log says why: " + str(run["log"]))
        challenger = result["details"].get("challenger")
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
