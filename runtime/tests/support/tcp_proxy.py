"""A TCP proxy in this process that delays, holds or drops what passes: the kernel of a test machine cannot."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CHUNK = 65536


@dataclass
class Proxy:
    """Knobs of a running proxy; each may be turned at any time, from any thread."""

    target: tuple[str, int]
    port: int = 0
    delay_s: float = 0.0
    """Added to every chunk on its way back to the client."""
    held: bool = False
    """Nothing passes, nothing is closed: connections are accepted and never answered."""
    accepted: int = 0
    """Connections taken since the start."""
    _refusing: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def drop(self) -> None:
        """Reset every connection; new ones are reset as soon as they are accepted, until `restore`."""
        self._refusing = True
        self._loop.call_soon_threadsafe(self._reset)

    def restore(self) -> None:
        """Pass everything at once again."""
        self.delay_s, self.held, self._refusing = 0.0, False, False

    @property
    def open(self) -> int:
        """Connections of clients that are open now."""
        return len(self._writers) // 2

    def _reset(self) -> None:
        for writer in list(self._writers):
            _abort(writer)

    async def serve(self, ready: threading.Event) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            with suppress(asyncio.CancelledError):
                await server.serve_forever()
            self._reset()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._refusing:
            _abort(writer)
            return
        try:
            upstream, onward = await asyncio.open_connection(*self.target)
        except OSError:
            _abort(writer)
            return
        both = {writer, onward}
        self._writers |= both
        try:
            with suppress(asyncio.CancelledError):  # the proxy ends
                await asyncio.gather(self._pipe(reader, onward, back=False), self._pipe(upstream, writer, back=True))
        finally:
            self._writers -= both
            for one in both:
                one.close()

    async def _pipe(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, back: bool) -> None:
        with suppress(OSError):
            while data := await source.read(CHUNK):
                if back and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                while self.held:
                    await asyncio.sleep(0.01)
                sink.write(data)
                await sink.drain()
        with suppress(OSError, RuntimeError):
            sink.write_eof()


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close with a reset, so that the other side sees an error and not an orderly end."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def tcp_proxy(port: int, host: str = "127.0.0.1") -> Iterator[Proxy]:
    """A proxy to `host:port`; connect to `127.0.0.1:proxy.port`."""
    proxy, ready = Proxy((host, port)), threading.Event()
    tasks: list[asyncio.Task[None]] = []

    def run() -> None:
        asyncio.set_event_loop(proxy._loop)
        tasks.append(proxy._loop.create_task(proxy.serve(ready)))
        proxy._loop.run_until_complete(tasks[0])
        rest = asyncio.all_tasks(proxy._loop)
        for task in rest:
            task.cancel()
        proxy._loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        proxy._loop.close()

    thread = threading.Thread(target=run, name="tcp-proxy", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        proxy.restore()
        proxy._loop.call_soon_threadsafe(tasks[0].cancel)
        thread.join(10)
