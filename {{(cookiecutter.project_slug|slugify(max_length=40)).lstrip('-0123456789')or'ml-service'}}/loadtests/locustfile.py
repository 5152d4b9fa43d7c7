"""Open-loop load on POST /rank: arrivals on a fixed schedule, latency counted from the intended start.

A closed loop waits for a stalled server and so never sees the stall; a schedule does not wait. Run by `mlsd load`, or:
locust -f loadtests/locustfile.py --headless --host http://127.0.0.1:8600 \\
    --rps 60 --seconds 30 --traffic .mlsd/data/traffic.jsonl --out result.json
"""

import gc
import json
import re
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

IN_FLIGHT = 2000
TIMEOUT_S = 10.0
LONGEST_US = 120_000_000
PERCENTILES = (10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100)
TIMING = re.compile(r"(\w+);dur=([0-9.]+)")


def histogram() -> HdrHistogram:
    """Microseconds, three significant digits."""
    return HdrHistogram(1, LONGEST_US, 3)


def summary(values: HdrHistogram) -> dict[str, Any]:
    """Count and percentiles of a histogram, milliseconds."""
    if not values.get_total_count():
        return {"count": 0, "p50_ms": 0.0, "p99_ms": 0.0, "max_ms": 0.0, "percentiles": []}
    points = [[p, values.get_value_at_percentile(p) / 1e3] for p in PERCENTILES]
    of = dict(map(tuple, points))
    return {
        "count": values.get_total_count(),
        "p50_ms": of[50],
        "p99_ms": of[99],
        "max_ms": of[100],
        "percentiles": points,
    }


@dataclass
class Measured:
    """What a run has seen so far; warm-up requests are only counted."""

    started_at: float = 0.0
    sent: int = 0
    errors: int = 0
    warmup: int = 0
    warmup_errors: int = 0
    total: HdrHistogram = field(default_factory=histogram)
    lag: HdrHistogram = field(default_factory=histogram)
    hops: dict[str, HdrHistogram] = field(default_factory=dict)
    versions: dict[str, HdrHistogram] = field(default_factory=dict)
    codes: Counter[str] = field(default_factory=Counter)
    seconds: dict[int, Counter[str]] = field(default_factory=dict)

    def add(self, intended_s: float, lag_s: float, taken_s: float, response: Any) -> None:
        """Count one answer: `intended_s` since the start, sent `lag_s` later, answered `taken_s` after that."""
        ok = response.status_code == 200
        self.sent += 1
        self.errors += not ok
        self.codes[str(response.status_code)] += 1
        version = response.headers.get("x-mlsd-model-version", "none") if ok else "error"
        self.seconds.setdefault(int(intended_s), Counter())[version] += 1
        self.lag.record_value(_micros(lag_s))
        self.total.record_value(_micros(lag_s + taken_s))
        if not ok:
            return
        self.versions.setdefault(version, histogram()).record_value(_micros(lag_s + taken_s))
        hops = {name: float(ms) / 1e3 for name, ms in TIMING.findall(response.headers.get("server-timing", ""))}
        if "service" in hops:
            hops["edge"] = taken_s - hops.pop("service")
        for name, value in hops.items():
            self.hops.setdefault(name, histogram()).record_value(_micros(value))

    def write(self, path: Path) -> None:
        """Write the result as JSON, whole or not at all."""
        result = {
            "started_at": self.started_at,
            "sent": self.sent,
            "errors": self.errors,
            "warmup": self.warmup,
            "warmup_errors": self.warmup_errors,
            "codes": self.codes,
            "total": summary(self.total),
            "lag": summary(self.lag),
            "hops": {name: summary(values) for name, values in self.hops.items()},
            "by_version": {name: summary(values) for name, values in self.versions.items()},
            "timeline": [{"t": second, "answers": count} for second, count in sorted(self.seconds.items())],
        }
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(result), encoding="utf-8")
        temporary.replace(path)


def _micros(seconds: float) -> int:
    return min(max(int(seconds * 1e6), 1), LONGEST_US)


def read_traffic(path: Path) -> list[tuple[bytes, dict[str, str]]]:
    """Bodies to send and their headers, one per line of the file."""
    requests = []
    for line in path.read_bytes().splitlines():
        user = str(json.loads(line)["user_id"])
        requests.append((line, {"content-type": "application/json", "x-user-id": user}))
    return requests


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
        requests = read_traffic(Path(options.traffic))
        gc.collect()
        gc.freeze()
        MEASURED.started_at = time.time()
        start = time.perf_counter()
        for k in range(int((options.warmup + options.seconds) * options.rps)):
            intended = k / options.rps
            gevent.sleep(max(0.0, start + intended - time.perf_counter()))
            POOL.spawn(self.send, *requests[k % len(requests)], start, intended)
        POOL.join(TIMEOUT_S)
        self.environment.runner.quit()

    def send(self, body: bytes, headers: dict[str, str], start: float, intended: float) -> None:
        """One request."""
        warmup = self.environment.parsed_options.warmup
        sent = time.perf_counter() - start
        response = self.client.post("/rank", data=body, headers=headers)
        taken = time.perf_counter() - start - sent
        if intended < warmup:
            MEASURED.warmup += 1
            MEASURED.warmup_errors += response.status_code != 200
        else:
            MEASURED.add(intended - warmup, sent - intended, taken, response)


@events.init_command_line_parser.add_listener
def _options(parser: ArgumentParser) -> None:
    parser.add_argument("--rps", type=float, required=True, help="arrivals per second")
    parser.add_argument("--seconds", type=float, required=True, help="measured time")
    parser.add_argument("--warmup", type=float, default=0.0, help="seconds before it, not measured")
    parser.add_argument("--traffic", required=True, help="request bodies, one JSON object per line")
    parser.add_argument("--out", required=True, help="where the result goes, JSON")


@events.quitting.add_listener
def _write(environment: Environment, **_: Any) -> None:
    """At the end, or when told to stop early: let what is in flight finish, then write."""
    environment.runner.user_greenlets.kill(block=False)
    POOL.join(2.0)
    MEASURED.write(Path(environment.parsed_options.out))
