"""Summaries of a load run that never was."""

from hdrh.histogram import HdrHistogram

from mlsd.design.design import Design
from mlsd.loadtest import load_checks
from mlsd.loadtest.summary import LoadSummary


def failed(design: Design, sent: LoadSummary) -> set[str]:
    return {check.name for check in load_checks.checks(design, sent) if not check.passed}


def timeline(p99_ms: list[float]) -> list[dict[str, object]]:
    def latencies(ms: float) -> dict[str, object]:
        values = HdrHistogram(1, 120_000_000, 3)
        values.record_value(int(ms * 1e3))
        return {"count": 1, "p99_ms": ms, "encoded": values.encode().decode()}

    return [{"t": t, "answers": {"1": 1}, "latencies": latencies(ms)} for t, ms in enumerate(p99_ms)]


def summary(**changes: object) -> LoadSummary:
    fine = {"count": 1000, "p50_ms": 2.0, "p99_ms": 5.0, "max_ms": 9.0}
    content = {
        "started_at": 0.0,
        "sent": 1000,
        "errors": 0,
        "warmup": 0,
        "warmup_errors": 0,
        "codes": {"200": 1000},
        "total": fine,
        "lag": fine,
        "hops": dict.fromkeys(("features", "inference", "post", "edge"), fine),
        "by_version": {"1": fine},
        "timeline": [],
    }
    return LoadSummary.model_validate(content | changes)
