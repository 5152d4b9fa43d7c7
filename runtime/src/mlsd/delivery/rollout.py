"""A release: shadow, canary steps, champion. Whatever goes wrong on the way, all traffic is back on the champion."""

import logging
import time
from dataclasses import dataclass, field
from typing import Literal, cast

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.delivery.analysis.analysis_run import AnalysisRun, StepAnalysis
from mlsd.delivery.analysis.pairs import Comparison
from mlsd.delivery.analysis.timeline import Timeline
from mlsd.delivery.edge.routing import Slot, Traffic
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.records import Release
from mlsd.delivery.target import DeploymentTarget, other
from mlsd.design.design import Design
from mlsd.plan.rollout import Step, steps

LOGGER = logging.getLogger("mlsd")
ACTOR = "release"
SLOW_FACTOR = 2  # a planted slow answer takes this many budgets: over it, and well before the edge gives up

Fault = Literal["invert", "slow"]


class SupersededError(UserError):
    """Another command ended this rollout."""


@dataclass
class Rollout:
    """One candidate on its way; `seen` and `timeline` grow as it goes."""

    design: Design
    home: Home
    target: DeploymentTarget
    ledger: Ledger
    champion: Release
    candidate: Release
    fault: Fault | None
    timeline: Timeline
    seen: list[StepAnalysis] = field(default_factory=list)
    safe_at: float | None = None
    stage: str = "candidate"

    @property
    def slot(self) -> Slot:
        """Where the candidate runs."""
        return other(cast("Slot", self.champion.slot))

    def _apply(self, traffic: Traffic) -> None:
        self.target.router.apply(traffic)
        self.timeline.note(traffic, self.stage)

    def _traffic(self, step: Step) -> Traffic:
        mirror = step.percent if step.stage == "shadow" else 0
        salt = f"{self.design.name}:{self.candidate.id}"
        return Traffic(other(self.slot), self.slot, mirror, step.users_percent, salt)

    def _proceed(self) -> None:
        found = self.ledger.get(self.candidate.id).stage
        if found != self.stage:
            raise SupersededError(f"release {self.candidate.id}: found {found}, expected {self.stage}; given up")

    def _enter(self, step: Step) -> None:
        if self.stage != step.stage:
            before = cast("Literal['candidate', 'shadow']", self.stage)
            self.ledger.move(self.candidate.id, before, step.stage, ACTOR, f"begins {step}")
            self.stage = step.stage
            if (step.stage, self.fault) == ("shadow", "invert"):
                self.target.plant(self.slot, invert=True)
            if (step.stage, self.fault) == ("canary", "slow"):
                self.target.plant(self.slot, slow_ms=SLOW_FACTOR * self.design.latency.service_ms)

    def start(self) -> None:
        """Start the candidate in the free slot; what ran there has no traffic and goes.

        Raises:
            UserError: it did not become ready.
        """
        self.target.stop(self.slot)
        self.ledger.assign_slot(self.candidate.id, self.slot)
        self.target.start(self.slot, self.candidate, allow_faults=self.fault is not None)

    def climb(self) -> bool:
        """Take every step; stop at the first that does not pass."""
        since = clock.now()
        comparison = Comparison(self.home.feature_log, self.champion.id, self.candidate.id, since)
        watch = AnalysisRun(self.design, self.target, other(self.slot), comparison)
        for step in steps(self.design.delivery):
            self._enter(step)
            before = watch.answers()
            self._apply(self._traffic(step))
            seen = watch.observe(step, before, self._proceed)
            self.seen.append(seen)
            LOGGER.info("release %d: %s: %s in %.1f s", self.candidate.id, step, seen.verdict, seen.seconds)
            if seen.verdict != "pass":
                return False
        return True

    def promote(self) -> None:
        """The candidate is champion; the old one stays warm beside it."""
        self.ledger.promote(self.candidate.id, self.champion.id, ACTOR, "every gate passed")
        self.stage = "champion"
        self._apply(Traffic(self.slot))

    def abort(self, reason: str) -> None:
        """All traffic to whoever is champion now; then the ledger, then the process."""
        champion = self.ledger.champion() or self.champion
        self._apply(Traffic(cast("Slot", champion.slot)))
        self.safe_at = time.time()
        found = self.ledger.get(self.candidate.id).stage
        if found in {"candidate", "shadow", "canary"}:
            before = cast("Literal['candidate', 'shadow', 'canary']", found)
            self.ledger.move(self.candidate.id, before, "rejected", ACTOR, reason)
        if champion.slot != self.slot:
            self.target.stop(self.slot)
            self.ledger.assign_slot(self.candidate.id, None)
        LOGGER.info("release %d: rejected: %s", self.candidate.id, reason)
