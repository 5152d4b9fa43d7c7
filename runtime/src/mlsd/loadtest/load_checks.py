"""The verdict on a run of load, by its shape: each number of the design beside the measured one."""

import math

from mlsd.core.result import Check
from mlsd.design.design import Design
from mlsd.loadtest.sender import Spike
from mlsd.loadtest.summary import LoadSummary

HOPS = ("edge", "features", "inference", "post")
SETTLE_S = 1  # after a spike, until what waited is answered


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


def _refused(name: str, count: int, of: int, most: float) -> Check:
    """Answers 429: the expected wait was too long, so a machine that gives the service no time causes them too."""
    return _rate(name, count, of, most).model_copy(update={"timing": True})


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
        _rate("error rate", sent.errors, sent.sent, design.load_test.max_error_rate),
        _refused("refused", sent.shed, sent.sent, design.load_test.max_error_rate),
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
        _refused("refused outside the spike", outside[1], outside[0], most),
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
