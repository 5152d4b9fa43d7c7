"""What a killed command left behind: a candidate without anyone who watches it gets no traffic and goes."""

from typing import cast

from mlsd.core.errors import UserError
from mlsd.delivery.edge.routing import Slot, Traffic
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.records import Release, Stage
from mlsd.delivery.target import DeploymentTarget


def recover(ledger: Ledger, target: DeploymentTarget) -> list[Release]:
    """Reject releases whose rollout ended without a verdict; call with the lock held.

    Returns:
        Those that were rejected.
    """
    left, champion = ledger.in_progress(), ledger.champion()
    if left and champion and champion.slot and target.router.answers():
        target.router.apply(Traffic(cast("Slot", champion.slot)))
    for release in left:
        before = cast("Stage", release.stage)
        ledger.move(release.id, before, "rejected", "recovery", "its rollout ended without a verdict")
        if release.slot and (champion is None or release.slot != champion.slot):
            target.stop(cast("Slot", release.slot))
            ledger.assign_slot(release.id, None)
    return left


def live_slot(ledger: Ledger, target: DeploymentTarget) -> Release:
    """The champion, which runs.

    Raises:
        UserError: there is none, or it does not run.
    """
    champion = ledger.champion()
    if champion is None or champion.slot is None or not target.runs(cast("Slot", champion.slot)):
        raise UserError("no champion is serving; run `mlsd up`")
    return champion
