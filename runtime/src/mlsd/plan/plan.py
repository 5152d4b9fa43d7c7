"""Steps 1-2: arithmetic from the design. Change a number in `design.yaml`, run `mlsd plan`, and all of it follows."""

import math
import textwrap
from dataclasses import asdict, dataclass

from pydantic import JsonValue

from mlsd.core.clock import now
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.design.design import Design
from mlsd.plan import rollout_fill
from mlsd.plan.model_costs import Fit, boosted_trees_ms, cpu_replicas, families, fit

HOURS_PER_MONTH = 730
REPLICA_MIB = 400
"""Resident memory of one BentoML worker with LightGBM loaded, measured."""

PRICES_OF = "2025-06"
PRICES = {"gcp": (0.0445, 0.0049), "aws": (0.0405, 0.0044), "azure": (0.0405, 0.0045)}
"""USD per vCPU-hour and GiB-hour: assumptions, of the size of on-demand container prices (GKE Autopilot, Fargate,
Container Instances) in a large US region. They are not read from a price list; put your contract's prices here."""

METRICS = {"ctr": "CTR"}


@dataclass(frozen=True)
class Capacity:
    """How many replicas the peak needs, and what they cost."""

    in_flight: float
    by_concurrency: int
    by_cpu: int
    replicas: int
    memory_gib: float
    monthly_usd: float
    formula: str


def short(count: float) -> str:
    """10000 as `10K`, 2500000 as `2.5M`."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= size:
            return f"{count / size:.4g}{unit}"
    return f"{count:g}"


def metric_name(design: Design) -> str:
    """The business metric as people write it."""
    return METRICS.get(design.success.metric, design.success.metric.replace("_", " "))


def board_line(design: Design) -> str:
    """What goes on the board before anything else is said."""
    metric = metric_name(design)
    return (
        f"Scale: {short(design.scale.peak_rps)} RPS, Latency: <{design.latency.p99_ms:g}ms p99, "
        f"Metric: {metric[0].upper()}{metric[1:]}"
    )


def hop_sum(design: Design) -> float:
    """Milliseconds that the hops take together."""
    return design.latency.hop_sum_ms


def sentence(design: Design) -> str:
    """The design in one sentence, every number from `design.yaml`."""
    hops = ", ".join(f"{name} {ms:g}" for name, ms in design.latency.hops_ms.model_dump().items())
    free = design.latency.p99_ms - hop_sum(design)
    return (
        f"{design.name} orders {design.scale.candidates} candidates per request for {short(design.scale.peak_rps)} "
        f"requests per second at the peak, within {design.latency.p99_ms:g} ms at p99 ({hops}, {free:g} free); "
        f"success is {metric_name(design)} of at least {design.success.target:g}, "
        f"because {design.success.because.rstrip('.')}; a positive is a {design.label.event} of "
        f"{design.label.min_dwell_s:g} s or more, known after {design.label.maturity_h:g} h."
    )


def capacity(design: Design) -> Capacity:
    """Replicas by Little's law: rps x service time / (concurrency x load), and by the cores the ranker needs."""
    size, rps, service_ms = design.capacity, design.scale.peak_rps, design.latency.hops_ms.inference
    in_flight = rps * service_ms / 1000
    by_concurrency = math.ceil(in_flight / (size.concurrency * size.load))
    scale = design.scale.candidates / 500
    by_cpu = cpu_replicas(design, boosted_trees_ms(design.training.trees, design.training.leaves) * scale)
    replicas = max(by_concurrency, by_cpu)
    cpu_price, gib_price = PRICES[design.cloud]
    memory_gib = size.replica_memory_mib / 1024
    return Capacity(
        in_flight=in_flight,
        by_concurrency=by_concurrency,
        by_cpu=by_cpu,
        replicas=replicas,
        memory_gib=replicas * memory_gib,
        monthly_usd=replicas * HOURS_PER_MONTH * (size.replica_cpu * cpu_price + memory_gib * gib_price),
        formula=f"{rps} rps x {service_ms / 1000:g} s / ({size.concurrency} x {size.load:g}) = {by_concurrency}",
    )


