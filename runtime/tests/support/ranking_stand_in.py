"""A server that answers as the ranking service does, for the load client: at once, slowly, or with a stall."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

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
    pool: ClassVar[threading.Semaphore] = threading.Semaphore(1000)

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
        with self.pool:
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
    *, port: int = 0, stalls: bool = False, slow_s: float = 0.0, most: int = 10**9, pool: int = 1000
) -> Iterator[str]:
    Model.stalls, Model.slow_s, Model.most_a_second = stalls, slow_s, most
    Model.pool = threading.Semaphore(pool)
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
