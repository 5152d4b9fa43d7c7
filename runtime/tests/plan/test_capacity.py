"""The queueing model against a simulated queue, the load curve of rates, the plan from what was measured (5.15)."""

import heapq
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json
from mlsd.design.design import Design
from mlsd.loadtest import knee
from mlsd.loadtest.summary import Latencies, LoadSummary
from mlsd.plan import measured as plan_measured
from mlsd.plan.capacity import need, predict
from mlsd.plan.load_curve import LoadCurve, LoadStage, path_of, read_curve, record
from mlsd.plan.queueing import Service, erlang_c, max_rps, quantile_ms

MEAN_MS = 10.0
RNG = np.random.default_rng(1)
SERVICE_MS = {
    "constant": np.full(2000, MEAN_MS),
    "exponential": RNG.exponential(MEAN_MS, 8000),
    "lognormal": RNG.lognormal(math.log(MEAN_MS) - 0.125, 0.5, 8000),
}


def simulated(
    times: NDArray[np.float64], servers: int, rps: float, *, longest_wait_ms: float = math.inf, count: int = 60_000
) -> tuple[NDArray[np.float64], float]:
    """Answer times of a queue with known service times, and the share that was refused; arrivals are Poisson."""
    rng = np.random.default_rng(0)
    arrivals, work = np.cumsum(rng.exponential(1e3 / rps, count)), rng.choice(times, count)
    free, answered = [0.0] * servers, []
    for arrival, needed in zip(arrivals.tolist(), work.tolist(), strict=True):
        start = max(arrival, free[0])
        if start - arrival <= longest_wait_ms:
            heapq.heapreplace(free, start + needed)
            answered.append(start + needed - arrival)
    return np.asarray(answered[count // 20 :]), 1 - len(answered) / count


def service(times: NDArray[np.float64]) -> Service:
    return Service(times.tolist(), float(times.mean()), float(times.var() / times.mean() ** 2))


@pytest.mark.parametrize("kind", SERVICE_MS)
@pytest.mark.parametrize("servers", [1, 2, 8])
@pytest.mark.parametrize("load", [0.5, 0.7, 0.85])
def test_the_model_agrees_with_a_simulated_queue(kind: str, servers: int, load: float) -> None:
    """p99 of M/G/c within 15 % of a simulation, from idle to nearly full, whatever the service time's shape."""
    times = SERVICE_MS[kind]
    rps = load * servers * 1e3 / times.mean()
    expected = np.quantile(simulated(times, servers, rps)[0], 0.99)
    assert quantile_ms(service(times), servers, rps) == pytest.approx(expected, rel=0.15)


def test_erlang_c() -> None:
    """Tabled values: M/M/1 waits with probability rho; two servers at half load with 1/3."""
    assert erlang_c(1, 0.3) == pytest.approx(0.3)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)
    assert erlang_c(10, 8.0) == pytest.approx(0.4092, abs=1e-4)


def test_beyond_full_the_wait_is_what_admission_allows() -> None:
    """Without admission control there is no p99 beyond full; with it, that of the admitted is bounded."""
    times = SERVICE_MS["lognormal"]
    rps = 2 * 1e3 / times.mean() * 1.5
    assert quantile_ms(service(times), 2, rps) == math.inf
    answered, refused = simulated(times, 2, rps, longest_wait_ms=50.0)
    assert refused == pytest.approx(1 / 3, abs=0.02)
    assert np.quantile(answered, 0.99) == pytest.approx(
        quantile_ms(service(times), 2, rps, longest_wait_ms=50.0), rel=0.1
    )


def test_the_highest_rate_is_where_the_budget_ends() -> None:
    found = max_rps(service(SERVICE_MS["exponential"]), 2, 60.0, 0.99)
    assert quantile_ms(service(SERVICE_MS["exponential"]), 2, found) == pytest.approx(60.0, rel=0.01)
    assert max_rps(service(SERVICE_MS["constant"]), 2, 1e6, 0.7) == pytest.approx(0.7 * 200)
    assert max_rps(service(SERVICE_MS["constant"]), 2, MEAN_MS / 2, 0.7) == 0.0


def stage(rps: float, p99_ms: float, broke: str = "", **changes: Any) -> LoadStage:
    content = {"sent": 1000, "answered_rps": rps, "shed": 0, "errors": 0, "p50_ms": p99_ms / 3, "lag_p99_ms": 1.0}
    content |= {"server_cpu_ms": 8.0, "edge_cpu_ms": 0.5, "client_cpu_ms": 1.5, "largest_mib": 200.0, "other_work": 0.0}
    return LoadStage.model_validate(content | {"rps": rps, "p99_ms": p99_ms, "broke": broke} | changes)


def measured(**changes: Any) -> LoadCurve:
    """A load curve as a machine would show it that is the simulated queue: two workers of 10 ms a request in all."""
    times = SERVICE_MS["lognormal"]
    rates = (40.0, 80.0, 120.0, 160.0, 250.0)
    stages = [
        stage(
            rps, float(np.quantile(simulated(times, 2, rps, longest_wait_ms=100.0)[0], 0.99)), "x refused" * (rps > 200)
        )
        for rps in rates
    ]
    points = np.quantile(times, (np.arange(199) + 0.5) / 199).tolist()
    content = {"workers": 2, "cores": 2, "candidates": 500, "max_queue_ms": 100.0, "answer_ms": points}
    return LoadCurve.model_validate(content | {"service_ms": points, "stages": stages} | changes)


def test_the_model_is_held_against_the_measured_curve() -> None:
    """Each stage of a curve of known service time within 15 %, overload with refusals included."""
    found = predict(measured())
    assert [row.load for row in found] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.25])
    assert max(abs(row.error) for row in found) < 0.15


