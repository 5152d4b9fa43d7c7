"""`mlsd plan --measured`: replicas, memory and cost from the measured service instead of the assumed one."""

import json
import statistics
from dataclasses import asdict

from pydantic import JsonValue

from mlsd.core.clock import now
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.design.design import Design
from mlsd.plan.capacity import Need, Predicted, here, need, predict
from mlsd.plan.load_curve import LoadCurve, read_curve
from mlsd.plan.plan import HOURS_PER_MONTH, PRICES, PRICES_OF, board_line
from mlsd.plan.plan import capacity as assumed

STEADY = 0.9
"""Up to this load the model is held against the measured curve: above, p99 does not settle within a stage."""
MAX_ERROR = 0.5
"""Of seconds, a p99 is uncertain by a third: the median is judged, and at any single rate only what is too low."""
FORMULA = (
    "P(W > t) = C(c, a) exp(-t / m), m = E[S] (1 + cs2) / (2 c (1 - rho)), rho = rate E[S] / c   (M/G/c, Allen-Cunneen)"
)


def monthly_usd(design: Design, replicas: int) -> float:
    """At the assumed prices of the plan."""
    cpu, gib = PRICES[design.cloud]
    size = design.capacity
    return replicas * HOURS_PER_MONTH * (size.replica_cpu * cpu + size.replica_memory_mib / 1024 * gib)


def _text(design: Design, curve: LoadCurve, found: Need, predicted: list[Predicted]) -> str:
    service, servers = here(curve)
    budget, size = design.latency.service_ms, design.capacity
    rows = [
        f"  {row.rps:>6.0f}  {row.load:>4.2f}   {row.p99_ms:>13.1f} ms {row.seen_ms:>6.1f}   {row.error:+.0%}"
        for row in predicted
    ]
    lines = [
        board_line(design),
        f"measured      knee {curve.knee_rps:.0f}/s on {curve.cores} cores with client and edge",
        f"              a request keeps one of {servers} servers busy {service.busy_ms:.2f} ms, cs2 {service.cs2:.2f}",
        f"model         {FORMULA}",
        "  rate/s  load   p99 by the model   seen   difference",
        *rows,
        f"a replica     {found.servers} servers, busy {found.busy_ms:.2f} ms a request: {found.max_rps:.0f} rps",
        f"              at p99 <= {budget:g} ms and at most {size.load:.0%} load",
        f"replicas      {found.replicas}: {found.formula} (assumed before: {assumed(design).replicas})",
        f"at the peak   {found.rps:.0f} rps each, load {found.load:.0%}, p99 {found.p99_ms:.1f} ms",
        f"memory        {found.memory_mib:.0f} of {size.replica_memory_mib} MiB a replica",
        f"cost          {monthly_usd(design, found.replicas):,.0f} USD a month on {design.cloud}, "
        f"at the assumed prices of {PRICES_OF}",
    ]
    return "\n".join(lines)


def _checks(design: Design, curve: LoadCurve, found: Need, predicted: list[Predicted]) -> list[Check]:
    budget, size = design.latency.service_ms, design.capacity
    steady = [row for row in predicted if row.load <= STEADY and row.rps <= curve.knee_rps] or predicted[:1]
    middle, boldest = statistics.median(row.error for row in steady), min(steady, key=lambda row: row.error)
    return [
        Check(
            name="p99 at the peak, by the model",
            designed=f"<= {budget:g} ms",
            measured=f"{found.p99_ms:.1f} ms",
            passed=found.p99_ms <= budget,
        ),
        Check(
            name="load of a replica",
            designed=f"<= {size.load:g}",
            measured=f"{found.load:.3f}",
            passed=found.load <= size.load + 1e-9,
        ),
        Check(
            name="memory of a replica",
            designed=f"<= {size.replica_memory_mib} MiB",
            measured=f"{found.memory_mib:.0f} MiB",
            passed=found.memory_mib <= size.replica_memory_mib,
        ),
        Check(
            name="the model against the measured curve",
            designed=f"median within {MAX_ERROR:.0%} of p99, none more than that too low, to a load of {STEADY:g}",
            measured=f"{middle:+.0%}, lowest {boldest.error:+.0%} at {boldest.rps:.0f}/s, of {len(steady)} rates",
            passed=abs(middle) <= MAX_ERROR and boldest.error >= -MAX_ERROR,
        ),
    ]


def run(design: Design, home: Home) -> StepResult:
    """Plan with what `mlsd load --find-knee` has measured.

    Raises:
        UserError: nothing was measured, or no number of replicas can keep the budget.
    """
    curve = read_curve(design, home)
    found, predicted = need(design, curve), predict(curve)
    rows: list[JsonValue] = [asdict(row) | {"error": row.error} for row in predicted]
    details: dict[str, JsonValue] = json.loads(json.dumps(asdict(found))) | {
        "monthly_usd": monthly_usd(design, found.replicas),
        "formula_wait": FORMULA,
        "knee_rps": curve.knee_rps,
        "predicted": rows,
    }
    return StepResult(
        step="plan_measured",
        summary=_text(design, curve, found, predicted),
        checks=_checks(design, curve, found, predicted),
        details=details,
        at=now(),
    )
