"""The HTTP surface of the request path: a Starlette application that BentoML mounts and serves."""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlsd.serving import answer
from mlsd.serving.faults import Faults, allowed
from mlsd.serving.metrics import exposition
from mlsd.serving.request import BadRequestError, parse, request_id
from mlsd.serving.runtime import Runtime

LOGGER = logging.getLogger("mlsd.serving")
JSON = "application/json"


def _error(status: int, content: object, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(content), status, headers, JSON)


async def _body(request: Request, most: int) -> bytes | None:
    """The body, or None as soon as it is known to be larger than `most` bytes."""
    if int(request.headers.get("content-length") or 0) > most:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


async def _ranked(runtime: Runtime, body: bytes, identity: str, role: str, started: float) -> Response:
    asked = parse(body, runtime.design.scale.candidates)
    ranking = await runtime.ranker.rank(asked)
    content = answer.write(asked, ranking, identity, runtime.release)
    seconds = time.perf_counter() - started
    full = runtime.sampled(identity)
    runtime.log.append(answer.record(asked, ranking, identity, runtime.release, role, seconds * 1e3, full=full))
    runtime.metrics.answered(role, seconds, ranking.hops_ms, ranking.degraded)
    headers = answer.identity(identity, runtime.release) | answer.timing(ranking, seconds * 1e3)
    return Response(content, 200, headers)


async def rank(request: Request) -> Response:
    """POST /rank: the candidates of one user, best first."""
    started = time.perf_counter()
    runtime: Runtime | None = request.app.state.runtime
    if runtime is None:
        return _error(503, {"error": "not ready; the log says why"})
    role = "shadow" if request.headers.get("x-mlsd-role") == "shadow" else "live"
    identity = request_id(request.headers.get("x-request-id"))
    headers = answer.identity(identity, runtime.release)
    most = runtime.design.serving.max_body_kib * 1024
    try:
        if runtime.ranker.faults.error:
            response = _error(500, {"error": "a planted fault"}, headers)
        elif (body := await _body(request, most)) is None:
            limit = {"error": {"field": "body", "found": "more", "expected": f"at most {most} bytes"}}
            response = _error(413, limit, headers | {"connection": "close"})
        else:
            return await _ranked(runtime, body, identity, role, started)
    except BadRequestError as error:
        response = _error(400, error.answer, headers)
    except Exception:  # the edge of the process: whatever broke, the caller gets an answer that says who gave it
        LOGGER.exception("request %s", identity)
        response = _error(500, {"error": "not answered; the log says why", "request_id": identity}, headers)
    runtime.metrics.refused(role, response.status_code)
    return response


async def faults(request: Request) -> Response:
    """PUT /faults: make this process sick on purpose; 404 unless it was started for that."""
    runtime: Runtime | None = request.app.state.runtime
    if runtime is None or not allowed():
        return _error(404, {"error": "not found"})
    try:
        wanted = Faults.model_validate_json(await request.body())
    except ValidationError as error:
        return _error(400, {"error": error.errors(include_url=False, include_context=False)})
    runtime.ranker.faults = wanted
    LOGGER.warning("planted faults: %s", wanted)
    return Response(wanted.model_dump_json(), media_type=JSON)


async def metrics(_: Request) -> Response:
    """GET /metrics: Prometheus' text format."""
    return Response(exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    yield
    if app.state.runtime is not None:
        app.state.runtime.log.close()


def application() -> Starlette:
    """The routes; `app.state.runtime` is set by the service that mounts it."""
    routes = [
        Route("/rank", rank, methods=["POST"]),
        Route("/faults", faults, methods=["PUT"]),
        Route("/metrics", metrics),
    ]
    app = Starlette(routes=routes, lifespan=_lifespan)
    app.state.runtime = None
    return app
