"""The load gate: a stall cannot hide, no answers are no pass, a client that lags measures nothing."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mlsd.design import Design
from mlsd.errors import UserError
from mlsd.home import Home
from mlsd.local import load

pytestmark = pytest.mark.slow


TIMING = "features;dur=0.4, inference;dur=1.5, post;dur=0.2, service;dur=2.2"


class Model(BaseHTTPRequestHandler):
    """Answers at once, except that the whole server freezes for a second at its 100th request."""

    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    stalls = False
    seen = 0
    frozen_until = 0.0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        with self.lock:
            Model.seen += 1
            if self.stalls and self.seen == 100:
                Model.frozen_until = time.monotonic() + 1.0
        time.sleep(max(0.0, self.frozen_until - time.monotonic()))
        self.send_response(200 if self.headers["x-user-id"] == "7" else 400)
        self.send_header("content-length", "2")
        self.send_header("server-timing", TIMING)
        self.send_header("x-mlsd-model-version", "3")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def serving(*, stalls: bool) -> Iterator[str]:
    Model.stalls, Model.seen, Model.frozen_until = stalls, 0, 0.0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads = True
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


def failed(design: Design, sent: load.LoadSummary) -> set[str]:
    return {check.name for check in load.checks(design, sent) if not check.passed}


def test_one_stall_of_a_second_fails_the_gate_though_most_answers_are_fast(quick: Design, home: Home) -> None:
    """5.34: latency counts from the intended start, so one second of silence reaches every request due in it."""
    with serving(stalls=True) as host:
        sent = load.start(quick, home, host=host, warmup_s=0.5).wait()
    assert sent.errors == 0
    assert sent.total.p50_ms < 50
    assert sent.total.p99_ms > 800
    assert "p99 from the schedule" in failed(quick, sent)


def test_a_healthy_server_passes(quick: Design, home: Home) -> None:
    with serving(stalls=False) as host:
        sent = load.start(quick, home, host=host, warmup_s=0.5).wait()
    assert failed(quick, sent) <= {"client's own lag p99", "edge p99"}  # a busy test machine may lag
    assert sent.sent == 300
    assert sent.warmup == 50
    assert sent.by_version["3"].count == 300
    assert sum(second.answers["3"] for second in sent.timeline) == 300
    assert sent.hops["inference"].p99_ms == pytest.approx(1.5, rel=0.01)
    assert not list(home.run.glob("load-*"))


def test_a_run_ended_early_keeps_what_it_measured(quick: Design, home: Home) -> None:
    with serving(stalls=False) as host:
        running = load.start(quick, home, host=host, seconds=600)
        until = time.monotonic() + 20
        while Model.seen < 100 and time.monotonic() < until:
            time.sleep(0.05)
        sent = running.finish()
    assert sent.errors == 0
    assert 40 <= sent.sent < 2000


def test_nothing_listening_fails(quick: Design, home: Home) -> None:
    sent = load.start(quick, home, host="http://127.0.0.1:9", seconds=0.3, rps=20).wait()
    assert sent.errors == sent.sent > 0
    assert "error rate" in failed(quick, sent)


def summary(**changes: object) -> load.LoadSummary:
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
    return load.LoadSummary.model_validate(content | changes)


def test_no_answers_are_no_pass(design: Design) -> None:
    (only,) = load.checks(design, summary(sent=0, total={}))
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
        load.start(design, home)
