"""What leaves the service for `/rank`, and what is counted and logged once it has left."""

import asyncio
import logging
import math
import time
from functools import partial

from mlsd.serving.handling.in_flight import InFlightRequest
from mlsd.serving.http.connection_limiter import HttpCall
from mlsd.serving.http.delayed_rejections import HELD, DelayedRejections, rest
from mlsd.serving.runtime import Runtime
from mlsd.tasks.ranking import response
from mlsd.tasks.ranking.json_bounds import BadRequestError
from mlsd.tasks.ranking.ranking import Ranking
from mlsd.tasks.ranking.request import RankRequest

LOGGER = logging.getLogger("mlsd.serving")


class OverloadedError(Exception):
    """The queue is too long for this request, which waited, or would wait, so long."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class Responder:
    """Answers by one release."""

    def __init__(self, runtime: Runtime) -> None:
        self._own = runtime
        hops = runtime.design.latency.hops_ms
        shortest_s = min(hops.features, hops.inference, hops.post) / 1e3
        self._shedding = DelayedRejections(HELD * runtime.admission.max_s, rest(shortest_s))

    def rank(self, job: InFlightRequest, request: RankRequest, ranking: Ranking) -> None:
        """Send a ranking; it is counted and logged after its bytes have left."""
        seconds = time.perf_counter() - job.call.arrived
        release = self._own.release
        head = response.identity(job.request_id, release) + response.explanation(ranking, seconds)
        job.call.respond(200, head, response.body(ranking, job.items, job.request_id, release))
        # uvloop writes at the end of this turn; what follows is of the next.
        asyncio.get_running_loop().call_soon(self._account, job, request, ranking, seconds)

    def _account(self, job: InFlightRequest, request: RankRequest, ranking: Ranking, seconds: float) -> None:
        own = self._own
        full = own.sampled(job.request_id)
        total_ms = seconds * 1e3
        own.log.append(response.record(request, ranking, job.request_id, own.release, job.role, total_ms, full=full))
        own.metrics.answered(job.role, seconds, ranking.hops_ms, ranking.degraded)
        own.metrics.ages(ranking.gathered.ages_s)
        own.cache.keep(own.cache.key(request, ranking.gathered.snapshot_version), ranking, job.items)
        own.access.append(job.request_id, job.role, 200, total_ms, ranking.hops_ms, ranking.degraded)
        if own.tracer is not None:
            own.tracer.record(job.call.header(b"traceparent"), job.request_id, seconds, ranking.hops_ms)

    def refuse(self, job: InFlightRequest, error: Exception | None) -> None:
        """Send why there is no ranking: 400 for the request's fault, 429 for too many of them, 500 for ours."""
        if isinstance(error, BadRequestError):
            self.error(job.call, job.request_id, job.role, 400, error.answer["error"])
        elif isinstance(error, OverloadedError):
            self._shed(job, error.wait_s)
        else:
            LOGGER.error("request %s", job.request_id, exc_info=error)
            found = {"field": "service", "found": "a failure; the log says why", "expected": "an answer"}
            self.error(job.call, job.request_id, job.role, 500, found)

    def _shed(self, job: InFlightRequest, wait_s: float) -> None:
        self._own.metrics.shed()
        max_ms = self._own.design.serving.admission.max_queue_ms
        found = {"field": "queue", "found": f"{wait_s * 1e3:.0f} ms", "expected": f"at most {max_ms:g} ms"}
        again = b"retry-after: %d\r\n" % max(math.ceil(wait_s), 1)
        send = partial(self.error, job.call, job.request_id, job.role, 429, found, again)
        self._shedding.add(job.call.arrived, send)

    def error(
        self, call: HttpCall, request_id: str, role: str, status: int, error: dict[str, str], lines: bytes = b""
    ) -> None:
        """Send an answer without a ranking."""
        own = self._own
        head = response.identity(request_id, own.release) + lines
        call.respond(status, head, response.refusal(error, request_id, own.release))
        own.metrics.refused(role, status)
        own.access.append(request_id, role, status, (time.perf_counter() - call.arrived) * 1e3, {}, [])
