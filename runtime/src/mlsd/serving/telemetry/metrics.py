"""Prometheus metrics of the request path; every budget of the design is the edge of a bucket."""

import errno
import logging
import os
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from mlsd.design.design import Design

LOGGER = logging.getLogger("mlsd.metrics")
FILES = ("counter", "histogram", "gauge_livemax", "gauge_livesum")  # of prometheus_client, one of each kind below
FILE_BYTES = 2**19  # several times what all labels take
RETRY_S = 1.0
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

AGES_S = tuple(hours * 3600.0 for hours in (0.1, 1, 3, 6, 12, 24, 48, 96, 168, 336, 720, 2160, 8760))


def buckets(budgets_ms: Iterable[float]) -> list[float]:
    """Upper edges in seconds: a common scale and each budget, so that a share over budget is exact."""
    return sorted({*COMMON_S, *(budget / 1e3 for budget in budgets_ms)})


class Metrics:
    """Counters of one process; BentoML merges the processes of one service through files."""

    def __init__(self, design: Design) -> None:
        """Edges come from the design's hop budgets and its total."""
        latency = design.latency
        hops = latency.hops_ms
        waits = design.serving.admission.prune_queue_ms, design.serving.admission.max_queue_ms
        edges = buckets(
            [latency.service_ms, latency.p99_ms, hops.features, hops.inference, hops.post, hops.edge, *waits]
        )
        own = CollectorRegistry()
        self._requests = Counter("mlsd_requests", "Answers to POST /rank.", ["role", "code"], registry=own)
        self._seconds = Histogram("mlsd_request_seconds", "Time inside the service.", buckets=edges, registry=own)
        hop = Histogram("mlsd_hop_seconds", "Time of one hop of a request.", ["hop"], buckets=edges, registry=own)
        self._hops = {name: hop.labels(hop=name) for name in HOPS}
        self._degraded = Counter(
            "mlsd_degraded", "Answers that were not the full ranking, by reason.", ["reason"], registry=own
        )
        breaker = "1 while this service leaves its online store alone."
        self._breaker = Gauge("mlsd_store_breaker_open", breaker, registry=own, multiprocess_mode="livemax")
        self._breaker.set(0)
        self._ages = Histogram(
            "mlsd_feature_age_seconds",
            "Age of the stored values that an answer was made from, by view.",
            ["view"],
            buckets=sorted({*AGES_S, *(hours * 3600.0 for hours in design.max_age_h.model_dump().values())}),
            registry=own,
        )
        model = "Workers that score with this engine, model version and release."
        names = ["engine", "model_version", "release"]
        self._model = Gauge("mlsd_model", model, names, registry=own, multiprocess_mode="livesum")
        self._scored_by: Gauge | None = None
        self._dropped = Counter("mlsd_feature_log_dropped", "Records the feature log lost.", registry=own)

        self._queue = Histogram("mlsd_queue_seconds", "Wait for a ranking thread.", buckets=edges, registry=own)
        self._cache = Counter("mlsd_cache", "Looks for an answer given before.", ["result"], registry=own)
        self._looked = {found: self._cache.labels(result="hit" if found else "miss") for found in (True, False)}
        self._shed = Counter("mlsd_shed", "Requests refused with 429: their turn was too far away.", registry=own)
        self._pruned = Counter("mlsd_pruned", "Answers with fewer candidates scored.", registry=own)
        self._stuck = Counter("mlsd_stuck_threads", "Ranking threads that were given up.", registry=own)

    def model(self, engine: str, model_version: int, release: int) -> None:
        """Say what this process scores with from now on."""
        if self._scored_by is not None:
            self._scored_by.set(0)
        self._scored_by = self._model.labels(engine, model_version, release)
        self._scored_by.set(1)

    def looked_up(self, *, found: bool) -> None:
        """Count a look into the cache."""
        self._looked[found].inc()

    def shed(self) -> None:
        """Count a request that was refused because of the queue."""
        self._shed.inc()

    def stuck(self) -> None:
        """Count a ranking thread that did not come back in time."""
        self._stuck.inc()

    def breaker(self, opened: bool) -> None:
        """Say whether the online store is left alone."""
        self._breaker.set(opened)

    def ages(self, ages_s: dict[str, float]) -> None:
        """Count how old the values of one ranking were, by view."""
        for view, age in ages_s.items():
            self._ages.labels(view=view).observe(age)

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
        self._queue.observe(hops_ms.get("queue", 0.0) / 1e3)
        for name in HOPS:
            self._hops[name].observe(hops_ms.get(name, 0.0) / 1e3)
        if "pruned" in degraded:
            self._pruned.inc()
        for reason in degraded:
            self._degraded.labels(reason=reason).inc()


def exposition() -> bytes:
    """All processes of this service, merged, in Prometheus' text format; BentoML sets `PROMETHEUS_MULTIPROC_DIR`."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def reserve() -> None:
    """Take the disk space of this process's metrics now, and wait for it where the disk is full.

    The metrics of several processes are memory maps. On a full disk the first write to a page that has no block yet is
    no exception but SIGBUS, the end of a worker that was well.
    """
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if not folder or not hasattr(os, "posix_fallocate"):
        return
    said = False
    for kind in FILES:
        while not _reserved(Path(folder) / f"{kind}_{os.getpid()}.db"):
            if not said:
                LOGGER.error("%s: no room on the disk for the metrics of this process; it starts when there is", folder)
            said = True
            time.sleep(RETRY_S)


def _reserved(path: Path) -> bool:
    """False for a disk without room; any other disk that cannot reserve is taken as it is."""
    try:
        with path.open("ab") as file:
            os.posix_fallocate(file.fileno(), 0, FILE_BYTES)
    except OSError as error:
        return error.errno not in {errno.ENOSPC, errno.EDQUOT}
    return True


def forget_dead_processes() -> None:
    """Take away the gauges of workers that were killed: they would hold their last value for ever."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    for path in Path(folder).glob("gauge_live*_*.db") if folder else ():
        pid = path.stem.rpartition("_")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            path.unlink(missing_ok=True)
