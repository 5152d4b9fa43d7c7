"""How much this machine can take: a rising row of rates, up to the first that breaks the budget, then closer to it.

Users come independently of each other, so gaps between arrivals are drawn (ahead, from one seed) and not equal: a
service that keeps its budget under equal gaps may miss it when three users come at once.
"""

import json
import logging
import statistics
from collections.abc import Callable
from dataclasses import dataclass

from pydantic import JsonValue

from mlsd.core import clock, cpu
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.design.design import Design
from mlsd.loadtest import sender
from mlsd.loadtest.sender import Pattern
from mlsd.loadtest.summary import Latencies, LoadSummary
from mlsd.local.machine.contention import CpuReading, cpu_contention
from mlsd.local.machine.usage import UsageMeter
from mlsd.plan import load_curve
from mlsd.plan.load_curve import LoadCurve, LoadStage

LOGGER = logging.getLogger("mlsd")
STEP = 1.5
CLOSER = 3  # stages between the last that held and the first that did not: the knee is known to 1.5 ** (1/8), 5 %
DOWN = 4
HIGHEST = 20_000.0
STAGE_S, WARMUP_S = 6.0, 1.5
RISES = 2.0
NOISE_MS = 4.0
QUIET = 0.1
FULL = 0.01
PRESSURE = frozenset({"pruned", "cached", "features_timeout", "features_breaker", "inference_timeout"})
POINTS = 199

Climb = Callable[[float], "StageOutcome"]


@dataclass(frozen=True)
class StageOutcome:
    """One stage: its row, and the distributions behind it."""

    stage: LoadStage
    total: Latencies
    service: Latencies


def grows(sent: LoadSummary) -> bool:
    """Whether answers took longer and longer: the median of the last third against that of the first."""
    third = max(len(sent.timeline) // 3, 1)
    first = Latencies.merged(row.latencies for row in sent.timeline[:third])
    last = Latencies.merged(row.latencies for row in sent.timeline[-third:])
    return last.p50_ms > RISES * first.p50_ms + NOISE_MS


def why_not(design: Design, sent: LoadSummary) -> str:
    """What the rate broke; empty when it held."""
    test, less = design.load_test, sum(sent.degraded.get(reason, 0) for reason in PRESSURE)
    reasons = {
        "nothing answered": not sent.total.count,
        f"p99 {sent.total.p99_ms:.0f} ms": sent.total.p99_ms > design.latency.service_ms,
        f"{sent.shed} refused": sent.shed > test.max_error_rate * sent.sent,
        f"{sent.errors} errors": sent.errors > test.max_error_rate * sent.sent,
        f"{less} answers cut short": less > FULL * sent.sent,
        "the queue grows": grows(sent),
    }
    return ", ".join(text for text, broke in reasons.items() if broke)


def _climbed(design: Design, home: Home, rps: float) -> StageOutcome:
    """One stage; when it broke beside other work, once more."""
    seen = _climb(design, home, rps)
    return _climb(design, home, rps) if seen.stage.broke and seen.stage.other_work > QUIET else seen


def _climb(design: Design, home: Home, rps: float) -> StageOutcome:
    before = CpuReading.take(home)
    with UsageMeter(home) as watch:
        pattern = Pattern(WARMUP_S, poisson=True)
        sent = sender.start(design, home, seconds=STAGE_S, rps=rps, pattern=pattern).wait()
    others = cpu_contention(before, CpuReading.take(home))
    count, total = max(sent.sent + sent.warmup, 1), sent.total
    stage = LoadStage(
        rps=rps,
        sent=sent.sent,
        answered_rps=(sent.sent - sent.failed) / STAGE_S,
        shed=sent.shed,
        errors=sent.errors,
        p50_ms=total.p50_ms,
        p99_ms=total.p99_ms,
        lag_p99_ms=sent.lag.p99_ms,
        server_cpu_ms=1e3 * watch.cpu_s / count,
        edge_cpu_ms=1e3 * watch.edge_cpu_s / count,
        client_cpu_ms=1e3 * sent.client_cpu_s / count,
        largest_mib=watch.largest_mib,
        other_work=others,
        broke=why_not(design, sent),
    )
    LOGGER.info("load: %.0f/s: p99 %.1f ms%s", rps, total.p99_ms, f", {stage.broke}" if stage.broke else "")
    return StageOutcome(stage, total, sent.hops.get("service", total))


def stages(first: float, climb: Climb) -> list[StageOutcome]:
    """Stages from `first` up to one that breaks, down when the first does, then halving the gap; in order of rate."""
    seen, rate = [climb(first)], first
    for _ in range(DOWN):
        if not seen[0].stage.broke:
            break
        rate /= STEP
        seen.insert(0, climb(rate))
    while not seen[-1].stage.broke and seen[-1].stage.rps * STEP <= HIGHEST:
        seen.append(climb(seen[-1].stage.rps * STEP))
    for _ in range(CLOSER):
        held = [each.stage.rps for each in seen if not each.stage.broke]
        broke = [each.stage.rps for each in seen if each.stage.broke]
        if not held or not broke:
            break
        seen.append(climb((max(held) * min(broke)) ** 0.5))
    return sorted(seen, key=lambda each: each.stage.rps)


def _points(values: Latencies) -> list[float]:
    return [values.at(100 * (k + 0.5) / POINTS) for k in range(POINTS)]


def curve(design: Design, seen: list[StageOutcome]) -> LoadCurve:
    """What a plan needs of a load curve."""
    return LoadCurve(
        stages=[each.stage for each in seen],
        workers=design.serving.workers,
        cores=cpu.usable(),
        candidates=design.scale.candidates,
        max_queue_ms=design.serving.admission.max_queue_ms,
        answer_ms=_points(seen[0].total),
        service_ms=_points(seen[0].service),
    )


def quiet(stages: list[LoadStage]) -> Check:
    """A knee measured beside other work is that of a smaller machine."""
    others = statistics.median(stage.other_work for stage in stages)
    return Check(
        name="other work on the machine", designed=f"<= {QUIET:.0%}", measured=f"{others:.0%}", passed=others <= QUIET
    )


def run(design: Design, home: Home) -> StepResult:
    """Find the highest rate that this machine holds; the client and the edge run on it too.

    Raises:
        UserError: there is no traffic to send.
    """
    seen = stages(float(design.load_test.rps), lambda rps: _climbed(design, home, rps))
    found = curve(design, seen)
    load_curve.record(home, found)
    knee = found.knee_rps
    lines = [
        f"  {each.rps:>7.0f}/s  p50 {each.p50_ms:>8.1f}  p99 {each.p99_ms:>8.1f} ms  {each.broke}"
        for each in found.stages
    ]
    checks = [
        Check(
            name="knee",
            designed=f">= {design.load_test.rps}/s, the rate of the load test",
            measured=f"{knee:.0f}/s" if knee else "the lowest rate broke",
            passed=knee >= design.load_test.rps,
        ),
        quiet(found.stages),
    ]
    details: dict[str, JsonValue] = json.loads(found.model_dump_json())
    summary = "\n".join([f"highest rate within the budget: {knee:.0f}/s, client and edge on the same machine", *lines])
    return StepResult(step="load_knee", summary=summary, checks=checks, details=details, at=clock.now())
