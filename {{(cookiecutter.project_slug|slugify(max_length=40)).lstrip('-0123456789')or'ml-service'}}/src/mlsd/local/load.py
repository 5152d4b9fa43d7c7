"""Open-loop load on the local stack, and the verdict: every percentile against the budget of the design."""

import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, JsonValue, ValidationError

from mlsd import clock
from mlsd.design import Design
from mlsd.errors import UserError
from mlsd.home import Home
from mlsd.local.busy import Reading, other_share
from mlsd.local.ports import find_ports
from mlsd.result import Check, StepResult

STARTUP_S = 30.0  # of Locust's imports, on a busy machine
STOP_S = 20.0
MOST_LINES = 5
TRIES = 3
QUIET = 0.1  # of the machine: more by others, and a missed budget may be theirs
LOGGER = logging.getLogger("mlsd")


class Latencies(BaseModel):
    """One HDR histogram, milliseconds; `percentiles` are pairs of percent and value."""

    count: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    percentiles: list[tuple[float, float]] = []


class Second(BaseModel):
    """Answers to the requests due in one second, by model version; `error` for those without a ranking."""

    t: int
    answers: dict[str, int]


class LoadSummary(BaseModel):
    """What one run has measured, warm-up excluded; latency counts from the intended start."""

    started_at: float
    sent: int
    errors: int
    warmup: int
    warmup_errors: int
    codes: dict[str, int]
    total: Latencies
    lag: Latencies
    hops: dict[str, Latencies]
    by_version: dict[str, Latencies]
    timeline: list[Second]


@dataclass
class LoadProcess:
    """Locust in a process of its own (in one that imported MLflow it would end in a RecursionError)."""

    process: subprocess.Popen[bytes]
    out: Path
    log: Path
    deadline: float

    def wait(self) -> LoadSummary:
        """Let the run end by itself.

        Raises:
            UserError: it did not end in time, or left no result.
        """
        try:
            self.process.wait(max(0.0, self.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._stop()
        return self._summary()

    def finish(self) -> LoadSummary:
        """End the run now; requests in flight are still answered and counted.

        Raises:
            UserError: it left no result.
        """
        self._stop()
        return self._summary()

    def _stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _summary(self) -> LoadSummary:
        try:
            return LoadSummary.model_validate_json(self.out.read_bytes())
        except (OSError, ValidationError):
            tail = " | ".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-MOST_LINES:])
            raise UserError(f"load: Locust left no result (exit code {self.process.returncode}): {tail}") from None
        finally:
            self.out.unlink(missing_ok=True)


def _locustfile() -> Path:
    """The project's own load test: beside the sources, or in the working directory."""
    places = [root / "loadtests" / "locustfile.py" for root in (Path(__file__).parents[3], Path.cwd())]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UserError(f"{places[-1]}: not found; run in the project's folder")
    return found


def start(
    design: Design,
    home: Home,
    *,
    seconds: float | None = None,
    rps: float | None = None,
    warmup_s: float = 0.0,
    shifted: bool = False,
    host: str | None = None,
) -> LoadProcess:
    """Start a run in the background; numbers not given come from `design.yaml: load_test`.

    Args:
        design: the rate and the length.
        home: where the traffic lies and the result goes.
        seconds: measured time.
        rps: arrivals per second.
        warmup_s: time before it that is not measured.
        shifted: send the mix of requests with the planted shift.
        host: base URL, default the local edge.

    Raises:
        UserError: there is no traffic to send.
    """
    traffic = home.data / ("traffic_shifted.jsonl" if shifted else "traffic.jsonl")
    if not traffic.is_file() or not traffic.stat().st_size:
        raise UserError(f"{traffic}: no requests to send; run `mlsd features`")
    test = design.load_test
    seconds, rps = seconds or test.seconds, rps or test.rps
    for folder in (home.run, home.logs):
        folder.mkdir(parents=True, exist_ok=True)
    out, log = home.run / f"load-{os.getpid()}-{time.monotonic_ns()}.json", home.logs / "load.log"
    argv = [sys.executable, "-m", "locust", "-f", str(_locustfile()), "--headless", "--only-summary"]
    argv += ["--exit-code-on-error", "0", "--loglevel", "WARNING", "--host", host or find_ports().edge_url]
    argv += ["--rps", str(rps), "--seconds", str(seconds), "--warmup", str(warmup_s)]
    argv += ["--traffic", str(traffic), "--out", str(out)]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, cwd=home.run, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    return LoadProcess(process, out, log, time.monotonic() + seconds + warmup_s + STARTUP_S)


def _at_most(name: str, measured: float, limit: float, unit: str = " ms") -> Check:
    return Check(name=name, designed=f"<= {limit:g}{unit}", measured=f"{measured:.2f}{unit}", passed=measured <= limit)


def checks(design: Design, sent: LoadSummary) -> list[Check]:
    """The gates of a run: none passes on no answers; a client that lagged makes the run invalid."""
    if not sent.total.count:
        return [Check(name="answers measured", designed="> 0", measured="0", passed=False)]
    test, budgets = design.load_test, design.latency.hops_ms.model_dump()
    wanted = [name for name in ("edge", "features", "inference", "post") if budgets[name]]
    found = [
        _at_most("p99 from the schedule", sent.total.p99_ms, design.latency.service_ms),
        *(_at_most(f"{hop} p99", sent.hops[hop].p99_ms, budgets[hop]) for hop in wanted if hop in sent.hops),
        *(_missing(hop) for hop in wanted if hop not in sent.hops),
    ]
    rate = sent.errors / sent.sent
    most = test.max_error_rate
    error = Check(
        name="error rate", designed=f"<= {most:g}", measured=f"{rate:.4f} of {sent.sent}", passed=rate <= most
    )
    return [*found, error, _at_most("client's own lag p99", sent.lag.p99_ms, test.max_client_lag_ms)]


def _missing(hop: str) -> Check:
    return Check(name=f"{hop} p99", designed="measured", measured="no answer told its time", passed=False)


def _measured(
    design: Design, home: Home, seconds: float | None, rps: float | None, shifted: bool
) -> tuple[LoadSummary, float]:
    """What the run saw, and the share of the machine that others took; a miss beside other work is measured again."""
    warmup_s = design.load_test.warmup_s
    for attempt in range(1, TRIES + 1):
        before = Reading.take(home)
        sent = start(design, home, seconds=seconds, rps=rps, warmup_s=warmup_s, shifted=shifted).wait()
        others = other_share(before, Reading.take(home))
        if others <= QUIET or all(check.passed for check in checks(design, sent)):
            break
        LOGGER.info("load: run %d of %d missed a budget while other work took %.0f %%", attempt, TRIES, 100 * others)
    return sent, others


def run(
    design: Design, home: Home, seconds: float | None = None, rps: float | None = None, *, shifted: bool = False
) -> StepResult:
    """Send the load, wait for the end, judge it."""
    sent, others = _measured(design, home, seconds, rps, shifted)
    rate = rps or design.load_test.rps
    total = sent.total
    summary = (
        f"{sent.sent} requests of up to {design.scale.candidates} candidates at {rate:g}/s, open loop: "
        f"p50 {total.p50_ms:.1f} ms, p99 {total.p99_ms:.1f} ms, max {total.max_ms:.1f} ms, {sent.errors} errors; "
        f"other work on this machine took {others:.0%} of it"
    )
    details: dict[str, JsonValue] = json.loads(sent.model_dump_json()) | {"rps": rate, "other_work": others}
    step = "load_shifted" if shifted else "load"
    return StepResult(step=step, summary=summary, checks=checks(design, sent), details=details, at=clock.now())
