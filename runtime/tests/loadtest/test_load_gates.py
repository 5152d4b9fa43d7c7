"""What a load run must have kept, gate by gate: each one fires, and is silent when it should be."""

import sys
import time
from typing import Any

import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import doubted
from mlsd.design.design import Design
from mlsd.loadtest import load_checks, soak_checks
from mlsd.loadtest.baseline import Baseline, check, save, stored
from mlsd.local import processes
from mlsd.local.machine.speed import MachineSpeed
from mlsd.local.machine.usage import UsageMeter
from support.load_summaries import failed, summary, timeline


def baseline_of(p99_ms: float, *, work_ms: float = 1.0, other_work: float = 0.0, held_up_ms: float = 0.1) -> Baseline:
    speed = MachineSpeed(work_ms=work_ms, held_up_ms=held_up_ms)
    return Baseline(shape="steady", rps=80, p50_ms=1, p99_ms=p99_ms, speed=speed, other_work=other_work, candidates=500)


@pytest.mark.parametrize(
    ("now", "passed"),
    [
        (baseline_of(119.0), True),
        (baseline_of(121.0), False),
        (baseline_of(230.0, work_ms=2.0), True),  # a machine half as fast
        (baseline_of(250.0, work_ms=2.0), False),
        (baseline_of(70.0, work_ms=0.5), False),  # twice as fast, and still slow
        (baseline_of(190.0, other_work=0.4), True),  # others took 40 % of the machine
        (baseline_of(210.0, other_work=0.4), False),
    ],
)
def test_the_machine_is_factored_out_of_the_comparison(now: Baseline, *, passed: bool) -> None:
    assert check(baseline_of(100.0), now, 0.2).passed == passed


def test_small_times_are_not_compared_finer_than_the_machine_can_tell() -> None:
    assert check(baseline_of(4.0), baseline_of(7.9), 0.2).passed
    assert not check(baseline_of(4.0), baseline_of(8.1), 0.2).passed
    assert check(baseline_of(4.0), baseline_of(13.0, held_up_ms=10.0), 0.2).passed


@pytest.mark.parametrize("other", [{"candidates": 100}, {"serving_mode": "batch"}, {"source": "movielens"}])
def test_runs_of_other_requests_are_not_compared(home: Home, other: dict[str, Any]) -> None:
    save(home, baseline_of(100.0))
    assert stored(home, baseline_of(200.0)) == baseline_of(100.0)
    assert stored(home, baseline_of(200.0).model_copy(update=other)) is None


def test_a_damaged_baseline_is_named(home: Home) -> None:
    home.baselines.mkdir(parents=True)
    (home.baselines / "steady-80.json").write_text("{}")
    with pytest.raises(UserError, match=r"steady-80\.json: not a baseline .* `mlsd load --save-baseline`"):
        stored(home, baseline_of(1.0))


def test_p99_that_drifts_up_fails_a_soak_and_one_that_jumps_about_does_not() -> None:
    assert not soak_checks.drift(summary(timeline=timeline([20 + t for t in range(60)])), 0.2).passed
    assert soak_checks.drift(summary(timeline=timeline([20 + 9 * (t % 2) for t in range(60)])), 0.2).passed
    assert soak_checks.drift(summary(timeline=timeline([50 - t / 2 for t in range(60)])), 0.2).passed
    assert not soak_checks.drift(summary(timeline=timeline([20.0] * 3)), 0.2).passed


LEAK = """
import http.server, threading, time
kept = []
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
threading.Thread(target=http.server.HTTPServer(("127.0.0.1", {port}), Ready).serve_forever, daemon=True).start()
while True:
    kept.append(bytearray({bytes})); time.sleep(0.05)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("leaks", "passed"), [(2**20, False), (1, True)])
def test_memory_that_grows_fails_a_soak(home: Home, free_port: int, *, leaks: int, passed: bool) -> None:
    """A real process in a slot's place, watched for three seconds."""
    program = LEAK.format(port=free_port, bytes=leaks)
    url = f"http://127.0.0.1:{free_port}/"
    processes.start(home, "slot-a", [sys.executable, "-c", program], env={}, ready_url=url)
    try:
        with UsageMeter(home) as watch:
            time.sleep(3.0)
    finally:
        processes.stop(home, "slot-a")
    assert soak_checks.growth(watch.samples).passed == passed
    assert not soak_checks.growth([]).passed


def test_no_answers_are_no_pass(design: Design) -> None:
    (only,) = load_checks.checks(design, summary(sent=0, total={}))
    assert not only.passed


@pytest.mark.parametrize("hop", ["features", "inference", "post", "edge"])
def test_each_hop_has_its_gate(design: Design, hop: str) -> None:
    """5.05: a hop over its budget fails by name, and so does one that nobody measured."""
    slow = {"count": 1000, "p99_ms": getattr(design.latency.hops_ms, hop) + 0.1}
    hops = summary().model_dump()["hops"]
    assert failed(design, summary()) == set()
    assert failed(design, summary(hops=hops | {hop: slow})) == {f"{hop} p99"}
    del hops[hop]
    assert failed(design, summary(hops=hops)) == {f"{hop} p99"}


def test_a_refusal_is_no_error_and_says_nothing_on_a_machine_that_gave_no_time(design: Design) -> None:
    """A 429 is an expected wait: seen beside other work, one in 800 taught nothing about the service."""
    refused = summary(shed=2)
    assert failed(design, refused) == {"refused"}
    doubted_ones = [check for check in doubted(load_checks.checks(design, refused)) if not check.passed]
    assert [(check.name, check.inconclusive) for check in doubted_ones] == [("refused", True)]
    wrong = [check for check in doubted(load_checks.checks(design, summary(errors=2))) if not check.passed]
    assert [(check.name, check.inconclusive) for check in wrong] == [("error rate", False)]


def test_errors_and_a_lagging_client_have_gates(design: Design) -> None:
    assert failed(design, summary(errors=2)) == {"error rate"}
    lag = {"count": 1000, "p99_ms": design.load_test.max_client_lag_ms + 1}
    assert failed(design, summary(lag=lag)) == {"client's own lag p99"}
