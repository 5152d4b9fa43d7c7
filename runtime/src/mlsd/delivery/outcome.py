"""What a rollout tells: checks for the exit code, details for the report."""

from collections.abc import Sequence

from pydantic import JsonValue

from mlsd.core import clock
from mlsd.core.result import Check, StepResult
from mlsd.delivery.analysis.analysis_run import StepAnalysis
from mlsd.delivery.rollout import Rollout

CAUGHT_IN = {"invert": "shadow", "slow": "canary"}


def refused(seen: Sequence[StepAnalysis]) -> bool:
    """Whether a gate said no; too little traffic for a verdict is not a no."""
    return bool(seen) and seen[-1].verdict == "fail"


def seconds_to_safe(rollout: Rollout) -> float | None:
    """From the last look before the first bad answer to all traffic confirmed on the champion."""
    first = rollout.seen[-1].first_bad_at if rollout.seen else None
    return None if rollout.safe_at is None or first is None else rollout.safe_at - first


def _gate_checks(seen: Sequence[StepAnalysis]) -> list[Check]:
    """One check per gate; where one gate said no, those that were still open are not blamed."""
    return [
        Check(
            name=f"{each.step}: {gate.name}",
            designed=gate.designed,
            measured=gate.measured,
            passed=gate.verdict == "pass" or (gate.verdict == "inconclusive" and each.verdict == "fail"),
            inconclusive=gate.verdict == "inconclusive",
        )
        for each in seen
        for gate in each.gates
        if gate.name != "process" or gate.verdict == "fail"
    ]


def _safe_check(rollout: Rollout) -> list[Check]:
    seconds, most = seconds_to_safe(rollout), rollout.design.delivery.gates.max_seconds_to_safe
    if seconds is None:
        return []
    name, measured = "first bad answer to all traffic back", f"{seconds:.2f} s"
    return [Check(name=name, designed=f"<= {most:g} s", measured=measured, passed=seconds <= most)]


def _caught(rollout: Rollout, fault: str) -> list[Check]:
    wanted, last = CAUGHT_IN[fault], rollout.seen[-1]
    caught = refused(rollout.seen) and last.step.stage == wanted and rollout.safe_at is not None
    seconds = seconds_to_safe(rollout)
    back = "" if seconds is None else f", all traffic back {seconds:.2f} s after the first bad answer"
    measured = f"{last.step.stage}, {last.step.users_percent} % of users{back}" if rollout.safe_at else "not caught"
    check = Check(
        name=f"planted fault `{fault}` is caught in",
        designed=wanted,
        measured=measured,
        passed=caught,
        inconclusive=last.verdict == "inconclusive",
    )
    return [check, *_safe_check(rollout)]


def _released(rollout: Rollout) -> list[Check]:
    live = rollout.stage == "champion"
    last = rollout.seen[-1]
    measured = f"release {rollout.candidate.id}" if live else f"release {rollout.champion.id} ({last.reason})"
    check = Check(
        name="champion",
        designed=f"release {rollout.candidate.id}",
        measured=measured,
        passed=live,
        inconclusive=last.verdict == "inconclusive",
    )
    return [check, *_gate_checks(rollout.seen), *_safe_check(rollout)]


def _gates(seen: Sequence[StepAnalysis]) -> list[JsonValue]:
    return [
        {
            "stage": each.step.stage,
            "percent": each.step.percent,
            "seconds": round(each.seconds, 2),
            "name": gate.name,
            "designed": gate.designed,
            "measured": gate.measured,
            "verdict": gate.verdict,
            "samples": gate.samples,
        }
        for each in seen
        for gate in each.gates
    ]


def result(rollout: Rollout, aliases: str) -> StepResult:
    """The step's result; a planted fault passes when it was caught where the design says."""
    last = rollout.seen[-1]
    candidate, champion = rollout.candidate, rollout.champion
    told = candidate.name
    if rollout.stage == "champion":
        summary = f"{told} is champion; release {champion.id} stays warm for a rollback"
    else:
        word = "was not judged" if last.verdict == "inconclusive" else "was refused"
        summary = f"{told} {word}, release {champion.id} keeps serving: {last.reason}"
    details: dict[str, JsonValue] = {
        "release": candidate.id,
        "model_version": candidate.model_version,
        "champion_before": champion.id,
        "outcome": "champion" if rollout.stage == "champion" else "rejected",
        "verdict": last.verdict,
        "stage": rollout.stage,
        "reason": last.reason if rollout.safe_at else "every gate passed",
        "fault": rollout.fault,
        "users_percent": max(each.step.users_percent for each in rollout.seen),
        "timeline": rollout.timeline.entries,
        "gates": _gates(rollout.seen),
        "first_bad_at": last.first_bad_at,
        "safe_at": rollout.safe_at,
        "seconds_to_safe": seconds_to_safe(rollout),
        "aliases": aliases,
    }
    checks = _caught(rollout, rollout.fault) if rollout.fault else _released(rollout)
    return StepResult(step="release", summary=summary, checks=checks, details=details, at=clock.now())
