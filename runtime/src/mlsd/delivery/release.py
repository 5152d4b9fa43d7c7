"""A release from its model version to its end, whichever that is."""

from typing import cast

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import StepResult
from mlsd.delivery import outcome
from mlsd.delivery.analysis.analysis_run import StepAnalysis
from mlsd.delivery.analysis.timeline import Timeline
from mlsd.delivery.analysis.verdict import Gate
from mlsd.delivery.edge.routing import Slot, Traffic
from mlsd.delivery.recovery import live_slot, recover
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.lock import exclusive
from mlsd.delivery.releases.models import Models
from mlsd.delivery.releases.records import Release
from mlsd.delivery.rollout import ACTOR, Fault, Rollout, SupersededError
from mlsd.delivery.target import DeploymentTarget
from mlsd.design.design import Design
from mlsd.plan.rollout import Step


def _failed_start(error: UserError) -> StepAnalysis:
    gate = Gate("candidate starts", "ready", str(error).splitlines()[0].partition(";")[0], "fail", 1, bad=True)
    return StepAnalysis(Step("shadow", 0, 0, 0.0), [gate], "fail", 0.0, None)


def _go(rollout: Rollout) -> None:
    try:
        rollout.start()
    except UserError as error:
        rollout.seen.append(_failed_start(error))
        rollout.abort(rollout.seen[-1].reason)
        return
    if rollout.climb():
        rollout.promote()
    else:
        rollout.abort(rollout.seen[-1].reason)


def _go_safely(rollout: Rollout) -> None:
    """Whatever ends it, all traffic is back on the champion."""
    try:
        _go(rollout)
    except SupersededError as error:
        rollout.abort(str(error))
        raise
    except BaseException as error:
        rollout.abort(f"interrupted: {type(error).__name__}")
        raise


def _choose(models: Models, champion: Release, version: int | None, fault: Fault | None) -> int:
    chosen = version if version is not None else models.challenger()
    if chosen is None and fault:
        return champion.model_version  # the champion's own model, made sick, is a bad challenger
    if chosen is None:
        raise UserError("no challenger is registered; run `mlsd train`, or name a --version")
    if chosen == champion.model_version and not fault:
        raise UserError(f"model version {chosen} is live already, as release {champion.id}")
    return chosen


def run_release(
    design: Design,
    home: Home,
    target: DeploymentTarget,
    models: Models,
    *,
    version: int | None = None,
    fault: str | None = None,
) -> StepResult:
    """Release a model version through every step, or find out why not.

    Args:
        design: steps and gates.
        home: ledger and feature log.
        target: where it runs.
        models: where the model comes from.
        version: default the challenger.
        fault: plant one in the candidate: `invert` (scores) from shadow on, `slow` (answers) from canary on.

    Raises:
        UserError: nothing to release, no stack, or another release at work. The champion keeps serving.
    """
    with exclusive(home):
        ledger = Ledger(home.releases_db)
        recover(ledger, target)
        champion = live_slot(ledger, target)
        planted = cast("Fault | None", fault)
        model = models.describe(_choose(models, champion, version, planted))
        reason = f"model version {model.version}" + (f", planted fault: {fault}" if fault else "")
        candidate = ledger.add(model, design.digest, ACTOR, reason)
        timeline = Timeline(champion.id, candidate.id)
        rollout = Rollout(design, home, target, ledger, champion, candidate, planted, timeline)
        timeline.note(Traffic(cast("Slot", champion.slot)), "candidate")
        _go_safely(rollout)
        refused = model.version if outcome.refused(rollout.seen) and not fault else None
        return outcome.result(rollout, models.mirror(ledger, design.delivery.keep_previous, refused))
