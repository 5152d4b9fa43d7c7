"""Open-loop load on POST /rank: arrivals on a fixed schedule, latency counted from the intended start.

A closed loop waits for a stalled server and so never sees the stall; a schedule does not wait. Run by `mlsd load`, or:
locust -f loadtests/locustfile.py --headless --host http://127.0.0.1:8600 \\
    --rps 60 --seconds 30 --traffic .mlsd/data/traffic.jsonl --out result.json
"""

import gc
import json
import os
import re
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gevent
from gevent.pool import Pool
from hdrh.histogram import HdrHistogram
from locust import FastHttpUser, events, task
from locust.env import Environment
from schedule import arrivals, read_traffic

IN_FLIGHT = 2000
TIMEOUT_S = 10.0
CLOSED_AFTER_S = 15  # no answer comes later than that
LONGEST_US = 120_000_000
PERCENTILES = (10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)
TIMING = re.compile(r"(\w+);dur=([0-9.]+)")
DEGRADED, REASON, HEAD_BYTES = re.compile(rb'"degraded":\[([^\]]*)\]'), re.compile(r"\w+"), 1000
OK, SHED = 200, 429
RETRIES, LONGEST_WAIT_S = 3, 3.0  # of a request that is refused


def histogram() -> HdrHistogram:
    """Microseconds, three significant digits."""
    return HdrHistogram(1, LONGEST_US, 3)


def summary(values: HdrHistogram) -> dict[str, Any]:
    """Count and percentiles of a histogram, milliseconds; `encoded` is the histogram itself, microseconds."""
    if not values.get_total_count():
        return {"count": 0, "p50_ms": 0.0, "p99_ms": 0.0, "max_ms": 0.0, "percentiles": [], "encoded": ""}
    points = [[p, values.get_value_at_percentile(p) / 1e3] for p in PERCENTILES]
    of = dict(map(tuple, points))
    return {
        "count": values.get_total_count(),
        "p50_ms": of[50],
        "p99_ms": of[99],
        "max_ms": of[100],
        "percentiles": points,
        "encoded": values.encode().decode(),
    }


@dataclass
class Bin:
    """Answers to the requests due in one second."""

    answers: Counter[str] = field(default_factory=Counter)
    shed: int = 0
    latencies: HdrHistogram = field(default_factory=histogram)

    def summary(self, second: int) -> dict[str, Any]:
        """As one row of the result's timeline."""
        return {"t": second, "answers": self.answers, "shed": self.shed, "latencies": summary(self.latencies)}


@dataclass
class Measured:
    """What a run has seen so far; warm-up requests are only counted, refused ones (429) are counted apart."""

    started_at: float = 0.0
    sent: int = 0
    errors: int = 0
    shed: int = 0
    retried: int = 0
    warmup: int = 0
    warmup_errors: int = 0
    cpu_before_s: float = 0.0
    total: HdrHistogram = field(default_factory=histogram)
    refused: HdrHistogram = field(default_factory=histogram)
    lag: HdrHistogram = field(default_factory=histogram)
    hops: dict[str, HdrHistogram] = field(default_factory=dict)
    versions: dict[str, HdrHistogram] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    seconds: dict[int, Bin] = field(default_factory=dict)
    timeline: list[dict[str, Any]] = field(default_factory=list)

    def close(self, before: int) -> None:
        """Keep only the summary of the seconds before that one: an hour's histograms would take half a gigabyte."""
        for second in sorted(second for second in self.seconds if second < before):
            self.timeline.append(self.seconds.pop(second).summary(second))

    def second(self, intended_s: float) -> Bin:
        """The bin of the second in which a request was due."""
        number = int(intended_s)
        if number not in self.seconds:
            self.close(number - CLOSED_AFTER_S)
            self.seconds[number] = Bin()
        return self.seconds[number]

    def add(self, intended_s: float, lag_s: float, taken_s: float, response: Any) -> None:
        """Count one answer: `intended_s` since the start, sent `lag_s` later, answered `taken_s` after that."""
        code, latency = response.status_code, _micros(lag_s + taken_s)
        self.sent += 1
        self.codes[str(code)] += 1
        self.lag.record_value(_micros(lag_s))
        second = self.second(intended_s)
        if code == SHED:
            self.shed += 1
            second.shed += 1
            self.refused.record_value(latency)
            return
        self.total.record_value(latency)
        second.latencies.record_value(latency)
        self.errors += code != OK
        version = response.headers.get("x-mlsd-model-version", "none") if code == OK else "error"
        second.answers[version] += 1
        if code == OK:
            self._answered(version, latency, taken_s, response)

    def _answered(self, version: str, latency: int, taken_s: float, response: Any) -> None:
        self.versions.setdefault(version, histogram()).record_value(latency)
        if told := DEGRADED.search(response.content[:HEAD_BYTES]):
            self.degraded.update(REASON.findall(told[1].decode()))
        timing = response.headers.get("server-timing", "")
        hops = {name: float(ms) / 1e3 for name, ms in TIMING.findall(timing)}
        if "service" in hops:
            hops["edge"] = taken_s - hops["service"]
        for name, value in hops.items():
            self.hops.setdefault(name, histogram()).record_value(_micros(value))

    def write(self, path: Path) -> None:
        """Write the result as JSON, whole or not at all."""
        self.close(LONGEST_US)
        result = {
            "started_at": self.started_at,
            "sent": self.sent,
            "errors": self.errors,
            "shed": self.shed,
            "retried": self.retried,
            "warmup": self.warmup,
            "warmup_errors": self.warmup_errors,
            "client_cpu_s": time.process_time() - self.cpu_before_s,
            "codes": self.codes,
            "degraded": self.degraded,
            "total": summary(self.total),
            "refused": summary(self.refused),
            "lag": summary(self.lag),
            "hops": {name: summary(values) for name, values in self.hops.items()},
            "by_version": {name: summary(values) for name, values in self.versions.items()},
            "timeline": self.timeline,
        }
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(result), encoding="utf-8")
        temporary.replace(path)


