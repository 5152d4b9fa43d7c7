"""HTTP with a deadline for the whole call: a server that accepts and never answers, or drips, is cut off all the same.

A client's own timeouts bound each read, and a server that sends a byte now and then never meets them.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import httpcore

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Mapping

MAX_IDLE = 8


class RemoteError(Exception):
    """A model server that refused, broke, or answered something else than its protocol."""


class _Budget(threading.local):
    until: float = 0.0

    def left(self, timeout: float | None) -> float:
        left = self.until - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the whole call's deadline")
        return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, budget: _Budget) -> None:
        self._stream, self._budget = stream, budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._budget.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._budget.left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        secured = self._stream.start_tls(ssl_context, server_hostname, self._budget.left(timeout))
        return _Stream(secured, self._budget)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, budget: _Budget) -> None:
        self._backend, self._budget = httpcore.SyncBackend(), budget

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._backend.connect_tcp(host, port, self._budget.left(timeout), local_address, socket_options)
        return _Stream(stream, self._budget)


class Caller:
    """Posts to one server over kept connections; each thread has its own deadline."""

    def __init__(self, deadline_s: float, max_bytes: int) -> None:
        """Bound every call: seconds from first to last byte, and bytes of an answer."""
        self._deadline_s, self._max_bytes, self._budget = deadline_s, max_bytes, _Budget()
        backend = _Backend(self._budget)
        # As many connections as there are calls: one that waited for a place would not be bounded by its deadline.
        self._pool = httpcore.ConnectionPool(
            max_connections=None, max_keepalive_connections=MAX_IDLE, network_backend=backend
        )

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        """Header (names in lower case) and body of a 200.

        Raises:
            TimeoutError: not answered in full within the deadline.
            RemoteError: not connected, not a 200, or too long an answer.
        """
        self._budget.until = time.monotonic() + self._deadline_s
        try:
            with self._pool.stream("POST", url, headers=list(headers.items()), content=body) as response:
                content = bytearray()
                for chunk in response.iter_stream():
                    content += chunk
                    if len(content) > self._max_bytes:
                        raise RemoteError(f"{url}: an answer of more than {self._max_bytes} bytes")
                status, found = response.status, response.headers
        except httpcore.TimeoutException:
            raise TimeoutError(f"{url}: no answer within {self._deadline_s * 1e3:g} ms") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            raise RemoteError(f"{url}: {type(error).__name__}: {error}") from None
        if status != 200:
            raise RemoteError(f"{url}: status {status}: {bytes(content[:200]).decode(errors='replace')}")
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in found}, bytes(content)
