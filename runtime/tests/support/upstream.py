"""A small model server for tests of delivery: the endpoints and the feature log of the real one, scores by formula.

Started in a third of a second. Faults of its own, counted in requests: `crash_after` ends the process (0: at once),
`error_after` answers 500 from then on; `sleep_at_start` delays the start, in seconds.
"""

import itertools
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import orjson

from mlsd.core.home import find_home
from mlsd.models.release import SLOT, release_from_env
from mlsd.prediction_log.record import Record
from mlsd.prediction_log.writer import FeatureLog

RELEASE = release_from_env()
LOG = FeatureLog(find_home().feature_log, os.environ[SLOT], 1000, 30)
FAULTS: dict[str, Any] = {"slow_ms": 0.0, "invert": False, "error": False}
LIMITS: dict[str, float] = orjson.loads(os.environ.get("TEST_LIMITS", "{}"))
SEEN = itertools.count(1)
ECHOED = ("x-mlsd-bucket", "x-mlsd-role", "x-request-id")


def scores(items: np.ndarray, version: int) -> np.ndarray:
    """Every version agrees on most of the order."""
    base = (items * 2654435761 % 1000) / 1000
    own = (items * (40503 + version) % 1000) / 1000
    found = np.clip(0.9 * base + 0.1 * own, 0.0, 1.0)
    return 1.0 - found if FAULTS["invert"] else found


def record(asked: dict[str, Any], request_id: str, role: str) -> Record:
    items, empty = np.asarray(asked["candidates"], np.int64), np.zeros(1, np.float32)
    return Record(
        request_id=request_id, user_id=asked["user_id"], at=datetime.now(UTC), total_ms=1.0,
        release_id=RELEASE.release_id, model_version=RELEASE.model_version, model_digest=RELEASE.model_digest,
        engine="test", role=role, snapshot_version="0", context=empty, user_row=empty, device="mobile",
        item_ids=items, scores=scores(items, RELEASE.model_version), degraded=[], ages_s={}, interactions=9.0,
    )  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """POST /rank, PUT /faults, GET /readyz."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    in_flight = 0
    lock = threading.Lock()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, content: Any) -> None:
        body = orjson.dumps(content)
        self.send_response(status)
        self.send_header("x-mlsd-model-version", str(RELEASE.model_version))
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def content(self) -> Any:
        return orjson.loads(self.rfile.read(int(self.headers["content-length"])))

    def rank(self) -> None:
        seen, asked = next(SEEN), self.content()
        if seen > LIMITS.get("crash_after", 2**31):
            os._exit(1)
        time.sleep(FAULTS["slow_ms"] / 1000)
        if FAULTS["error"] or seen > LIMITS.get("error_after", 2**31):
            self.answer(500, {})
            return
        LOG.append(record(asked, self.headers["x-request-id"], self.headers.get("x-mlsd-role", "live")))
        told = {name: self.headers.get(name) for name in ECHOED}
        self.answer(200, {"model_version": RELEASE.model_version, "release_id": RELEASE.release_id, "headers": told})

    def do_POST(self) -> None:
        with Handler.lock:
            Handler.in_flight += 1
        try:
            self.rank()
        finally:
            with Handler.lock:
                Handler.in_flight -= 1

    def do_PUT(self) -> None:
        FAULTS.update(self.content())
        self.answer(200, FAULTS)

    def do_GET(self) -> None:
        self.answer(200, "ready")


class Server(ThreadingHTTPServer):
    """A thread per connection."""

    request_queue_size = 256
    daemon_threads = True


def finish() -> None:
    """After SIGTERM: what is in flight is answered."""
    while Handler.in_flight:
        time.sleep(0.005)
    LOG.close()
    os._exit(0)


if __name__ == "__main__":
    time.sleep(LIMITS.get("sleep_at_start", 0))
    if LIMITS.get("crash_after") == 0:
        sys.exit("no model here")
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=finish).start())
    Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
