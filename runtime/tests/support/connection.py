"""HTTP as bytes on a connection: for requests that no decent client would send."""

import json
import math
import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httptools


def _finite(text: str) -> float:
    value = float(text)
    assert math.isfinite(value), f"{text} in an answer"
    return value


def strict(body: bytes) -> Any:
    """JSON as RFC 8259 has it: NaN, Infinity and numbers that overflow are failures."""
    return json.loads(body, parse_constant=_finite, parse_float=_finite)


@dataclass
class Answer:
    """One answer, read to its end."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def content(self) -> Any:
        return strict(self.body)


class _Reader:
    """What httptools tells while it reads answers."""

    def __init__(self) -> None:
        self.done: list[Answer] = []
        self._now = Answer()
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self._now = Answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._now.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._now.body += body

    def on_message_complete(self) -> None:
        if (status := self.parser.get_status_code()) >= 200:
            self._now.status = status
            self.done.append(self._now)


def request(body: bytes, *headers: str, method: str = "POST", path: str = "/rank") -> bytes:
    """A request as it goes over the wire; headers are whole lines and may be wrong in any way."""
    lines = [f"{method} {path} HTTP/1.1", "host: test", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


class ClientConnection:
    """One connection; several requests may be sent before their answers are read."""

    def __init__(self, port: int, timeout_s: float = 10.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = _Reader()

    def send(self, data: bytes) -> bool:
        """False: the other side has closed."""
        try:
            self._socket.sendall(data)
        except ConnectionError:
            return False
        return True

    def answer(self) -> Answer | None:
        """The next answer; None: closed without one. An answer that is late raises TimeoutError."""
        while not self._reader.done:
            try:
                data = self._socket.recv(1 << 18)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self._reader.parser.feed_data(data)
        return self._reader.done.pop(0)

    def ask(self, data: bytes) -> Answer | None:
        """Send and read one answer."""
        self.send(data)  # a refusal may lie there already when the rest of the request no longer gets through
        return self.answer()

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()
