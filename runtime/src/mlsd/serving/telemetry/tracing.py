"""OpenTelemetry spans of a request, one per hop; only where `$OTEL_EXPORTER_OTLP_ENDPOINT` says who wants them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from mlsd.models.release import Release

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer as Spans

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
NS = 1_000_000
STEPS = ("queue", "features", "inference", "post")


class Tracer:
    """Makes spans after an answer has left; a thread of the SDK sends them."""

    def __init__(self, service: str, release: Release) -> None:
        """Read the SDK's usual variables: endpoint, headers, sampler, batch sizes."""
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        named: dict[str, str | int] = {"service.name": service}
        named |= {"mlsd.release_id": release.release_id, "mlsd.model_version": release.model_version}
        self._provider = TracerProvider(resource=Resource.create({**named}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._spans: Spans = self._provider.get_tracer("mlsd.serving")

    def record(self, parent: str | None, request_id: str, seconds: float, hops_ms: dict[str, float]) -> None:
        """The span of a request that has just been answered, and one within it for each hop.

        Args:
            parent: its `traceparent` header (W3C), if it had one.
            request_id: an attribute of the span.
            seconds: from arrival to answer.
            hops_ms: time of each hop, in the order of `STEPS`.
        """
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        end = time.time_ns()
        at = end - int(seconds * 1e9)
        above = TraceContextTextMapPropagator().extract({"traceparent": parent} if parent else {})
        marks = {"mlsd.request_id": request_id, "http.route": "/rank"}
        whole = self._spans.start_span("gateway", above, SpanKind.SERVER, marks, start_time=at)
        inside = set_span_in_context(whole)
        for hop in STEPS:
            taken = int(hops_ms.get(hop, 0.0) * NS)
            self._spans.start_span(hop, inside, start_time=at).end(at + taken)
            at += taken
        whole.end(end)

    def close(self) -> None:
        """Send what waits."""
        self._provider.shutdown()


def tracer(service: str, release: Release) -> Tracer | None:
    """The tracer of this process; None, and nothing imported, when nobody is told."""
    return Tracer(service, release) if os.environ.get(ENDPOINT) else None
