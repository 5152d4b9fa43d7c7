"""Prometheus metrics of the request path; every budget of the design is the edge of a bucket."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess

from mlsd.design import Design

HOPS = ("features", "inference", "post")
COMMON_S = (
    0.0005,
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.02,
    0.03,
    0.05,
    0.075,
    0.1,
    0.15,
    0.2,
    0.3,
    0.5,
    1.0,
    2.5,
)


def buckets(budgets_ms: Iterable[float]) -> list[float]:
    """Upper edges in seconds: a common scale and each budget, so that a share over budget is exact."""
    return sorted({*COMMON_S, *(budget / 1e3 for budget in budgets_ms)})


class Metrics:
    """Counters of one process; BentoML merges the processes of one service through files."""

    def __init__(self, design: Design) -> None:
        """Edges come from the design's hop budgets and its total."""
        latency = design.latency
        hops = latency.hops_ms
        edges = buckets([latency.service_ms, latency.p99_ms, hops.features, hops.inference, hops.post, hops.edge])
        own = CollectorRegistry()
        self._requests = Counter("mlsd_requests", "Answers to POST /rank.", ["role", "code"], registry=own)
        self._seconds = Histogram("mlsd_request_seconds", "Time inside the service.", buckets=edges, registry=own)
        hop = Histogram("mlsd_hop_seconds", "Time of one hop of a request.", ["hop"], buckets=edges, registry=own)
        self._hops = {name: hop.labels(hop=name) for name in HOPS}
        self._degraded = Counter(
            "mlsd_degraded", "Answers that were not the full ranking, by reason.", ["reason"], registry=own
        )
        self._dropped = Counter("mlsd_feature_log_dropped", "Records the feature log lost.", registry=own)

    def dropped(self, records: int) -> None:
        """Count records that the feature log lost."""
        self._dropped.inc(records)

    def refused(self, role: str, code: int) -> None:
        """Count an answer without a ranking."""
        self._requests.labels(role=role, code=code).inc()

    def answered(self, role: str, seconds: float, hops_ms: dict[str, float], degraded: list[str]) -> None:
        """Count one ranking."""
        self._requests.labels(role=role, code=200).inc()
        self._seconds.observe(seconds)
        for name, value in hops_ms.items():
            self._hops[name].observe(value / 1e3)
        for reason in degraded:
            self._degraded.labels(reason=reason).inc()


def exposition() -> bytes:
    """All processes of this service, merged, in Prometheus' text format; BentoML sets `PROMETHEUS_MULTIPROC_DIR`."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
