"""A small model server for tests of delivery: the endpoints and the feature log of the real one, scores by formula.

Faults of its own, counted in requests: `crash_after` ends the process (0: at once), `error_after` answers 500 from
then on.
"""

import asyncio
import itertools
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlsd.home import find_home
from mlsd.serving.feature_log import FeatureLog
from mlsd.serving.record import Record
from mlsd.serving.release import SLOT, told_release

RELEASE = told_release()
LOG = FeatureLog(find_home().feature_log, os.environ[SLOT], 1000, 30)
FAULTS: dict[str, Any] = {"slow_ms": 0.0, "invert": False, "error": False}
LIMITS: dict[str, int] = orjson.loads(os.environ.get("TEST_LIMITS", "{}"))
SEEN = itertools.count(1)


def scores(items: np.ndarray, version: int) -> np.ndarray:
    """Every version agrees on most of the order."""
    base = (items * 2654435761 % 1000) / 1000
    own = (items * (40503 + version) % 1000) / 1000
    return np.clip(0.9 * base + 0.1 * own, 0.0, 1.0)


async def rank(request: Request) -> Response:
    seen = next(SEEN)
    if seen > LIMITS.get("crash_after", 2**31):
        os._exit(1)
    if FAULTS["slow_ms"]:
        await asyncio.sleep(FAULTS["slow_ms"] / 1000)
    if FAULTS["error"] or seen > LIMITS.get("error_after", 2**31):
        return Response(b"{}", 500)
    asked = orjson.loads(await request.body())
    items = np.asarray(asked["candidates"], np.int64)
    found = scores(items, RELEASE.model_version)
    found = 1.0 - found if FAULTS["invert"] else found
    role = request.headers.get("x-mlsd-role", "live")
    record = Record(
        request_id=request.headers["x-request-id"], user_id=asked["user_id"], at=datetime.now(UTC), total_ms=1.0,
        release_id=RELEASE.release_id, model_version=RELEASE.model_version, model_digest=RELEASE.model_digest,
        engine="test", role=role, snapshot_version="0", context=np.zeros(1, np.float32),
        user_row=np.zeros(1, np.float32), device="mobile", item_ids=items, scores=found, degraded=[], ages_s={},
        interactions=9.0,
    )  # fmt: skip
    LOG.append(record)
    echoed = {name: request.headers.get(name) for name in ("x-mlsd-bucket", "x-mlsd-role", "x-request-id")}
    answer = {"model_version": RELEASE.model_version, "release_id": RELEASE.release_id, "headers": echoed}
    return Response(orjson.dumps(answer), headers={"x-mlsd-model-version": str(RELEASE.model_version)})


async def faults(request: Request) -> Response:
    FAULTS.update(orjson.loads(await request.body()))
    return Response(orjson.dumps(FAULTS))


async def ready(_: Request) -> Response:
    return Response(b"ok")


if __name__ == "__main__":
    time.sleep(LIMITS.get("sleep_at_start", 0))
    if LIMITS.get("crash_after") == 0:
        sys.exit("no model here")
    routes = [
        Route("/rank", rank, methods=["POST"]), Route("/faults", faults, methods=["PUT"]), Route("/readyz", ready)
    ]  # fmt: skip
    config = {"log_level": "warning", "timeout_keep_alive": 75, "timeout_graceful_shutdown": 5}
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=int(sys.argv[1]), **config)
