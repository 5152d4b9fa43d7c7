"""HTTP as the ranking path needs it: uvicorn's protocol with bounds it lacks, and `/rank` answered without ASGI.

BentoML runs uvicorn but hands none of its options through. Here a connection has a deadline for a whole request, a
bound for its header and its body, and a place among `connections`; beyond that the one that is idle the longest goes.
`/rank` skips the ASGI middlewares and tasks, which cost more than its own work (0.25 of 0.8 ms a request).
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any, ClassVar

import httptools
from uvicorn.config import HTTP_PROTOCOLS
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from mlsd.serving.http.connection_limiter import ConnectionLimiter, HttpCall

if TYPE_CHECKING:
    import asyncio

LOGGER = logging.getLogger("mlsd.serving")
PATH = b"/rank"
MAX_HEADER_BYTES = 64 * 1024
RECEIVE_S = 2.0  # from the first byte of a request to its last
FIRST_S = 10.0  # a new connection may say nothing for so long
LINGER_S = 1.0  # a refused sender may go on sending, so that it gets to read why
UNREAD_S = 5.0  # what has been written may lie unread for so long once the connection is to end
OTHER_S = 30.0  # for the answer to any other path, reading it included
FRAMING = 8  # bytes of chunked encoding for one of a body, at most
IDLE, RECEIVING, ANSWERING, ELSEWHERE, REFUSED = range(5)


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    limiter: ClassVar[ConnectionLimiter]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.state, self.since, self.used = IDLE, time.perf_counter(), False
        self._call: HttpCall | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a place, or go at once."""
        super().connection_made(transport)
        if not self.limiter.enter(self):
            transport.abort()

    def is_idle(self) -> bool:
        """Whether the other side has not sent a whole request that waits for its answer."""
        if self.state == ELSEWHERE:
            return self.cycle.more_body
        return self.state != ANSWERING

    def abort(self) -> None:
        """End it at once, whatever is under way."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back; an answer that is still being made goes nowhere."""
        self.limiter.inside.pop(self, None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, within the bounds."""
        self._unset_keepalive_if_required()
        if self.state == REFUSED:
            return
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._reject(400, "upgrade", "a request for another protocol", "HTTP/1.1")
        except httptools.HttpParserCallbackError:  # a fault of ours: whoever asked must not wait for ever
            LOGGER.exception("a request was not understood")
            self.transport.abort()
        except httptools.HttpParserError as error:
            self._garbled(f"no HTTP: {error}"[:80])
        self._bound()

    def _bound(self) -> None:
        """End what is too large: a header, or a body with chunk sizes and trailers without end."""
        if self.state == RECEIVING and self._call is None:
            if self._head_bytes > MAX_HEADER_BYTES:
                self._reject(431, "header", f"more than {MAX_HEADER_BYTES} bytes", "less")
        elif self._head_bytes > MAX_HEADER_BYTES + FRAMING * self.limiter.max_body:
            if self.state == RECEIVING:
                self._too_large()
            elif self.state == ELSEWHERE:
                self.transport.abort()

    def _garbled(self, found: str) -> None:
        if self.state == ANSWERING:
            self._no_more()
        else:
            self._reject(400, "request", found, "HTTP/1.1")

    def _should_upgrade(self) -> bool:
        return False

    def on_message_begin(self) -> None:
        """A request begins. One that does not wait for the answer to the one before it is not taken."""
        if self.state in {ANSWERING, REFUSED} or (self.cycle is not None and not self.cycle.response_complete):
            self._no_more()
            return
        if self.flow.write_paused:  # it asks on and on, and reads no answer
            self.transport.abort()
            return
        super().on_message_begin()
        self._call = None
        self.state, self.since, self.used = RECEIVING, time.perf_counter(), True
        self.limiter.inside.pop(self, None)
        self.limiter.inside[self] = None

    def _no_more(self) -> None:
        self.flow.pause_reading()
        if self._call is not None:
            self._call.keep_alive = False
        elif self.cycle is not None:
            self.cycle.keep_alive = False

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        if self.state == RECEIVING:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; trailers are not kept."""
        if self.state == RECEIVING and self._call is None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """To the ranking path or, for any other path, to the ASGI application."""
        self._head_bytes = 0
        if self.state != RECEIVING:
            return
        if b"%0" in self.url or b"%1" in self.url:
            self._reject(400, "path", "a control character", "a path")
            return
        if self.url != PATH and not self.url.startswith(PATH + b"?"):
            self._elsewhere()
            return
        keep = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
        call = self._call = HttpCall(self, self.parser.get_method(), self.headers, self.since, keep_alive=keep)
        if self.parser.should_upgrade():
            return
        if call.method != b"POST":
            self._reject(405, "method", call.method.decode("latin-1"), "POST")
        elif int(call.header(b"content-length") or 0) > self.limiter.max_body:
            self._too_large()
        elif self.expect_100_continue:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _elsewhere(self) -> None:
        self.state = ELSEWHERE
        try:
            super().on_headers_complete()
        except httptools.HttpParserInvalidURLError:
            self.state = RECEIVING
            self._reject(400, "path", "no path", "a path")

    def _too_large(self) -> None:
        self._reject(413, "body", "more", f"at most {self.limiter.max_body} bytes")

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self.state == ELSEWHERE:
            super().on_body(body)
        elif self.state == RECEIVING and self._call is not None:
            self._call.body += body
            if len(self._call.body) > self.limiter.max_body:
                self._too_large()

    def on_message_complete(self) -> None:
        """The whole request is here."""
        self._head_bytes = 0
        if self.state == ELSEWHERE:
            super().on_message_complete()
        elif self.state == RECEIVING and self._call is not None and not self.parser.should_upgrade():
            self.state, self._call.arrived = ANSWERING, time.perf_counter()
            self.limiter.take(self._call)

    def on_response_complete(self) -> None:
        """The ASGI application has answered."""
        self.state, self.since = IDLE, time.perf_counter()
        super().on_response_complete()

    def _reject(self, status: int, name: str, found: str, expected: str) -> None:
        """Answer what cannot be served, and close once the sender had time to read it."""
        if self.state == REFUSED or self.transport.is_closing():
            return
        call = self._call or HttpCall(self, b"", [], self.since)
        self._call, call.keep_alive = call, False
        self.limiter.reject(call, status, name, found, expected)

    def send(self, call: HttpCall, status: int, head: bytes, body: bytes) -> None:
        """Write an answer and get ready for the next request, or for the end."""
        if call is not self._call or self.transport.is_closing():
            return
        complete = self.state == ANSWERING
        if self.limiter.surplus and complete and call.keep_alive:
            self.limiter.surplus -= 1
            call.keep_alive = False
        lines = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        last = b"\r\n" if call.keep_alive else b"connection: close\r\n\r\n"
        lines += (head, b"content-length: %d\r\n" % len(body), last, body)
        self._call = None
        self.since = time.perf_counter()
        self.transport.write(b"".join(lines))
        self.state = IDLE if call.keep_alive else REFUSED
        if not call.keep_alive and complete:
            self.transport.close()

    def shutdown(self) -> None:
        """The server stops: what is in flight gets its answer."""
        if self.state in {ANSWERING, RECEIVING} and self._call is not None:
            self._call.keep_alive = False
        elif self.state == ELSEWHERE:
            super().shutdown()
        else:
            self.transport.close()

    def expire(self, now: float) -> None:
        """Close what takes too long."""
        waited = now - self.since
        if self.state == RECEIVING and waited > RECEIVE_S:
            self._reject(408, "body", f"not complete after {RECEIVE_S:g} s", "a whole request in that time")
        elif waited > UNREAD_S and self.transport.is_closing():
            self.transport.abort()
        elif waited > self._patience():
            self.transport.close()

    def _patience(self) -> float:
        if self.state == IDLE:
            return self.timeout_keep_alive if self.used else FIRST_S
        if self.state == ELSEWHERE:
            return RECEIVE_S if self.cycle.more_body else OTHER_S
        return LINGER_S if self.state == REFUSED else math.inf


def install() -> None:
    """Make uvicorn speak through `HttpProtocol`; call it at import of the service, before uvicorn is configured."""
    HTTP_PROTOCOLS["auto"] = f"{__name__}:HttpProtocol"
