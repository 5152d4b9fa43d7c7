"""The verdict on a run of load, by its shape: each number of the design beside the measured one."""

import math
import statistics
from itertools import combinations

from mlsd.core.result import Check
from mlsd.design.design import Design
from mlsd.loadtest.baseline import RESOLUTION_MS
from mlsd.loadtest.sender import Spike
from mlsd.loadtest.summary import LoadSummary
from mlsd.local.machine.usage import UsageMeter

HOPS = ("edge", "features", "inference", "post")
SETTLE_S = 1  # after a spike, until what waited is answered
WINDOWS = 6
GROWTH_MIB = 8.0
GROWTH = 0.02
"""Memory may rise by so much between the second and the last quarter of a soak. Ten minutes at 80 requests a second
have 24,000 requests between the two: a leak of 350 bytes a request is seen, the allocator's own breathing is not."""


def at_most(name: str, measured: float, limit: float, unit: str = " ms") -> Check:
    """One upper limit."""
    return Check(
        name=name,
        designed=f"<= {limit:g}{unit}",
        measured=f"{measured:.2f}{unit}",
        passed=measured <= limit,
        timing=unit == " ms",
    )


def _missing(hop: str) -> Check:
    return Check(name=f"{hop} p99", designed="measured", measured="no answer told its time", passed=False)


def _hops(design: Design, sent: LoadSummary, names: tuple[str, ...]) -> list[Check]:
    budgets = design.latency.hops_ms.model_dump()
    wanted = [name for name in names if budgets[name]]
    return [
        *(at_most(f"{hop} p99", sent.hops[hop].p99_ms, budgets[hop]) for hop in wanted if hop in sent.hops),
        *(_missing(hop) for hop in wanted if hop not in sent.hops),
    ]


def _rate(name: str, count: int, of: int, most: float) -> Check:
    rate = count / of if of else 0.0
    return Check(name=name, designed=f"<= {most:g}", measured=f"{rate:.4f} of {of}", passed=rate <= most)


def _lag(design: Design, sent: LoadSummary) -> Check:
    return at_most("client's own lag p99", sent.lag.p99_ms, design.load_test.max_client_lag_ms)


def nothing_measured() -> Check:
    """A run without answers is no pass."""
    return Check(name="answers measured", designed="> 0", measured="0", passed=False)


def checks(design: Design, sent: LoadSummary) -> list[Check]:
    """The gates of a steady run: none passes on no answers; a client that lagged makes the run invalid."""
    if not sent.total.count:
        return [nothing_measured()]
    return [
        at_most("p99 from the schedule", sent.total.p99_ms, design.latency.service_ms),
        *_hops(design, sent, HOPS),
        _rate("error rate", sent.failed, sent.sent, design.load_test.max_error_rate),
        _lag(design, sent),
    ]


def spike_checks(design: Design, sent: LoadSummary, spike: Spike, rps: float) -> list[Check]:
    """The gates of a run with a spike: in it the service may refuse (429), but whom it admits it answers in time.

    The edge hop holds what waits for the service then, so it has no gate of its own here; p99 of the whole has.
    """
    if not sent.total.count:
        return [nothing_measured()]
    inside, outside = sent.between(spike.start_s, spike.end_s), _outside(sent, spike)
    most, served = design.load_test.max_error_rate, (inside.sent - inside.failed) / max(spike.end_s - spike.start_s, 1)
    before = sent.between(0, spike.start_s)
    after = sent.between(spike.end_s + SETTLE_S, math.inf)
    limit = design.latency.service_ms
    return [
        at_most("p99 before the spike", before.total.p99_ms, limit),
        at_most("p99 of those admitted in the spike", inside.total.p99_ms, limit),
        at_most("p99 after the spike", after.total.p99_ms, limit),
        *_hops(design, sent, HOPS[1:]),
        _rate("error rate, refused aside", sent.errors, sent.sent, most),
        _rate("refused outside the spike", outside[1], outside[0], most),
        Check(
            name="answered in the spike",
            designed=f">= {rps:g}/s, the rate before it",
            measured=f"{served:.1f}/s of {inside.sent / max(spike.end_s - spike.start_s, 1):.1f}, "
            f"{inside.shed / max(inside.sent, 1):.1%} refused",
            passed=served >= rps * (1 - most),
            timing=True,
        ),
        _lag(design, sent),
    ]


def _outside(sent: LoadSummary, spike: Spike) -> tuple[int, int]:
    """Requests sent and refused before the spike and after it has settled."""
    rows = [row for row in sent.timeline if row.t < spike.start_s or row.t >= spike.end_s + SETTLE_S]
    shed = sum(row.shed for row in rows)
    return sum(sum(row.answers.values()) for row in rows) + shed, shed


def soak_checks(design: Design, sent: LoadSummary, watch: UsageMeter) -> list[Check]:
    """The gates of a long run: those of a steady one, no worker ends, and neither memory nor p99 rises meanwhile."""
    ended = Check(name="workers that ended", designed="0", measured=str(watch.ended), passed=not watch.ended)
    return [*checks(design, sent), ended, growth(watch.samples), drift(sent, design.load_test.max_regression)]


def growth(memory: list[tuple[float, float]]) -> Check:
    """Memory of all workers, MiB over seconds: the last quarter of the run against the second."""
    name = "growth of the workers' memory"
    quarter = len(memory) // 4
    if not quarter:
        return Check(name=name, designed="measured", measured="no worker was seen", passed=False)
    before = statistics.median(size for _, size in memory[quarter : 2 * quarter])
    after = statistics.median(size for _, size in memory[-quarter:])
    return at_most(name, after - before, max(GROWTH_MIB, GROWTH * before), " MiB")


def drift(sent: LoadSummary, allowed: float) -> Check:
    """p99 window by window; the line through them (Theil-Sen: the median of all slopes) may rise by so much in all."""
    length = max(len(sent.timeline) // WINDOWS, 1)
    windows = [sent.between(start, start + length).total for start in range(0, length * WINDOWS, length)]
    p99 = [window.p99_ms for window in windows if window.count]
    if len(p99) < WINDOWS:
        return Check(name="drift of p99", designed=f"{WINDOWS} windows", measured=str(len(p99)), passed=False)
    slopes = [(later - earlier) / (j - i) for (i, earlier), (j, later) in combinations(enumerate(p99), 2)]
    rise, limit = statistics.median(slopes) * (WINDOWS - 1), max(allowed * statistics.median(p99), RESOLUTION_MS)
    return at_most("drift of p99", rise, round(limit, 2))
