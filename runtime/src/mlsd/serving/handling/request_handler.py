"""The event loop's part of `/rank`: who is let in, by when each hop must end, who answers when it does not."""

import asyncio
import logging
import math
import time
from functools import partial

from mlsd.serving.dispatch.admission import AdmissionDecision
from mlsd.serving.handling.in_flight import InFlightRequest, State
from mlsd.serving.handling.responder import OverloadedError, Responder
from mlsd.serving.http.connection_limiter import HttpCall
from mlsd.serving.inference.users import Row
from mlsd.serving.runtime import Runtime
from mlsd.tasks.ranking import response
from mlsd.tasks.ranking.ranking import Progress
from mlsd.tasks.ranking.request import RankRequest, parse, request_id

LOGGER = logging.getLogger("mlsd.serving")
AGAIN_S = 0.002  # a thread between two hops is looked at again after this
GRACE_S = 0.003  # for a client that ends by itself at the deadline: its thread comes back, and says why


class RequestHandler:
    """Takes calls and answers every one of them, once."""

    def __init__(self, runtime: Runtime) -> None:
        """Hop deadlines come from the design."""
        self._own, self._replies = runtime, Responder(runtime)
        self._design = design = runtime.design
        hops, self._admission = design.latency.hops_ms, runtime.admission
        self._limit_s = {
            "queue": runtime.admission.max_s,
            "features": hops.features / 1e3,
            "inference": hops.inference / 1e3,
            "post": hops.post / 1e3,
        }
        self._first_s = min(self._limit_s.values()) + GRACE_S
        self._budget_s = (design.latency.service_ms - hops.edge) / 1e3
        self._optional = design.serving_mode != "online"

    def take(self, call: HttpCall) -> None:
        """Begin one request."""
        role = "shadow" if call.header(b"x-mlsd-role") == "shadow" else "live"
        job = InFlightRequest(call, request_id(call.header(b"x-request-id")), role, Progress(since=call.arrived))
        try:
            self._begin(job)
        except Exception as error:  # the edge of the process: whatever broke, the caller gets an answer
            self._refuse(job, error)

    def _refuse(self, job: InFlightRequest, error: Exception | None) -> None:
        """Say why there is no ranking; where even that fails the connection ends, for its place must not be lost."""
        try:
            self._replies.refuse(job, error)
        except Exception:
            LOGGER.exception("request %s: not even a refusal", job.request_id)
            job.call.abort()

    def reject(self, call: HttpCall, status: int, field: str, found: str, expected: str) -> None:
        """Answer what never became a request."""
        error = {"field": field, "found": found, "expected": expected}
        self._replies.error(call, request_id(call.header(b"x-request-id")), "live", status, error)

    def _begin(self, job: InFlightRequest) -> None:
        own = self._own
        if own.faults.now().error:
            raise RuntimeError("a planted fault")
        wait_s = self._admission.wait_s()
        verdict = self._admission.verdict(wait_s)
        if verdict is AdmissionDecision.SHED:
            raise OverloadedError(wait_s)
        pressed = verdict is AdmissionDecision.PRUNED
        job.keep = self._design.serving.admission.prune_to if pressed else None
        look = own.cache.wanted(pressure=pressed)
        if look or own.pool.exhausted or not own.ranker.reads_here:
            request = job.request = self._parse(job.call)
            if look and self._answered_before(job, request):
                return
            if own.pool.exhausted:
                self._fall_back(job, request)
                return
        self._queue(job)

    def _parse(self, call: HttpCall) -> RankRequest:
        return parse(bytes(call.body), self._design.scale.candidates, optional=self._optional)

    def _answered_before(self, job: InFlightRequest, request: RankRequest) -> bool:
        own = self._own
        found = own.cache.find(own.cache.key(request, own.ranker.snapshot_version))
        own.metrics.looked_up(found=found is not None)
        if found is None:
            return False
        ranking, job.items = found
        self._replies.rank(job, request, ranking)
        return True

    def _queue(self, job: InFlightRequest) -> None:
        loop = asyncio.get_running_loop()
        self._admission.enter()
        ranker, request = self._own.ranker, job.request
        job.timer = loop.call_later(self._first_s, self._check, job)
        if request is None or ranker.reads_here:
            self._own.pool.submit(partial(self._work, job, loop))
            return
        job.progress.enter("features")
        reading = asyncio.ensure_future(ranker.begin_read(request.user_id))
        reading.add_done_callback(lambda done: self._was_read(job, done, loop))

    def _was_read(self, job: InFlightRequest, reading: asyncio.Future[Row], loop: asyncio.AbstractEventLoop) -> None:
        if not reading.cancelled():
            reading.exception()  # whoever needs the row asks again; nobody may need it
        job.read = reading.result
        job.progress.enter("queue")
        self._own.pool.submit(partial(self._work, job, loop))

    def _work(self, job: InFlightRequest, loop: asyncio.AbstractEventLoop) -> bool:
        """In a ranking thread: the whole answer but for its first lines. False if it was given up meanwhile."""
        if not job.turn(State.QUEUED, State.RUNNING):
            return True
        taken = time.perf_counter()
        try:
            self._rank(job, taken)
        except Exception as error:  # told to the event loop, which answers
            job.error = error
        job.took_s = time.perf_counter() - taken
        if not job.turn(State.RUNNING, State.RANKED):
            return False
        loop.call_soon_threadsafe(self._finish, job)
        return True

    def _rank(self, job: InFlightRequest, taken: float) -> None:
        wait_s = taken - job.progress.since
        verdict = self._admission.verdict(wait_s)
        if verdict is AdmissionDecision.SHED:
            raise OverloadedError(wait_s)
        if verdict is AdmissionDecision.PRUNED:
            job.keep = self._design.serving.admission.prune_to
        request = job.request = job.request or self._parse(job.call)
        ranking = self._own.ranker.rank(request, job.progress, job.keep, job.read)
        job.items = response.items_json(ranking)
        job.progress.enter("done")
        job.ranking = ranking

    def _finish(self, job: InFlightRequest) -> None:
        self._left(job)
        try:
            self._ranked(job)
        except Exception as error:  # as in `take`
            self._refuse(job, error)

    def _ranked(self, job: InFlightRequest) -> None:
        request, ranking, slow_ms = job.request, job.ranking, self._own.faults.now().slow_ms
        if request is None or ranking is None:
            self._refuse(job, job.error)
        elif slow_ms:
            ranking.hops_ms["inference"] += slow_ms
            asyncio.get_running_loop().call_later(slow_ms / 1e3, self._replies.rank, job, request, ranking)
        else:
            self._replies.rank(job, request, ranking)

    def _left(self, job: InFlightRequest) -> None:
        self._admission.leave(None if job.error is not None else job.took_s)
        if job.timer is not None:
            job.timer.cancel()

    def _check(self, job: InFlightRequest) -> None:
        """Cut a request off whose hop, or whose whole budget, is over; else come back when it may be."""
        if job.state is State.RANKED:
            return
        now, hop, since = time.perf_counter(), job.progress.hop, job.progress.since
        running = job.state is State.RUNNING
        due = min(since + self._limit_s.get(hop, math.inf) + GRACE_S, job.call.arrived + self._budget_s)
        if now < due or (running and hop in {"queue", "done"}):
            job.timer = asyncio.get_running_loop().call_later(max(due - now, AGAIN_S), self._check, job)
        elif job.turn(job.state, State.CUT_OFF):
            self._cut_off(job, running=running)

    def _cut_off(self, job: InFlightRequest, *, running: bool) -> None:
        self._left(job)
        own, hop = self._own, job.progress.hop
        if running:
            own.pool.abandon()
            own.metrics.stuck()
        if running and hop == "features":
            own.ranker.gave_up_reading()
        if job.request is None or hop == "queue":
            self._refuse(job, OverloadedError(time.perf_counter() - job.call.arrived))
            return
        try:
            self._fall_back(job, job.request)
        except Exception as error:  # as in `take`
            self._refuse(job, error)

    def _fall_back(self, job: InFlightRequest, request: RankRequest) -> None:
        ranking = self._own.ranker.fallback(request, job.progress)
        began = time.perf_counter()
        job.items = response.items_json(ranking)
        ranking.hops_ms["post"] = (time.perf_counter() - began) * 1e3
        self._replies.rank(job, request, ranking)
