"""Replicas from what was measured: the service time, memory and knee of `mlsd load --find-knee`, by queueing theory."""

import math
from dataclasses import dataclass

import numpy as np

from mlsd.core.errors import UserError
from mlsd.design.design import Design
from mlsd.plan.load_curve import LoadCurve
from mlsd.plan.queueing import Service, load, max_rps, quantile_ms

MIN_MS = 0.01


@dataclass(frozen=True)
class Need:
    """Replicas for the peak of the design, and how they were found."""

    replicas: int
    servers: int
    busy_ms: float
    max_rps: float
    rps: float
    load: float
    p99_ms: float
    memory_mib: float
    formula: str


@dataclass(frozen=True)
class Predicted:
    """p99 of one stage: the model's and the measured one."""

    rps: float
    load: float
    p99_ms: float
    seen_ms: float

    @property
    def error(self) -> float:
        """Relative, positive when the model says more."""
        return self.p99_ms / max(self.seen_ms, MIN_MS) - 1.0


def _cpu_ms(curve: LoadCurve, name: str) -> float:
    """Median over the stages that held."""
    return float(np.median([getattr(stage, name) for stage in curve.held]))


def _cs2(times: list[float]) -> float:
    """Squared coefficient of variation, without the slowest hundredth: those were held up, not busy."""
    kept = np.sort(np.asarray(times))[: math.ceil(0.99 * len(times))]
    return float(np.var(kept) / np.mean(kept) ** 2)


def here(curve: LoadCurve) -> tuple[Service, int]:
    """The service on the machine that was measured, with the client and the edge on its cores; and its servers."""
    beside = _cpu_ms(curve, "edge_cpu_ms") + _cpu_ms(curve, "client_cpu_ms")
    return _service(curve, curve.workers, curve.cores, beside)


def _service(curve: LoadCurve, workers: int, cores: int, beside_ms: float) -> tuple[Service, int]:
    """So many workers on so many cores, which also do `beside_ms` of other work a request: the scarcer one counts."""
    server, servers = _cpu_ms(curve, "server_cpu_ms"), min(workers, cores)
    share = max((server + beside_ms) / cores, server / workers)
    return Service(curve.answer_ms, max(servers * share, MIN_MS), _cs2(curve.service_ms)), servers


def replica(design: Design, curve: LoadCurve) -> tuple[Service, int]:
    """The service on a replica of the design: its cores carry the workers and the proxy beside them."""
    return _service(curve, design.serving.workers, design.capacity.replica_cpu, _cpu_ms(curve, "edge_cpu_ms"))


def predict(curve: LoadCurve) -> list[Predicted]:
    """The model beside the measured curve, stage by stage; nobody waits longer than admission control lets them."""
    service, servers = here(curve)
    return [
        Predicted(
            stage.rps,
            load(service, servers, stage.rps),
            quantile_ms(service, servers, stage.rps, longest_wait_ms=curve.max_queue_ms),
            stage.p99_ms,
        )
        for stage in curve.stages
    ]


def need(design: Design, curve: LoadCurve) -> Need:
    """Replicas so that p99 keeps the budget, no replica is busier than `capacity.load`, and one more may fail.

    Raises:
        UserError: one request alone takes longer than the budget.
    """
    service, servers = replica(design, curve)
    budget, peak = design.latency.service_ms, design.scale.peak_rps
    most = max_rps(service, servers, budget, design.capacity.load)
    if not most:
        found = f"{quantile_ms(service, servers, 0.0):.0f} ms"
        raise UserError(f"latency: found a p99 of {found} with one request at a time, expected at most {budget:g} ms")
    carrying = math.ceil(peak / most)
    rate = peak / carrying
    return Need(
        replicas=carrying + 1,
        servers=servers,
        busy_ms=service.busy_ms,
        max_rps=most,
        rps=rate,
        load=load(service, servers, rate),
        p99_ms=quantile_ms(service, servers, rate),
        memory_mib=design.serving.workers * max(stage.largest_mib for stage in curve.held),
        formula=f"{peak} rps / {most:.0f} rps a replica = {carrying}, and one to spare",
    )
