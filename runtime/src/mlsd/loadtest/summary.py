"""What one run of load has measured, as Locust wrote it down; any stretch of it can be looked at by itself."""

from collections.abc import Iterable
from typing import Self

from hdrh.histogram import HdrHistogram
from pydantic import BaseModel

LONGEST_US = 120_000_000
PERCENTILES = (10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)


class Latencies(BaseModel):
    """One HDR histogram, milliseconds; `percentiles` are pairs of percent and value, `encoded` is all of it."""

    count: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    percentiles: list[tuple[float, float]] = []
    encoded: str = ""

    @classmethod
    def merged(cls, parts: Iterable[Self]) -> Self:
        """One distribution out of several."""
        whole = HdrHistogram(1, LONGEST_US, 3)
        for part in parts:
            if part.encoded:
                whole.decode_and_add(part.encoded.encode())
        if not whole.get_total_count():
            return cls()
        points = [(p, whole.get_value_at_percentile(p) / 1e3) for p in PERCENTILES]
        of = dict(points)
        encoded = whole.encode().decode()
        return cls(
            count=whole.get_total_count(),
            p50_ms=of[50],
            p99_ms=of[99],
            max_ms=of[100],
            percentiles=points,
            encoded=encoded,
        )

    def at(self, percent: float) -> float:
        """Value at a percentile, milliseconds; 0 when nothing was counted."""
        if not self.encoded:
            return 0.0
        return float(HdrHistogram.decode(self.encoded.encode()).get_value_at_percentile(percent)) / 1e3


class Second(BaseModel):
    """Answers to the requests due in one second, by model version (`error`: no ranking), and those refused (429)."""

    t: int
    answers: dict[str, int]
    shed: int = 0
    latencies: Latencies = Latencies()

    @property
    def errors(self) -> int:
        """Requests without a ranking, refused ones aside."""
        return self.answers.get("error", 0)


class LoadSummary(BaseModel):
    """What one run has measured, warm-up excluded; latency counts from the intended start.

    `sent` counts all requests, `errors` those that failed, `shed` those refused with 429 for good, `retried` how often
    one that was refused was asked again. `total` holds every request
    but the refused ones; those are in `refused`. `client_cpu_s` is what sending took, warm-up included.
    """

    started_at: float
    sent: int
    errors: int
    shed: int = 0
    retried: int = 0
    warmup: int
    warmup_errors: int
    client_cpu_s: float = 0.0
    codes: dict[str, int]
    degraded: dict[str, int] = {}
    total: Latencies
    refused: Latencies = Latencies()
    lag: Latencies
    hops: dict[str, Latencies]
    by_version: dict[str, Latencies]
    timeline: list[Second]

    @property
    def refusals(self) -> str:
        """What was refused, in words, for a line that ends with it; empty when nothing was."""
        asked_again = f", {self.retried} refused and asked again" if self.retried else ""
        return asked_again + (f", {self.shed} refused for good" if self.shed else "")

    @property
    def failed(self) -> int:
        """Requests whose user saw no ranking, for whatever reason."""
        return self.errors + self.shed

    def between(self, start: float, end: float) -> Self:
        """The part due in whole seconds `start` to `end`: counts, `total` and timeline; hops and lag are the run's."""
        rows = [row for row in self.timeline if start <= row.t and row.t + 1 <= end]
        shed, errors = sum(row.shed for row in rows), sum(row.errors for row in rows)
        changes = {
            "sent": shed + sum(sum(row.answers.values()) for row in rows),
            "errors": errors,
            "shed": shed,
            "total": Latencies.merged(row.latencies for row in rows),
            "timeline": rows,
        }
        return self.model_copy(update=changes)