def test_replicas_keep_load_and_budget_with_one_to_spare(design: Design) -> None:
    """10,000 rps / (2 cores x 0.7 / 8.5 ms = 164.7 rps) = 61, and one."""
    found = need(design, measured())
    assert found.busy_ms == pytest.approx(8.5)
    assert found.max_rps == pytest.approx(2 * 0.7 / 8.5e-3)
    assert found.replicas == math.ceil(10_000 / found.max_rps) + 1 == 62
    assert found.load <= 0.7
    assert found.p99_ms < design.latency.service_ms
    assert found.memory_mib == 2 * 200.0
    cheaper = need(design, measured(stages=[stage(40.0, 20.0, server_cpu_ms=4.0)]))
    assert cheaper.replicas < found.replicas * 0.6


def test_a_request_that_alone_misses_the_budget_has_no_plan(design: Design) -> None:
    slow = [1000.0] * 199
    with pytest.raises(UserError, match="one request at a time, expected at most 150 ms"):
        need(design, measured(answer_ms=slow))


def stored(home: Home, curve: LoadCurve) -> None:
    record(home, curve)


def failed(design: Design, home: Home, curve: LoadCurve) -> set[str]:
    stored(home, curve)
    return {check.name for check in plan_measured.run(design, home).checks if not check.passed}


def test_the_plan_from_a_measured_curve(design: Design, home: Home) -> None:
    stored(home, measured())
    result = plan_measured.run(design, home)
    assert result.passed
    assert "62: 10000 rps / 165 rps a replica = 61, and one to spare" in result.summary
    assert "M/G/c, Allen-Cunneen" in result.summary
    assert result.details["knee_rps"] == 160.0


def test_the_plan_fails_on_a_replica_too_small_and_on_a_model_that_does_not_fit(design: Design, home: Home) -> None:
    large = [stage(40.0, 25.0, largest_mib=600.0)]
    assert failed(design, home, measured(stages=large)) == {"memory of a replica"}
    elsewhere = [stage(40.0, 25.0), stage(120.0, 100.0)]  # measured, but not what such a queue does
    assert failed(design, home, measured(stages=elsewhere)) == {"the model against the measured curve"}


@pytest.mark.parametrize(("factor", "fits"), [(0.4, True), (3.0, False)])
def test_one_rate_seen_faster_than_foretold_is_noise_and_one_far_slower_is_not(
    factor: float, fits: bool, design: Design, home: Home
) -> None:
    """The model may be too careful at one rate; too bold at any rate it would plan too few replicas."""
    stages = measured().stages
    stages[2] = stage(stages[2].rps, factor * stages[2].p99_ms)
    assert failed(design, home, measured(stages=stages)) == (
        set() if fits else {"the model against the measured curve"}
    )


