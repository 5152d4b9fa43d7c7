"""The hook server: authenticated triggers in, durable runs out. `POST /hooks/{action}`, `GET /hooks/runs/{key}`."""

import argparse
import asyncio
import hmac
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, get_args

import uvicorn
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mlsd.core.home import Home, find_home, replacing
from mlsd.design.design import load_design
from mlsd.monitoring.triggers.hook_client import ADDRESS, TOKEN
from mlsd.monitoring.triggers.outbox import Outbox, Run
from mlsd.monitoring.triggers.runner import DATABASE
from mlsd.monitoring.triggers.trigger import Action

MAX_BODY = 16 * 1024
MAX_AGE = timedelta(minutes=5)
ACTIONS: tuple[Action, ...] = get_args(Action)


class Trigger(BaseModel):
    """Body of a trigger; `sent_at` is the sender's clock, so that an old message cannot be played again."""

    model_config = ConfigDict(extra="forbid", strict=True)

    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:+-]{1,200}$")]
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    window_end: AwareDatetime
    sent_at: AwareDatetime


def token_of(home: Home) -> str:
    """The shared secret of this state folder, made on first use, readable by its owner only."""
    path = home.run / TOKEN
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii")
    with os.fdopen(handle, "w") as file:
        file.write(token := secrets.token_urlsafe(32))
    return token


def _refused(status: int, field: str, found: str, expected: str) -> JSONResponse:
    return JSONResponse({"error": {"field": field, "found": found, "expected": expected}}, status)


async def _body(request: Request) -> bytes | None:
    """The body, or None as soon as it is longer than allowed."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAX_BODY:
            return None
    return bytes(content)


def _parsed(content: bytes) -> Trigger | JSONResponse:
    try:
        trigger = Trigger.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        found = "nothing" if first["type"] == "missing" else repr(first["input"])[:80]
        return _refused(400, ".".join(map(str, first["loc"])) or "body", found, first["msg"])
    if abs(datetime.now(UTC) - trigger.sent_at) > MAX_AGE:
        return _refused(401, "sent_at", trigger.sent_at.isoformat(), "at most 5 minutes from this server's clock")
    return trigger


def _told(run: Run, key: str, *, created: bool) -> dict[str, Any]:
    return {"key": key, "created": created, **run.model_dump(mode="json")}


class Hooks:
    """The server's state: the outbox, the token, one runner process per action while there is work."""

    def __init__(self, home: Home, cooldown: timedelta, command: list[str] | None) -> None:
        self._outbox = Outbox(home.root / DATABASE)
        self._token = token_of(home)
        self._cooldown = cooldown
        self._command = command
        self._wake = {action: asyncio.Event() for action in ACTIONS}

    def _stranger(self, request: Request) -> bool:
        expected = f"Bearer {self._token}".encode()
        return not hmac.compare_digest(request.headers.get("authorization", "").encode(), expected)

    async def trigger(self, request: Request) -> Response:
        """Accept a trigger: 202 once it is on the disk, with the run it belongs to."""
        if self._stranger(request):
            return _refused(401, "authorization", "no valid token", "Bearer <token>")
        action = next((each for each in ACTIONS if each == request.path_params["action"]), None)
        if action is None:
            return _refused(404, "action", request.path_params["action"], " or ".join(ACTIONS))
        content = await _body(request)
        if content is None:
            return _refused(413, "body", f"over {MAX_BODY} bytes", f"at most {MAX_BODY} bytes")
        body = _parsed(content)
        if isinstance(body, Response):
            return body
        end = body.window_end.isoformat()
        run, created = await run_in_threadpool(self._outbox.accept, action, body.key, body.reason, end, self._cooldown)
        self._wake[action].set()
        return JSONResponse(_told(run, body.key, created=created), 202)

    async def status(self, request: Request) -> Response:
        """The run of a key."""
        if self._stranger(request):
            return _refused(401, "authorization", "no valid token", "Bearer <token>")
        key = request.path_params["key"]
        run = await run_in_threadpool(self._outbox.find, key)
        if run is None:
            return _refused(404, "key", key[:80], "a key that was accepted before")
        return JSONResponse(_told(run, key, created=False))

    async def _work(self, action: Action) -> None:
        command = [sys.executable, "-m", "mlsd.monitoring.triggers.runner", action, json.dumps(self._command)]
        while True:
            while await run_in_threadpool(self._outbox.unfinished, action):
                runner = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE)
                if await runner.wait() != 0:
                    await asyncio.sleep(1.0)  # it never got to claim anything; what it was to run is still accepted
            self._wake[action].clear()
            if not await run_in_threadpool(self._outbox.unfinished, action):
                await self._wake[action].wait()

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Resume what an earlier server accepted; at the end the runners stop because their pipes close."""
        tasks = [asyncio.create_task(self._work(action)) for action in ACTIONS]
        yield
        for task in tasks:
            task.cancel()


def application(hooks: Hooks) -> Starlette:
    """The routes."""

    async def alive(_: Request) -> Response:
        return Response("ok")

    routes = [
        Route("/livez", alive),
        Route("/hooks/runs/{key:path}", hooks.status),
        Route("/hooks/{action}", hooks.trigger, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=hooks.lifespan)


def command(port: int) -> list[str]:
    """Command line of the server process."""
    return [sys.executable, "-m", "mlsd.monitoring.triggers.hooks", f"--port={port}"]


def main() -> None:
    """Serve on the loopback interface until SIGTERM."""
    parser = argparse.ArgumentParser(prog="mlsd.monitoring.triggers.hooks")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cooldown-min", type=float, help="default: the design's")
    parser.add_argument("--command", type=json.loads, help="JSON list; default: this project's own command line")
    args = parser.parse_args()
    minutes = load_design().monitoring.retrain_cooldown_min if args.cooldown_min is None else args.cooldown_min
    home = find_home()
    hooks = Hooks(home, timedelta(minutes=minutes), args.command)
    with replacing(home.run / ADDRESS) as temporary:
        temporary.write_text(f"http://127.0.0.1:{args.port}", encoding="ascii")
    config = uvicorn.Config(
        application(hooks), host="127.0.0.1", port=args.port, log_level="warning", timeout_graceful_shutdown=3
    )
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