def wait_s(retry_after: str | None) -> float:
    """Seconds to wait before a refused request is asked again: what the header says, within bounds."""
    said = float(retry_after) if retry_after and retry_after.isdigit() else 1.0
    return min(max(said, 0.1), LONGEST_WAIT_S)


def _micros(seconds: float) -> int:
    return min(max(int(seconds * 1e6), 1), LONGEST_US)


MEASURED = Measured()
POOL = Pool(IN_FLIGHT)


class Arrivals(FastHttpUser):
    """The one user: walks the schedule and never waits for an answer."""

    fixed_count = 1
    concurrency = IN_FLIGHT
    network_timeout = TIMEOUT_S
    connection_timeout = TIMEOUT_S

    @task
    def walk(self) -> None:
        """Send each request at its time, then end the run when all are answered."""
        options = self.environment.parsed_options
        try:
            requests = read_traffic(Path(options.traffic), users_only=options.users_only)
        except (OSError, ValueError) as error:
            sys.exit(str(error))  # Locust itself would start this task again and again
        gc.collect()
        gc.freeze()
        MEASURED.started_at, MEASURED.cpu_before_s = time.time(), time.process_time()
        Path(options.out).with_suffix(".began").touch()
        start = time.perf_counter()
        for k, intended in enumerate(arrivals(options)):
            gevent.sleep(max(0.0, start + intended - time.perf_counter()))
            if options.parent and os.getppid() != options.parent:
                break  # nobody is left to read the result: no load for nobody
            POOL.spawn(self.send, *requests[k % len(requests)], start, intended)
        POOL.join(TIMEOUT_S)
        self.environment.runner.quit()

    def send(self, body: bytes, headers: dict[str, str], start: float, intended: float) -> None:
        """One request."""
        warmup = self.environment.parsed_options.warmup
        sent = time.perf_counter() - start
        response = self.client.post("/rank", data=body, headers=headers)
        for _ in range(RETRIES if self.environment.parsed_options.retry else 0):
            if response.status_code != SHED:
                break
            MEASURED.retried += 1
            gevent.sleep(wait_s(response.headers.get("retry-after")))
            response = self.client.post("/rank", data=body, headers=headers)
        taken = time.perf_counter() - start - sent
        if intended < warmup:
            MEASURED.warmup += 1
            MEASURED.warmup_errors += response.status_code != OK
        else:
            MEASURED.add(intended - warmup, sent - intended, taken, response)


@events.init_command_line_parser.add_listener
def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--rps", type=float, required=True, help="arrivals per second")
    parser.add_argument("--seconds", type=float, required=True, help="measured time")
    parser.add_argument("--warmup", type=float, default=0.0, help="seconds before it, not measured")
    parser.add_argument("--retry", action="store_true", help="ask again what was refused, after its Retry-After")
    parser.add_argument("--poisson", action="store_true", help="random gaps between arrivals, drawn ahead")
    parser.add_argument("--spike-factor", type=float, default=1.0, help="rate in the spike, times --rps")
    parser.add_argument("--spike-from", type=float, default=0.0, help="second of the measured time")
    parser.add_argument("--spike-to", type=float, default=0.0, help="second of the measured time")
    parser.add_argument("--traffic", required=True, help="request bodies, one JSON object per line")
    parser.add_argument("--users-only", action="store_true", help="name no candidates: they were picked ahead")
    parser.add_argument("--parent", type=int, default=0, help="process id: the run ends when this process has ended")
    parser.add_argument("--out", required=True, help="where the result goes, JSON")


@events.quitting.add_listener
def _write(environment: Environment, **_: Any) -> None:
    """At the end, or when shut down early: let what is in flight finish, then write."""
    environment.runner.user_greenlets.kill(block=False)
    POOL.join(2.0)
    MEASURED.write(Path(environment.parsed_options.out))
