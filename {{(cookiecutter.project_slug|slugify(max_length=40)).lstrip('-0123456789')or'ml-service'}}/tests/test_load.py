"""The load gate: a stall cannot hide, no answers are no pass, a client that lags measures nothing."""

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest
from hdrh.histogram import HdrHistogram

from mlsd.design import Design
from mlsd.errors import UserError
from mlsd.home import Home
from mlsd.local import load, load_checks, processes, sender
from mlsd.local.baseline import Baseline, check, stored
from mlsd.local.calibration import Speed
from mlsd.local.measured import LoadSummary
from mlsd.local.usage import Watch
from mlsd.queueing import Service, quantile_ms
from mlsd.report import load_page
from mlsd.report.closed import outside
from mlsd.result import StepResult

pytestmark = pytest.mark.slow


TIMING = "features;dur=0.4, inference;dur=1.5, post;dur=0.2, service;dur=2.2"


class Model(BaseHTTPRequestHandler):
    """Answers at once; can freeze for a second at its 100th request, be slow, or refuse beyond a rate."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    lock = threading.Lock()
    stalls = False
    slow_s = 0.0
    most_a_second = 10**9
    seen = 0
    frozen_until = 0.0
    times: ClassVar[deque[float]] = deque()
    lanes: ClassVar[threading.Semaphore] = threading.Semaphore(1000)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        now = time.monotonic()
        with self.lock:
            Model.seen += 1
            if self.stalls and self.seen == 100:
                Model.frozen_until = now + 1.0
            while self.times and self.times[0] < now - 1:
                self.times.popleft()
            refused = len(self.times) >= self.most_a_second
            if not refused:
                self.times.append(now)
        with self.lanes:
            time.sleep(max(0.0, self.frozen_until - now) + (0 if refused else self.slow_s))
        status = 429 if refused else 200
        self.send_response(status if self.headers["x-user-id"] == "7" else 400)
        self.send_header("content-length", "2")
        self.send_header("server-timing", TIMING)
        self.send_header("x-mlsd-model-version", "3")
        self.end_headers()
        self.wfile.write(b"{}")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


class Server(ThreadingHTTPServer):
    """A thread per connection."""

    request_queue_size = 256
    daemon_threads = True


@contextmanager
def serving(
    *, port: int = 0, stalls: bool = False, slow_s: float = 0.0, most: int = 10**9, lanes: int = 1000
) -> Iterator[str]:
    Model.stalls, Model.slow_s, Model.most_a_second = stalls, slow_s, most
    Model.lanes = threading.Semaphore(lanes)
    Model.seen, Model.frozen_until = 0, 0.0
    server = Server(("127.0.0.1", port), Model)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def quick(design: Design, home: Home) -> Design:
    """The design with a short run, and one request to send."""
    home.data.mkdir(parents=True)
    (home.data / "traffic.jsonl").write_text(json.dumps({"user_id": 7, "candidates": [1, 2]}) + "\n")
    content = design.model_dump(mode="json")
    content["load_test"] |= {"rps": 100, "seconds": 3}
    return Design.model_validate(content)


def failed(design: Design, sent: LoadSummary) -> set[str]:
    return {check.name for check in load_checks.checks(design, sent) if not check.passed}


def test_one_stall_of_a_second_fails_the_gate_though_most_answers_are_fast(quick: Design, home: Home) -> None:
    """5.34: latency counts from the intended start, so one second of silence reaches every request due in it."""
    with serving(stalls=True) as host:
        sent = sender.start(quick, home, host=host, pattern=sender.Pattern(warmup_s=0.5)).wait()
    assert sent.errors == 0
    assert sent.total.p50_ms < 0.5 * sent.total.p99_ms
    assert sent.total.p99_ms > 800
    assert "p99 from the schedule" in failed(quick, sent)


def test_a_healthy_server_passes(quick: Design, home: Home) -> None:
    with serving(stalls=False) as host:
        sent = sender.start(quick, home, host=host, pattern=sender.Pattern(warmup_s=0.5)).wait()
    assert failed(quick, sent) <= {"client's own lag p99", "edge p99"}  # a busy test machine may lag
    assert sent.sent == 300
    assert sent.warmup == 50
    assert sent.by_version["3"].count == 300
    assert sum(second.answers["3"] for second in sent.timeline) == 300
    assert sent.hops["inference"].p99_ms == pytest.approx(1.5, rel=0.01)
    assert not list(home.run.glob("load-*"))


def test_a_run_ended_early_keeps_what_it_measured(quick: Design, home: Home) -> None:
    with serving(stalls=False) as host:
        running = sender.start(quick, home, host=host, seconds=600)
        until = time.monotonic() + 20
        while Model.seen < 100 and time.monotonic() < until:
            time.sleep(0.05)
        sent = running.finish()
    assert sent.errors == 0
    assert 40 <= sent.sent < 2000


def test_nothing_listening_fails(quick: Design, home: Home) -> None:
    sent = sender.start(quick, home, host="http://127.0.0.1:9", seconds=0.3, rps=20).wait()
    assert sent.errors == sent.sent > 0
    assert "error rate" in failed(quick, sent)


def test_the_queueing_model_agrees_with_a_real_queue(quick: Design, home: Home) -> None:
    """5.15: two at a time, 15 ms each, 100 a second as independent users come: load 0.75, one in ten waits long.

    Only from below: a busy machine adds to a real queue, nothing takes away. `test_capacity` holds both sides.
    """
    with serving(slow_s=0.015, lanes=2) as host:
        sent = sender.start(quick, home, host=host, seconds=4, pattern=sender.Pattern(poisson=True)).wait()
    assert sent.failed == 0
    assert 330 < sent.sent < 470
    modelled = quantile_ms(Service([17.0] * 100, busy_ms=15.3, cs2=0.0), 2, 100.0, 0.9)
    assert modelled > 40  # evenly spaced they would all take 17
    assert sent.total.at(90) > 0.6 * modelled


@pytest.fixture
def patient(quick: Design) -> Design:
    """The quick design with budgets and a client that a busy test machine keeps too."""
    content = quick.model_dump(mode="json")
    hops = {"retrieval": 50, "edge": 900, "features": 10, "inference": 50, "post": 10}
    content["latency"] = {"p99_ms": 1200, "hops_ms": hops}
    content["load_test"] |= {"rps": 40, "warmup_s": 0.3, "max_client_lag_ms": 900, "spike_factor": 5}
    return Design.model_validate(content)


def by_name(result: StepResult) -> dict[str, bool]:
    return {check.name: check.passed for check in result.checks}


def test_in_a_spike_refusals_are_no_errors_and_those_admitted_are_judged(
    patient: Design, home: Home, free_port: int
) -> None:
    """5.18: five times the rate in the middle third, of which the server takes three; outside none is refused."""
    with serving(port=free_port, most=120):
        result = load.run(patient, home, seconds=6, shape="spike")
    assert result.passed, result.checks
    sent = LoadSummary.model_validate(result.details)
    assert sent.sent == 4 * 40 + 2 * 200
    assert sent.errors == 0
    assert sent.shed == sent.codes["429"] > 50
    assert sent.refused.count + sent.total.count == sent.sent
    assert not sent.between(0, 2).shed
    assert "refused" in result.summary
    page = load_page.render(patient, result)
    assert outside(page) == []
    assert "The run, second by second" in page
    assert f"{sent.total.p99_ms:.2f}" in page
    named = load_page.write(patient, home, result)
    assert str(home.root / "load_spike.html") in named.summary


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, set()),
        ({0: {"shed": 1}}, {"refused outside the spike"}),
        ({5: {"shed": 1}}, {"refused outside the spike"}),
        ({4: {"shed": 50}}, set()),  # what had piled up
        ({t: {"shed": 190, "answers": {"1": 10}} for t in (2, 3)}, {"answered in the spike"}),
        ({3: {"latencies": {"count": 1, "encoded": "slow"}}}, {"p99 of those admitted in the spike"}),
        ({5: {"latencies": {"count": 1, "encoded": "slow"}}}, {"p99 after the spike"}),
    ],
)
def test_what_fails_a_spike(patient: Design, changes: dict[int, dict[str, object]], wrong: set[str]) -> None:
    """5.18, gate by gate: 40 requests a second, 200 of them in seconds 2 and 3."""
    fast, slow = (timeline([ms])[0]["latencies"] for ms in (5.0, 5000.0))
    rows = [{"t": t, "answers": {"1": 200 if t in {2, 3} else 40}, "latencies": fast} for t in range(6)]
    for t, change in changes.items():
        rows[t] |= {name: slow if name == "latencies" else value for name, value in change.items()}
    sent = summary(timeline=rows)
    found = load_checks.spike_checks(patient, sent, sender.Spike(5, 2, 4), 40)
    assert {check.name for check in found if not check.passed} == wrong


def test_a_spike_needs_time_around_it(patient: Design, home: Home) -> None:
    with pytest.raises(UserError, match="--seconds: found 5, expected 6 or more"):
        load.run(patient, home, seconds=5, shape="spike")


def test_a_slower_server_fails_against_the_baseline_and_the_same_one_does_not(
    patient: Design, home: Home, free_port: int
) -> None:
    """The first passing run is the baseline."""
    name = "p99 against the baseline"
    with serving(port=free_port):
        first = load.run(patient, home, seconds=1)
        assert name not in by_name(first)
        assert "is the baseline from now on" in first.summary
        assert by_name(load.run(patient, home, seconds=1))[name]
    with serving(port=free_port, slow_s=0.6):
        slow = load.run(patient, home, seconds=1)
    assert {check.name for check in slow.checks if not check.passed} == {name}
    assert "machine x" in next(check for check in slow.checks if check.name == name).designed


def test_a_new_baseline_is_saved_on_purpose_only(patient: Design, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(p99_ms: float) -> None:
        total = {"count": 1000, "p50_ms": 2.0, "p99_ms": p99_ms}
        run = load.Run(summary(total=total), 0.0, Speed(work_ms=1.0, held_up_ms=0.1), Watch(home))
        monkeypatch.setattr(load, "_once", lambda *_: run)

    measured(100.0)
    assert load.run(patient, home).passed
    measured(200.0)
    assert not load.run(patient, home).passed
    assert load.run(patient, home, save_baseline=True).passed
    assert load.run(patient, home).passed
    assert load.run(patient, home, rps=41).passed  # another rate has a baseline of its own


def baseline_of(p99_ms: float, *, work_ms: float = 1.0, other_work: float = 0.0, held_up_ms: float = 0.1) -> Baseline:
    speed = Speed(work_ms=work_ms, held_up_ms=held_up_ms)
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


def test_a_damaged_baseline_is_named(patient: Design, home: Home) -> None:
    home.baselines.mkdir(parents=True)
    (home.baselines / "steady-80.json").write_text("{}")
    with pytest.raises(UserError, match=r"steady-80\.json: not a baseline .* `mlsd load --save-baseline`"):
        stored(home, baseline_of(1.0))


def timeline(p99_ms: list[float]) -> list[dict[str, object]]:
    def latencies(ms: float) -> dict[str, object]:
        values = HdrHistogram(1, 120_000_000, 3)
        values.record_value(int(ms * 1e3))
        return {"count": 1, "p99_ms": ms, "encoded": values.encode().decode()}

    return [{"t": t, "answers": {"1": 1}, "latencies": latencies(ms)} for t, ms in enumerate(p99_ms)]


def test_p99_that_drifts_up_fails_a_soak_and_one_that_jumps_about_does_not() -> None:
    assert not load_checks.drift(summary(timeline=timeline([20 + t for t in range(60)])), 0.2).passed
    assert load_checks.drift(summary(timeline=timeline([20 + 9 * (t % 2) for t in range(60)])), 0.2).passed
    assert load_checks.drift(summary(timeline=timeline([50 - t / 2 for t in range(60)])), 0.2).passed
    assert not load_checks.drift(summary(timeline=timeline([20.0] * 3)), 0.2).passed


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


@pytest.mark.parametrize(("leaks", "passed"), [(2**20, False), (1, True)])
def test_memory_that_grows_fails_a_soak(home: Home, free_port: int, *, leaks: int, passed: bool) -> None:
    """A real process in a slot's place, watched for three seconds."""
    program = LEAK.format(port=free_port, bytes=leaks)
    url = f"http://127.0.0.1:{free_port}/"
    processes.start(home, "slot-a", [sys.executable, "-c", program], env={}, ready_url=url)
    try:
        with Watch(home) as watch:
            time.sleep(3.0)
    finally:
        processes.stop(home, "slot-a")
    assert load_checks.growth(watch.samples).passed == passed
    assert not load_checks.growth([]).passed


def summary(**changes: object) -> LoadSummary:
    fine = {"count": 1000, "p50_ms": 2.0, "p99_ms": 5.0, "max_ms": 9.0}
    content = {
        "started_at": 0.0,
        "sent": 1000,
        "errors": 0,
        "warmup": 0,
        "warmup_errors": 0,
        "codes": {"200": 1000},
        "total": fine,
        "lag": fine,
        "hops": dict.fromkeys(("features", "inference", "post", "edge"), fine),
        "by_version": {"1": fine},
        "timeline": [],
    }
    return LoadSummary.model_validate(content | changes)


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


def test_errors_and_a_lagging_client_have_gates(design: Design) -> None:
    assert failed(design, summary(errors=2)) == {"error rate"}
    lag = {"count": 1000, "p99_ms": design.load_test.max_client_lag_ms + 1}
    assert failed(design, summary(lag=lag)) == {"client's own lag p99"}


def test_without_traffic_the_run_says_how_to_get_some(design: Design, home: Home) -> None:
    with pytest.raises(UserError, match=r"traffic\.jsonl: no requests to send; run `mlsd"):
        sender.start(design, home)
