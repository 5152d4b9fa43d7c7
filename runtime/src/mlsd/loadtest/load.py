"""Open-loop load on the local stack, and the verdict: every percentile against the budget of the design."""

import json
import logging
from dataclasses import dataclass
from typing import Literal

from pydantic import JsonValue

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult, doubted, overall
from mlsd.design.design import Design
from mlsd.loadtest import baseline, load_checks, sender, soak_checks
from mlsd.loadtest.sender import Pattern, Spike
from mlsd.loadtest.summary import LoadSummary
from mlsd.local.machine.contention import QUIET, CpuReading, cpu_contention
from mlsd.local.machine.speed import MachineSpeed
from mlsd.local.machine.usage import UsageMeter

Shape = Literal["steady", "spike", "soak"]
SHAPES: tuple[Shape, ...] = ("steady", "spike", "soak")
SOAK_S = 600
SHORTEST_SPIKE_S = 6  # two seconds each before, in and after it
TRIES = 3
LOGGER = logging.getLogger("mlsd")


@dataclass(frozen=True)
class LoadTestSpec:
    """One run as it was asked for; `anew`: it is to be the baseline."""

    shape: Shape
    seconds: float
    rps: float
    shifted: bool = False
    spike: Spike | None = None
    anew: bool = False

    @property
    def step(self) -> str:
        """Name of the step's result."""
        return "load_shifted" if self.shifted else {"steady": "load"}.get(self.shape, f"load_{self.shape}")


@dataclass(frozen=True)
class Run:
    """What a run has measured, and the machine meanwhile."""

    sent: LoadSummary
    others: float
    speed: MachineSpeed
    watch: UsageMeter


def _spike(seconds: float, factor: float) -> Spike:
    """The middle third, in whole seconds."""
    if seconds < SHORTEST_SPIKE_S:
        raise UserError(f"--seconds: found {seconds:g}, expected {SHORTEST_SPIKE_S} or more for a spike")
    return Spike(factor, round(seconds / 3), round(2 * seconds / 3))


def _length(design: Design, shape: Shape) -> float:
    usual = design.load_test.seconds
    return {"steady": usual, "spike": max(usual, SHORTEST_SPIKE_S), "soak": SOAK_S}[shape]


def _once(design: Design, home: Home, spec: LoadTestSpec) -> Run:
    before, speed = CpuReading.take(home), MachineSpeed.measure()
    with UsageMeter(home) as watch:
        pattern = Pattern(design.load_test.warmup_s, spec.spike)
        sent = sender.start(
            design, home, seconds=spec.seconds, rps=spec.rps, pattern=pattern, shifted=spec.shifted
        ).wait()
    others = cpu_contention(before, CpuReading.take(home))
    return Run(sent, others, speed.worse(MachineSpeed.measure()), watch)


def _verdict(design: Design, home: Home, spec: LoadTestSpec, run: Run) -> list[Check]:
    if spec.spike:
        found = load_checks.spike_checks(design, run.sent, spec.spike, spec.rps)
    elif spec.shape == "soak":
        found = soak_checks.soak_checks(design, run.sent, run.watch)
    else:
        found = load_checks.checks(design, run.sent)
    now = _as_baseline(design, spec, run)
    before = None if spec.shifted or spec.anew else baseline.stored(home, now)
    found += [baseline.check(before, now, design.load_test.max_regression)] if before else []
    lagged = run.sent.lag.p99_ms > design.load_test.max_client_lag_ms
    return doubted(found) if lagged or run.others > QUIET else found


def _as_baseline(design: Design, spec: LoadTestSpec, run: Run) -> baseline.Baseline:
    return baseline.of(design, run.sent, spec.shape, spec.rps, (run.speed, run.others))


def _measured(design: Design, home: Home, spec: LoadTestSpec) -> tuple[Run, list[Check]]:
    """The run and its verdict; one that other work or a late client made inconclusive is measured again."""
    tries = 1 if spec.shape == "soak" else TRIES
    for attempt in range(1, tries + 1):
        run = _once(design, home, spec)
        found = _verdict(design, home, spec, run)
        if overall(check.verdict for check in found) != "inconclusive":
            break
        LOGGER.info("load: run %d of %d inconclusive, other work took %.0f %%", attempt, tries, 100 * run.others)
    return run, found


def _keep_baseline(design: Design, home: Home, spec: LoadTestSpec, run: Run, found: list[Check]) -> str:
    """The first passing run is the baseline of those to come; what was done about it, in words."""
    now = _as_baseline(design, spec, run)
    if spec.shifted or not run.sent.total.count:
        return ""
    if spec.anew or (baseline.stored(home, now) is None and all(check.passed for check in found)):
        baseline.save(home, now)
        return f"; p99 {now.p99_ms:.1f} ms is the baseline from now on"
    return ""


def run(
    design: Design,
    home: Home,
    seconds: float | None = None,
    rps: float | None = None,
    *,
    shape: Shape = "steady",
    shifted: bool = False,
    save_baseline: bool = False,
) -> StepResult:
    """Send the load, wait for the end, judge it.

    Args:
        design: rates, lengths and budgets that are not given otherwise.
        home: the state folder.
        seconds: measured time.
        rps: arrivals per second, outside the spike.
        shape: steady; spike: the middle third at `load_test.spike_factor` times the rate; soak: long, and neither
            memory nor p99 may rise.
        shifted: send the mix of requests with the planted shift.
        save_baseline: this run replaces the baseline, which is not judged then.

    Raises:
        UserError: nothing to send, a spike too short, or a damaged baseline.
    """
    test, length = design.load_test, seconds or _length(design, shape)
    spike = _spike(length, test.spike_factor) if shape == "spike" else None
    spec = LoadTestSpec(shape, length, float(rps or test.rps), shifted, spike, save_baseline)
    found, verdict = _measured(design, home, spec)
    kept = _keep_baseline(design, home, spec, found, verdict)
    return StepResult(
        step=spec.step,
        summary=_words(design, spec, found) + kept,
        checks=verdict,
        details=_details(spec, found),
        at=clock.now(),
    )


def _words(design: Design, spec: LoadTestSpec, found: Run) -> str:
    sent, total = found.sent, found.sent.total
    spike = f", {spec.spike.factor:g} times that in the middle third" if spec.spike else ""
    refused = f", {sent.shed} refused" if sent.shed else ""
    return (
        f"{sent.sent} requests of up to {design.scale.candidates} candidates at {spec.rps:g}/s{spike}, open loop: "
        f"p50 {total.p50_ms:.1f} ms, p99 {total.p99_ms:.1f} ms, max {total.max_ms:.1f} ms, {sent.errors} errors"
        f"{refused}; other work on this machine took {found.others:.0%} of it"
    )


def _details(spec: LoadTestSpec, found: Run) -> dict[str, JsonValue]:
    content: dict[str, JsonValue] = json.loads(found.sent.model_dump_json())
    answered = max(found.sent.sent + found.sent.warmup, 1)
    spike: dict[str, JsonValue] | None = (
        {"factor": spec.spike.factor, "from_s": spec.spike.start_s, "to_s": spec.spike.end_s} if spec.spike else None
    )
    return content | {
        "shape": spec.shape,
        "rps": spec.rps,
        "seconds": spec.seconds,
        "spike": spike,
        "other_work": found.others,
        "speed": found.speed.model_dump(),
        "cpu_ms_per_request": 1e3 * found.watch.cpu_s / answered,
        "memory_mib": [[round(t, 1), round(size, 1)] for t, size in found.watch.samples],
        "largest_process_mib": found.watch.largest_mib,
    }
