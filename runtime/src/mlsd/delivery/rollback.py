"""Back to the previous release in one command, with the time it took."""

import time
from contextlib import suppress
from typing import cast

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.delivery.edge.routing import Slot, Traffic
from mlsd.delivery.recovery import live_slot, recover
from mlsd.delivery.releases.ledger import ConflictError, Ledger
from mlsd.delivery.releases.lock import exclusive
from mlsd.delivery.releases.models import Models
from mlsd.delivery.releases.records import Release, Stage
from mlsd.delivery.target import DeploymentTarget, other
from mlsd.design.design import Design

ACTOR = "rollback"
WAIT_S = 60.0  # for a rollout that was told to give up
COLD_START_S = 30.0


def _end_rollouts(ledger: Ledger, reason: str) -> None:
    """A rollout looks at its own stage every half second; finding itself rejected it gives up."""
    for release in ledger.in_progress():
        with suppress(ConflictError):
            ledger.move(release.id, cast("Stage", release.stage), "rejected", ACTOR, reason)


def _ready(ledger: Ledger, target: DeploymentTarget, champion: Release, previous: Release) -> bool:
    """Make a previous release run beside the champion; True if it was still warm."""
    if previous.slot and target.runs(cast("Slot", previous.slot)):
        return True
    slot = other(cast("Slot", champion.slot))
    target.stop(slot)
    ledger.assign_slot(previous.id, slot)
    target.start(slot, previous, allow_faults=False)
    return False


def _first_ready(
    ledger: Ledger, target: DeploymentTarget, champion: Release, keep: int
) -> tuple[Release, bool, list[str]]:
    """The newest previous release that runs or can be started; what is wrong with those that cannot."""
    problems: list[str] = []
    for previous in ledger.previous(keep):
        try:
            warm = _ready(ledger, target, champion, previous)
        except (UserError, OSError) as error:
            problems.append(f"release {previous.id}: {str(error).splitlines()[0]}")
            continue
        return ledger.get(previous.id), warm, problems
    raise UserError("; ".join(["nothing to go back to", *problems]) + "; the champion keeps serving")


def _in_time(previous: Release, seconds: float, most: float) -> Check:
    name = f"all traffic on release {previous.id}"
    return Check(name=name, designed=f"<= {most:g} s", measured=f"{seconds:.2f} s", passed=seconds <= most)


def run(design: Design, home: Home, target: DeploymentTarget, models: Models, *, reason: str) -> StepResult:
    """All traffic to the previous release; a rollout under way is ended first.

    Raises:
        UserError: there is no previous release that starts, or no stack. The champion keeps serving.
    """
    began = time.monotonic()
    ledger = Ledger(home.releases_db)
    keep = design.delivery.keep_previous
    if not ledger.champion():
        raise UserError("nothing is live, so there is nothing to go back to; run `mlsd up` first")
    if not ledger.previous(keep):
        raise UserError("nothing to go back to: no release was champion before; the champion keeps serving")
    _end_rollouts(ledger, f"rollback: {reason}")
    with exclusive(home, WAIT_S):
        recover(ledger, target)
        champion = live_slot(ledger, target)
        previous, warm, problems = _first_ready(ledger, target, champion, keep)
        ledger.roll_back(champion.id, previous.id, ACTOR, reason)
        target.router.apply(Traffic(cast("Slot", previous.slot)))
        seconds = time.monotonic() - began
        target.stop(cast("Slot", champion.slot))
        ledger.assign_slot(champion.id, None)
        aliases = models.mirror(ledger, keep, None)
    most = design.delivery.gates.max_seconds_to_safe + (0.0 if warm else COLD_START_S)
    return StepResult(
        step="rollback",
        summary=f"{previous.name} serves instead of release {champion.id}: {reason}",
        checks=[_in_time(previous, seconds, most)],
        details={
            "from": champion.id,
            "to": previous.id,
            "reason": reason,
            "seconds": seconds,
            "warm": warm,
            "skipped": list(problems),
            "aliases": aliases,
        },
        at=clock.now(),
    )
