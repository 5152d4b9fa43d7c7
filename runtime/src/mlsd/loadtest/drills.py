"""What users see while a release is swapped, or a worker dies or is shut down: under load, through the edge."""

import logging
import signal
import time
from dataclasses import dataclass
from typing import cast

import psutil

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.delivery.edge.routing import Slot, Traffic
from mlsd.delivery.recovery import live_slot
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.lock import exclusive
from mlsd.delivery.releases.records import Release
from mlsd.delivery.target import DeploymentTarget, other
from mlsd.design.design import Design
from mlsd.loadtest.drill import SETTLED_S, WARMUP_S, Drill, DrillOutcome, seen
from mlsd.loadtest.summary import LoadSummary
from mlsd.local.machine.stack_processes import workers
from mlsd.local.ports import ports_of
from mlsd.local.target import local_target

LOGGER = logging.getLogger("mlsd")
SLOWER = 2.0
MAX_S = 3000.0  # of a drill, within the load's own length
ANSWERED = 0.999
WATCHED_S = 1.0
BACK_S = 30.0
AFTER_S = 3.0


def _result(step: str, what: str, found: DrillOutcome, checks: list[Check]) -> StepResult:
    sent = found.sent
    summary = (
        f"{what}: {sent.errors} of {sent.sent} requests failed{sent.refusals}; "
        f"p99 {found.steady.p99_ms:.1f} ms undisturbed, {found.meanwhile.p99_ms:.1f} ms meanwhile"
    )
    details = {"load": sent.model_dump(mode="json"), "steady": found.steady.model_dump(mode="json")}
    details |= {"meanwhile": found.meanwhile.model_dump(mode="json")}
    return StepResult(step=step, summary=summary, checks=checks, details=details, at=clock.now())


def _none_failed(sent: LoadSummary) -> Check:
    return Check(
        name="failed requests",
        designed="0",
        measured=f"{sent.errors} of {sent.sent}{sent.refusals}",
        passed=sent.sent > 0 and sent.errors == 0,
    )


def swap_checks(found: DrillOutcome) -> list[Check]:
    """The gates of a swap: no request fails, and p99 meanwhile is at most twice the undisturbed one."""
    return [_none_failed(found.sent), _not_slower(found)]


def _not_slower(found: DrillOutcome) -> Check:
    limit = SLOWER * found.steady.p99_ms
    return Check(
        name="p99 meanwhile",
        designed=f"<= {limit:.1f} ms, {SLOWER:g} times the undisturbed",
        measured=f"{found.meanwhile.p99_ms:.1f} ms",
        passed=0 < found.meanwhile.p99_ms <= limit,
        timing=True,
    )


@dataclass
class Swapper:
    """Moves the traffic from slot to slot; the ledger always knows where the champion runs."""

    target: DeploymentTarget
    ledger: Ledger
    slot: Slot

    def swap(self, release: Release) -> None:
        """Start this release in the other slot, send everyone there, end the one before."""
        free = other(self.slot)
        self.target.stop(free)
        self.target.start(free, release, allow_faults=False)
        if release.stage == "champion":
            self.ledger.assign_slot(release.id, free)
        self.target.router.apply(Traffic(free))
        self.target.stop(self.slot)
        self.slot = free

    def back(self, champion: Release) -> None:
        """After a swap that was cut short: the champion runs where the ledger has it, and everyone is sent there."""
        slot = cast("Slot", self.ledger.get(champion.id).slot)
        try:
            if not self.target.runs(slot):
                self.target.start(slot, champion, allow_faults=False)
            self.target.router.apply(Traffic(slot))
            self.target.stop(other(slot))
        except UserError as error:
            LOGGER.error("the champion is not back in slot %s, run `mlsd up`: %s", slot, error)


def _swap_all(drill: Drill, mover: Swapper, pair: list[Release], requests: int, swaps: int) -> int:
    """Swap until there were enough swaps and requests, an even number of times; returns how often."""
    drill.steady(WARMUP_S + max(0.3 * requests / drill.rps, 2.0))
    done = 0
    while done < swaps or done % 2 or drill.sent() < requests:
        release = pair[done % 2]
        drill.do(lambda release=release: mover.swap(release))  # type: ignore[misc]
        done += 1
        drill.steady(SETTLED_S)
    return done


