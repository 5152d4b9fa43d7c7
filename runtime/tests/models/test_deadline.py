"""Calls to a model server elsewhere: as many at once as there are threads, none waits for a connection (5.11)."""

import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from mlsd.models.engines.deadline import Caller

CALLS = 24


def test_as_many_calls_are_under_way_as_there_are_threads() -> None:
    """The server answers nobody before all have asked."""
    all_here = threading.Barrier(CALLS)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            all_here.wait(20)
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 64

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    caller, url = Caller(20.0, 1000), f"http://127.0.0.1:{server.server_port}/"
    try:
        with ThreadPoolExecutor(CALLS) as threads:
            answers = list(threads.map(lambda _: caller.post(url, b"{}", {})[1], range(CALLS)))
    finally:
        server.shutdown()
        server.server_close()
    assert answers == [b"ok"] * CALLS
