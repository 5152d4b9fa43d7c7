"""The HTTP surface beside `/rank`: what operators and tools ask for, as a Starlette application that BentoML mounts."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlsd.models.release import workers
from mlsd.serving.faults import Faults
from mlsd.serving.handling.request_handler import RequestHandler
from mlsd.serving.http import protocol
from mlsd.serving.http.connection_limiter import ConnectionLimiter, HttpCall
from mlsd.serving.http.openapi import describe
from mlsd.serving.runtime import Runtime
from mlsd.serving.telemetry.metrics import exposition
from mlsd.tasks.ranking.request import request_id
from mlsd.tasks.ranking.response import identity, refusal

LOGGER = logging.getLogger("mlsd.serving")
JSON = "application/json"
NOT_READY_BYTES, NOT_READY_CONNECTIONS = 65_536, 64
LEAVE_S = 0.5  # between "not ready" and the end of listening: time for whoever sends requests to notice


class App(Starlette):
    """The routes, and the one runtime behind them; None until it is set by the service that mounts this."""

    runtime: Runtime | None = None
    leaving = False

    @property
    def ready(self) -> bool:
        """Whether new requests should come here."""
        return self.runtime is not None and self.runtime.ready and not self.leaving

    def require_ready(self) -> None:
        """Say why not, where new requests should not come here.

        Raises:
            HTTPException: 503 with the reason.
        """
        if self.ready:
            return
        why = self.runtime.loader.not_ready_reason if self.runtime is not None else "no release; the log says why"
        raise HTTPException(503, "shutting down" if self.leaving else why or "loading the model")

    def serve(self, runtime: Runtime | None) -> None:
        """Answer `/rank` with this runtime; without one everything there is refused with 503."""
        self.runtime = runtime
        if runtime is None:
            protocol.HttpProtocol.limiter = ConnectionLimiter(
                _not_ready, _refused, NOT_READY_BYTES, NOT_READY_CONNECTIONS
            )
            return
        serving, front = runtime.design.serving, RequestHandler(runtime)
        share = -(-serving.max_connections // workers())
        protocol.HttpProtocol.limiter = ConnectionLimiter(
            front.take, front.reject, serving.max_body_kib * 1024, share, runtime.balancer
        )


def _refused(call: HttpCall, status: int, field: str, found: str, expected: str) -> None:
    named = request_id(call.header(b"x-request-id"))
    error = {"field": field, "found": found, "expected": expected}
    call.respond(status, identity(named, None), refusal(error, named, None))


def _not_ready(call: HttpCall) -> None:
    _refused(call, 503, "service", "not ready; the log says why", "a release")


def _error(status: int, field: str, found: object, expected: str) -> Response:
    content = {"error": {"field": field, "found": str(found)[:100], "expected": expected}}
    return Response(orjson.dumps(content), status, media_type=JSON)


async def _unknown(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.status_code == 405:
        return _error(405, "method", request.method, "another method")
    return _error(404, "path", request.url.path, "/rank, /livez, /readyz, /metrics or /openapi.json")


async def _nothing(request: Request) -> Response:
    return await _unknown(request, HTTPException(404))


async def faults(request: Request) -> Response:
    """PUT /faults: make all workers of this slot sick on purpose; 404 unless they were started for that."""
    runtime = request.app.runtime
    if runtime is None or not runtime.faults.allowed:
        return await _nothing(request)
    try:
        wanted = Faults.model_validate_json(await request.body())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return _error(400, ".".join(map(str, first["loc"])) or "body", first["input"], first["msg"])
    runtime.faults.plant(wanted)
    LOGGER.warning("planted faults: %s", wanted)
    return Response(wanted.model_dump_json(), media_type=JSON)


async def metrics(_: Request) -> Response:
    """GET /metrics: Prometheus' text format."""
    return Response(exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def openapi(request: Request) -> Response:
    """GET /openapi.json: what `/rank` takes and gives."""
    if request.app.runtime is None:
        return _error(503, "service", "not ready; the log says why", "a release")
    return Response(orjson.dumps(describe(request.app.runtime.design)), media_type=JSON)


def _leave_in_order(app: App) -> None:
    """On SIGTERM say "not ready" first, and hand the signal on a moment later; what is in flight is finished then."""
    loop, stop = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

    def leave(number: int, frame: FrameType | None) -> None:
        app.leaving = True
        if callable(stop):
            loop.call_soon_threadsafe(lambda: loop.call_later(LEAVE_S, stop, number, frame))

    signal.signal(signal.SIGTERM, leave)


@asynccontextmanager
async def _lifespan(app: App) -> AsyncIterator[None]:
    _leave_in_order(app)
    yield
    if app.runtime is not None:
        app.runtime.close()


def application() -> App:
    """The routes, and `/rank` before them; `serve` says what to answer with."""
    protocol.install()
    routes = [
        Route("/faults", faults, methods=["PUT"]),
        Route("/metrics", metrics),
        Route("/openapi.json", openapi),
        Route("/{path:path}", _nothing, methods=["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    ]
    handlers: dict[Any, Any] = {404: _unknown, 405: _unknown}
    return App(routes=routes, lifespan=_lifespan, exception_handlers=handlers)
