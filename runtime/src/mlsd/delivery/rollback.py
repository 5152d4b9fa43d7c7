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


def _ready(ledger: Ledger, plane: DeploymentTarget, champion: Release, target: Release) -> bool:
    """Make the target run beside the champion; True if it was still warm."""
    if target.slot and plane.runs(cast("Slot", target.slot)):
        return True
    slot = other(cast("Slot", champion.slot))
    plane.stop(slot)
    ledger.place(target.id, slot)
    plane.start(slot, target, allow_faults=False)
    return False


def _first_ready(
    ledger: Ledger, plane: DeploymentTarget, champion: Release, keep: int
) -> tuple[Release, bool, list[str]]:
    """The newest previous release that runs or can be started; what is wrong with those that cannot."""
    problems: list[str] = []
    for target in ledger.previous(keep):
        try:
            warm = _ready(ledger, plane, champion, target)
        except (UserError, OSError) as error:
            problems.append(f"release {target.id}: {str(error).splitlines()[0]}")
            continue
        return ledger.get(target.id), warm, problems
    raise UserError("; ".join(["nothing to go back to", *problems]) + "; the champion keeps serving")


def _in_time(target: Release, seconds: float, most: float) -> Check:
    name = f"all traffic on release {target.id}"
    return Check(name=name, designed=f"<= {most:g} s", measured=f"{seconds:.2f} s", passed=seconds <= most)


def run(design: Design, home: Home, plane: DeploymentTarget, models: Models, *, reason: str) -> StepResult:
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
        recover(ledger, plane)
        champion = live_slot(ledger, plane)
        target, warm, problems = _first_ready(ledger, plane, champion, keep)
        ledger.roll_back(champion.id, target.id, ACTOR, reason)
        plane.router.apply(Traffic(cast("Slot", target.slot)))
        seconds = time.monotonic() - began
        plane.stop(cast("Slot", champion.slot))
        ledger.place(champion.id, None)
        aliases = models.mirror(ledger, keep, None)
    most = design.delivery.gates.max_seconds_to_safe + (0.0 if warm else COLD_START_S)
    return StepResult(
        step="rollback",
        summary=f"release {target.id} (model {target.model_version}) serves instead of release {champion.id}: {reason}",
        checks=[_in_time(target, seconds, most)],
        details={
            "from": champion.id,
            "to": target.id,
            "reason": reason,
            "seconds": seconds,
            "warm": warm,
            "skipped": list(problems),
            "aliases": aliases,
        },
        at=clock.now(),
    )
