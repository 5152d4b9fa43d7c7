"""The verdict on a long run of load: what may not rise meanwhile."""

import statistics
from itertools import combinations

from mlsd.core.result import Check
from mlsd.design.design import Design
from mlsd.loadtest.baseline import RESOLUTION_MS
from mlsd.loadtest.load_checks import at_most, checks
from mlsd.loadtest.summary import LoadSummary
from mlsd.local.machine.usage import UsageMeter

WINDOWS = 6
GROWTH_MIB = 8.0
GROWTH = 0.02
"""Memory may rise by so much between the second and the last quarter of a soak. Ten minutes at 80 requests a second
have 24,000 requests between the two: a leak of 350 bytes a request is seen, the allocator's own breathing is not."""


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
