"""One step of a rollout, watched: the gates are read every half second until they say pass or fail, or time is up."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from mlsd.delivery.analysis.pairs import Comparison
from mlsd.delivery.analysis.verdict import Gate, Verdict, correlation_gate, overall, psi_gate, share_gate
from mlsd.delivery.edge import stats
from mlsd.delivery.edge.routing import Slot
from mlsd.delivery.edge.stats import Answers
from mlsd.delivery.target import DeploymentTarget, other
from mlsd.design.design import Design
from mlsd.plan.rollout import Step

POLL_S = 0.5


@dataclass(frozen=True)
class StepAnalysis:
    """What a step showed. `first_bad_at`: seconds since 1970, the last look before the first bad answer was counted."""

    step: Step
    gates: list[Gate]
    verdict: Verdict
    seconds: float
    first_bad_at: float | None

    @property
    def reason(self) -> str:
        """Why it did not pass."""
        failed = [gate for gate in self.gates if gate.verdict == "fail"]
        missing = [gate for gate in self.gates if gate.verdict == "inconclusive"]
        lacking = [gate.samples for gate in missing if gate.samples < self.step.min_requests]
        if lacking and not failed:
            return f"{self.step}: inconclusive, {self.step.too_few(min(lacking))}"
        parts = [f"{gate.name} {gate.measured}, designed {gate.designed}" for gate in failed or missing]
        return f"{self.step}: {'' if failed else 'inconclusive, '}{'; '.join(parts)}"


class AnalysisRun:
    """Reads the gates of one rollout. The champion's answers since it began are the control."""

    def __init__(self, design: Design, target: DeploymentTarget, champion: Slot, comparison: Comparison) -> None:
        """Remember where the edge's counters stand."""
        self._design, self._target, self._champion, self._comparison = design, target, champion, comparison
        self._began = self.answers()

    def answers(self) -> dict[str, Answers]:
        """The edge's counters now."""
        return stats.read(self._target.router, self._design.latency.service_ms)

    def _service_gates(self, step: Step, before: dict[str, Answers]) -> list[Gate]:
        slot = other(self._champion)
        cluster = f"{slot}_shadow" if step.stage == "shadow" else slot
        now = self.answers()
        seen = now[cluster].since(before[cluster])
        control = now[self._champion].since(self._began[self._champion])
        limits, minimum = self._design.delivery.gates, step.min_requests
        errors = (seen.errors, seen.total), (control.errors, control.total), limits.max_error_rate
        slow = (seen.slow, seen.total), (control.slow, control.total), limits.max_slow_rate
        lives = self._target.runs(slot)
        return [
            Gate("process", "runs", "runs" if lives else "ended", "pass" if lives else "fail", 1, bad=not lives),
            share_gate("error rate", *errors, minimum),
            share_gate("slow rate", *slow, minimum),
        ]

    def _pair_gates(self, step: Step) -> list[Gate]:
        found, limits = self._comparison, self._design.delivery.gates
        found.update()
        return [
            correlation_gate(found.correlations, limits.min_rank_correlation, step.min_requests),
            psi_gate(found.score_psi(), found.pairs, limits.max_score_psi, step.min_requests),
        ]

    def observe(self, step: Step, before: dict[str, Answers], proceed: Callable[[], None]) -> StepAnalysis:
        """Look until there is a verdict.

        Args:
            step: what to judge.
            before: the edge's counters when the step began.
            proceed: is called before each look; it raises if the rollout may not go on.
        """
        began, clean_at, first_bad_at = time.monotonic(), time.time(), None
        while True:
            time.sleep(POLL_S)
            proceed()
            gates = self._service_gates(step, before)
            gates += self._pair_gates(step) if step.stage == "shadow" else []
            if not any(gate.bad for gate in gates):
                clean_at, first_bad_at = time.time(), None
            first_bad_at = first_bad_at or (clean_at if any(gate.bad for gate in gates) else None)
            verdict, seconds = overall(gates), time.monotonic() - began
            if verdict != "inconclusive" or seconds > step.timeout_s:
                return StepAnalysis(step, gates, verdict, seconds, first_bad_at)