def test_a_load_curve_of_other_requests_is_no_plan(design: Design, home: Home) -> None:
    stored(home, measured(candidates=100))
    with pytest.raises(UserError, match=r"load_curve\.json: measured with 100 candidates, expected 500; run"):
        plan_measured.run(design, home)


def test_without_a_measurement_the_plan_says_what_to_run(design: Design, home: Home) -> None:
    with pytest.raises(UserError, match=r"load_curve\.json: not found; run `mlsd up`, then `mlsd load --find-knee`"):
        plan_measured.run(design, home)
    write_json(path_of(home), {"stages": "many"})
    with pytest.raises(UserError, match=r"load_curve\.json: stages: "):
        read_curve(design, home)
    stored(home, measured(stages=[stage(40.0, 900.0, "p99 900 ms")]))
    with pytest.raises(UserError, match="no rate held"):
        read_curve(design, home)


def climb_to(limit: float) -> knee.Climb:
    fine = Latencies(count=1000, p50_ms=1.0, p99_ms=2.0)
    return lambda rps: knee.StageOutcome(stage(rps, 5.0, "p99 900 ms" * (rps > limit)), fine, fine)


@pytest.mark.parametrize("limit", [30.0, 81.0, 333.0, 5000.0])
def test_the_stages_find_the_knee(limit: float) -> None:
    """From above or below, to 6 %, with at most 20 stages."""
    seen = knee.stages(80.0, climb_to(limit))
    held = [each.stage.rps for each in seen if not each.stage.broke]
    assert limit * 0.94 <= max(held) <= limit
    assert len(seen) <= 20
    assert [each.stage.rps for each in seen] == sorted(each.stage.rps for each in seen)


def test_stages_on_which_nothing_holds_or_breaks_ends() -> None:
    assert all(each.stage.broke for each in knee.stages(80.0, climb_to(0.0)))
    assert max(each.stage.rps for each in knee.stages(80.0, climb_to(math.inf))) <= knee.HIGHEST


def test_a_knee_beside_other_work_is_no_knee() -> None:
    assert knee.quiet([stage(40.0, 5.0), stage(80.0, 5.0, other_work=0.9), stage(120.0, 5.0)]).passed
    assert not knee.quiet([stage(40.0, 5.0, other_work=0.5), stage(80.0, 5.0, other_work=0.4)]).passed


def summary(**changes: object) -> LoadSummary:
    fine = {"count": 1000, "p50_ms": 2.0, "p99_ms": 5.0, "max_ms": 9.0}
    content = {"started_at": 0.0, "sent": 1000, "errors": 0, "warmup": 0, "warmup_errors": 0, "codes": {"200": 1000}}
    content |= {"total": fine, "lag": fine, "hops": {}, "by_version": {}, "timeline": []}
    return LoadSummary.model_validate(content | changes)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, ""),
        ({"total": {"count": 1000, "p99_ms": 151.0}}, "p99 151 ms"),
        ({"shed": 2}, "2 refused"),
        ({"errors": 2}, "2 errors"),
        ({"degraded": {"pruned": 11}}, "11 answers cut short"),
        ({"degraded": {"cold_start": 500}}, ""),
        ({"total": {}}, "nothing answered"),
    ],
)
def test_what_breaks_a_stage(design: Design, changes: dict[str, object], why: str) -> None:
    assert knee.why_not(design, summary(**changes)) == why


def test_a_queue_that_grows_breaks_a_stage(design: Design) -> None:
    def rows(last_ms: float) -> list[dict[str, object]]:
        values = np.linspace(2.0, last_ms, 6)
        return [{"t": t, "answers": {"1": 1}, "latencies": encoded(ms)} for t, ms in enumerate(values)]

    assert knee.why_not(design, summary(timeline=rows(60.0))) == "the queue grows"
    assert knee.why_not(design, summary(timeline=rows(3.0))) == ""


def encoded(ms: float) -> dict[str, object]:
    from hdrh.histogram import HdrHistogram

    values = HdrHistogram(1, 120_000_000, 3)
    values.record_value(int(ms * 1e3))
    return {"count": 1, "p50_ms": ms, "p99_ms": ms, "max_ms": ms, "encoded": values.encode().decode()}
