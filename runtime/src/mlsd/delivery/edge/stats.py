"""What users got from each slot, counted by Envoy: a crash, a timeout and a reset count like a bad answer."""

import math
from dataclasses import dataclass
from typing import Any

from mlsd.delivery.edge.routing import Router

SIGNIFICANT = 2
KINDS = ("completed", "2xx", "4xx", "429", "active")
PATTERN = r"^cluster\.(a|b|a_shadow|b_shadow)\.upstream_rq_(completed|2xx|4xx|429|active|time)$"


def slow_edge_ms(budget_ms: float) -> float:
    """Histogram edge below which an answer is in time.

    Envoy keeps times in bins of two significant digits (circllhist) and counts the whole bin that holds an edge as
    below it: 140 to 149 ms are one bin, so an edge at 149.25 makes 150 ms slow. A budget of 225 ms acts like 220.
    """
    unit = 10.0 ** (math.floor(math.log10(budget_ms)) - SIGNIFICANT + 1)
    return round(math.floor(round(budget_ms / unit, 6)) * unit * 0.995, 6)


@dataclass(frozen=True)
class Answers:
    """Answers of one cluster since Envoy started, or between two readings."""

    total: int = 0  # without those whose fault the client's was (4xx), and without those refused (429)
    errors: int = 0  # 5xx, and what never became an answer
    slow: int = 0  # at the budget or over it
    active: int = 0
    refused: int = 0  # 429: the queue was too long

    def since(self, earlier: "Answers") -> "Answers":
        """What came after `earlier`; requests in flight are those of now."""
        return Answers(
            total=self.total - earlier.total,
            errors=self.errors - earlier.errors,
            slow=self.slow - earlier.slow,
            active=self.active,
            refused=self.refused - earlier.refused,
        )


def _slow(histogram: list[dict[str, Any]], edge_ms: float) -> int:
    in_time = next(b["cumulative"] for b in histogram if math.isclose(b["upper_bound"], edge_ms, rel_tol=1e-6))
    return int(max(b["cumulative"] for b in histogram) - in_time)


def parse(stats: list[dict[str, Any]], edge_ms: float) -> dict[str, Answers]:
    """Answers by cluster name from Envoy's `/stats?format=json&histogram_buckets=cumulative`."""
    counts: dict[str, int] = {}
    slow: dict[str, int] = {}
    for stat in stats:
        for histogram in stat.get("histograms", []):
            slow[histogram["name"].split(".")[1]] = _slow(histogram["buckets"], edge_ms)
        if "name" in stat:
            counts[stat["name"].removeprefix("cluster.")] = int(stat["value"])
    found = {}
    for cluster in {name.split(".")[0] for name in counts}:
        of = {kind: counts.get(f"{cluster}.upstream_rq_{kind}", 0) for kind in KINDS}
        total = of["completed"] - of["4xx"]
        found[cluster] = Answers(total, total - of["2xx"], slow.get(cluster, 0), of["active"], of["429"])
    return found


def read(router: Router, budget_ms: float) -> dict[str, Answers]:
    """Answers by cluster (`a`, `b`, and `a_shadow`, `b_shadow` for mirrored copies) since Envoy started."""
    return parse(router.stats(PATTERN), slow_edge_ms(budget_ms))