def _text(design: Design, need: Capacity, fits: list[Fit]) -> str:
    hops = design.latency.hops_ms.model_dump()
    lines = [board_line(design), *textwrap.wrap(sentence(design), 100), "", "hop budget, ms at p99"]
    lines += [f"  {name:<12}{ms:>8g}" for name, ms in hops.items()]
    lines += [f"  {'sum':<12}{hop_sum(design):>8g}   of {design.latency.p99_ms:g}"]
    lines += ["", f"replicas      {need.replicas}: {need.formula} by concurrency, {need.by_cpu} by CPU"]
    lines += [f"in flight     {need.in_flight:g} requests at the peak"]
    lines += [f"memory        {need.memory_gib:g} GiB in all"]
    lines += [
        f"cost          {need.monthly_usd:,.0f} USD a month on {design.cloud}, at the assumed prices of {PRICES_OF}"
    ]
    lines += ["", "model families"]
    lines += [f"  {'fits' if f.fits else 'no  '}  {f.family:<42}{f.why}; {f.replicas} replicas by CPU" for f in fits]
    lines += ["", *rollout_fill.table(design)]
    return "\n".join(lines)


def _time_checks(design: Design) -> list[Check]:
    """The longest wait that is let in still leaves every hop its share; each step of a rollout sees enough answers."""
    waits, free = design.serving.admission.max_queue_ms, design.latency.p99_ms - hop_sum(design)
    lacking, (field, rps) = rollout_fill.shortfall(design), rollout_fill.traffic(design)
    slowest = max(rollout_fill.samples(design.delivery), key=lambda sample: sample.surely_s(rps))
    return [
        Check(
            name="serving.admission.max_queue_ms",
            designed=f"<= {free:g} ms, what the hops leave",
            measured=f"{waits:g} ms",
            passed=waits <= free,
        ),
        Check(
            name="rollout steps fill",
            designed=f"within {design.delivery.step_timeout_s:g} s at {field} {rps}",
            measured=lacking or f"{slowest}: {slowest.answers} answers surely in {slowest.surely_s(rps):.3g} s",
            passed=lacking is None,
        ),
    ]


def _checks(design: Design, need: Capacity) -> list[Check]:
    total, size = hop_sum(design), design.capacity
    ours = boosted_trees_ms(design.training.trees, design.training.leaves) * design.scale.candidates / 500
    budget, per_replica = design.latency.hops_ms.inference, need.in_flight / need.replicas
    rows = [
        ("hop budget", f"<= {design.latency.p99_ms:g} ms", f"{total:g} ms", total <= design.latency.p99_ms),
        ("boosted trees within inference", f"<= {budget:g} ms", f"{ours:.3g} ms", ours <= budget),
        (
            "in flight per replica",
            f"<= {size.concurrency * size.load:g}",
            f"{per_replica:.3g}",
            per_replica <= size.concurrency * size.load,
        ),
        (
            "memory per replica",
            f"<= {size.replica_memory_mib} MiB",
            f"{REPLICA_MIB} MiB",
            size.replica_memory_mib >= REPLICA_MIB,
        ),
    ]
    checks = [Check(name=name, designed=want, measured=got, passed=good) for name, want, got, good in rows]
    return [*checks, *_time_checks(design)]


def run(design: Design, _home: Home) -> StepResult:
    """Plan the system; a budget that no ranker can meet fails here, before any data is read."""
    need = capacity(design)
    fits = [fit(design, family) for family in families(design)]
    families_found: list[JsonValue] = [asdict(each) for each in fits]
    details: dict[str, JsonValue] = {
        "board": board_line(design),
        "sentence": sentence(design),
        "hops_ms": design.latency.hops_ms.model_dump(),
        "headroom_ms": design.latency.p99_ms - hop_sum(design),
        "capacity": asdict(need),
        "families": families_found,
    }
    return StepResult(
        step="plan", summary=_text(design, need, fits), checks=_checks(design, need), details=details, at=now()
    )
