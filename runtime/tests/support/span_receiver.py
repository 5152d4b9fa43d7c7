"""A receiver of OpenTelemetry spans over HTTP, as a collector has one."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Spans:
    """What has been sent so far."""

    url: str = ""
    all: list[Any] = field(default_factory=list)

    def of(self, trace_id: str) -> dict[str, Any]:
        """Spans of a trace by name."""
        return {span.name: span for span in list(self.all) if span.trace_id.hex() == trace_id}


@contextmanager
def span_receiver() -> Iterator[Spans]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = Spans()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            spans.all += [span for part in sent.resource_spans for scope in part.scope_spans for span in scope.spans]
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    spans.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield spans
    finally:
        server.shutdown()
        server.server_close()