def swap(
    design: Design,
    home: Home,
    target: DeploymentTarget,
    *,
    requests: int = 10_000,
    rps: float | None = None,
    swaps: int = 4,
) -> StepResult:
    """Swap the champion and the release before it from slot to slot under load; the champion is live at the end.

    Args:
        design: the rate, when none is given.
        home: the state folder of a running stack.
        target: its slots and edge.
        requests: at least so many are sent.
        rps: arrivals per second.
        swaps: at least so many, rounded up to an even number.

    Raises:
        UserError: no champion is serving, a release did not become ready, or the rate is too low.
    """
    ledger, rate = Ledger(home.releases_db), float(rps or design.load_test.rps)
    if requests / rate > MAX_S:
        raise UserError(f"rps: found {rate:g}, expected {requests / MAX_S:.1f} or more for {requests} requests")
    with exclusive(home):
        champion = live_slot(ledger, target)
        previous = ledger.previous(1)
        pair = [previous[0] if previous else champion, champion]
        mover = Swapper(target, ledger, cast("Slot", champion.slot))
        drill = Drill(design, home, rate)
        try:
            done = _swap_all(drill, mover, pair, requests, swaps)
        except BaseException:
            mover.back(champion)
            raise
        finally:
            sent = drill.end()
    found = seen(sent, drill.stretches)
    return _result("drill_swap", f"{done} swaps at {rate:g}/s", found, swap_checks(found))


def run(design: Design, home: Home, what: str, rps: float | None = None) -> StepResult:
    """One drill on the running stack of this state folder.

    Args:
        design: the design in force.
        home: the state folder.
        what: swap, kill or stop.
        rps: arrivals per second.

    Raises:
        UserError: no champion is serving.
    """
    target, _ = local_target(design, home, ports_of(home))
    if what == "swap":
        return swap(design, home, target, rps=rps)
    return hit(design, home, target, signal.SIGKILL if what == "kill" else signal.SIGTERM, rps=rps)


def busiest(home: Home) -> psutil.Process:
    """The worker that answers most: the one whose processor time grows fastest.

    Raises:
        UserError: none runs.
    """
    before = {process: sum(process.cpu_times()[:2]) for process in workers(home)}
    if not before:
        raise UserError("no worker runs; run `mlsd up`")
    time.sleep(WATCHED_S)
    return max(before, key=lambda process: sum(process.cpu_times()[:2]) - before[process])


def hit(
    design: Design, home: Home, target: DeploymentTarget, sign: signal.Signals, *, rps: float | None = None
) -> StepResult:
    """Send a signal to the busiest worker of the champion under load; the supervisor puts another one in its place.

    SIGTERM: nobody may notice. SIGKILL: what it had in flight may be lost, 0.999 of all is answered.

    Raises:
        UserError: no champion is serving, or no worker came back in time.
    """
    rate = float(rps or design.load_test.rps)
    live_slot(Ledger(home.releases_db), target)
    drill = Drill(design, home, rate)
    try:
        drill.steady(WARMUP_S + AFTER_S)
        victim, count = busiest(home), len(workers(home))
        began = time.monotonic()
        drill.do(lambda: _replace(home, victim, count, sign))
        took = time.monotonic() - began
        drill.steady(AFTER_S)
    finally:
        sent = drill.end()
    found, share = seen(sent, drill.stretches), 1 - sent.failed / max(sent.sent, 1)
    answered = Check(
        name="answered requests",
        designed=f">= {ANSWERED:g}",
        measured=f"{share:.5f} of {sent.sent}",
        passed=sent.sent > 0 and share >= ANSWERED,
    )
    gate = answered if sign == signal.SIGKILL else _none_failed(sent)
    what = f"{sign.name} to one worker at {rate:g}/s, another in its place after {took:.1f} s"
    return _result(f"drill_{sign.name.lower()}", what, found, [gate])


def _replace(home: Home, victim: psutil.Process, count: int, sign: signal.Signals) -> None:
    victim.send_signal(sign)
    deadline = time.monotonic() + BACK_S
    while time.monotonic() < deadline:
        if not victim.is_running() and len(workers(home)) >= count:
            return
        time.sleep(0.05)
    raise UserError(f"worker {victim.pid}: nobody took its place within {BACK_S:g} s after {sign.name}")
