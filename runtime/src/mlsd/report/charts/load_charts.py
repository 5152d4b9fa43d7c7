"""A run of load second by second, the memory it took, and a load curve with its model."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from mlsd.core.svg import Frame, bar, dot, drawing, line, linear, path, text, ticks
from mlsd.loadtest.summary import Second
from mlsd.plan.capacity import Predicted
from mlsd.plan.load_curve import LoadCurve
from mlsd.report.charts.latency_charts import limit, milliseconds

WIDE = 1100.0


def seconds(rows: Sequence[Second], budget: float, spike: tuple[float, float] | None) -> Markup:
    """p99 and median of the requests due in each second; below, answered and refused requests."""
    frame, below = Frame(64, 14, WIDE - 16, 230), Frame(64, 270, WIDE - 16, 340)
    end = rows[-1].t + 1
    x = linear(0, end, frame.left, frame.right)
    filled = [row for row in rows if row.latencies.count]
    highest = max([row.latencies.p99_ms for row in filled] + [budget])
    y, values = milliseconds(frame, max(min(row.latencies.p50_ms for row in filled) / 2, 0.1), highest * 1.5)
    parts = (
        [bar(x(spike[0]), frame.top, x(spike[1]) - x(spike[0]), below.bottom - frame.top, "track", 0)] if spike else []
    )
    parts += [*frame.grid_y(y, values, " ms"), *limit(frame, y, budget)]
    for name, kind in (("p99_ms", "series1"), ("p50_ms", "series0")):
        points = [(x(row.t + 0.5), y(getattr(row.latencies, name))) for row in filled]
        parts.append(path(points, f"curve {kind}"))
    most = max(row.latencies.count + row.shed for row in rows)
    up = linear(0, most, below.bottom, below.top)
    parts += [*below.grid_y(up, ticks(0, most, 3), "/s"), *below.grid_x(x, ticks(0, end, 10), " s")]
    for row in rows:
        answered, width = row.latencies.count, max(x(1) - x(0) - 1, 0.5)
        parts.append(bar(x(row.t), up(answered), width, below.bottom - up(answered), "fill series0", 0))
        parts.append(
            bar(x(row.t), up(answered + row.shed), width, up(answered) - up(answered + row.shed), "fill bad", 0)
        )
    return drawing(WIDE, below.bottom + 26, "The run, second by second", *parts)


def memory(samples: Sequence[tuple[float, float]]) -> Markup:
    """Resident memory of all workers over the run."""
    frame = Frame(64, 14, WIDE - 16, 150)
    x = linear(0, samples[-1][0], frame.left, frame.right)
    most = max(size for _, size in samples) * 1.15
    y = linear(0, most, frame.bottom, frame.top)
    parts = [*frame.grid_y(y, ticks(0, most, 4), " MiB"), *frame.grid_x(x, ticks(0, samples[-1][0], 10), " s")]
    return drawing(
        WIDE,
        frame.bottom + 26,
        "Memory of the workers",
        *parts,
        path([(x(t), y(size)) for t, size in samples], "curve series0"),
    )


def load_curve(curve: LoadCurve, predicted: Sequence[Predicted], budget: float) -> Markup:
    """p99 at each rate, measured and by the model; the dotted line is the knee."""
    frame = Frame(64, 24, WIDE - 16, 260)
    rates = [stage.rps for stage in curve.stages]
    x = linear(0, max(rates) * 1.05, frame.left, frame.right)
    seen = [max(stage.p99_ms, 0.1) for stage in curve.stages]
    y, values = milliseconds(frame, min(seen) / 2, max([*seen, budget]) * 1.5)
    parts = [
        *frame.grid_y(y, values, " ms"),
        *frame.grid_x(x, ticks(0, max(rates), 10), "/s"),
        *limit(frame, y, budget),
    ]
    known = [row for row in predicted if math.isfinite(row.p99_ms)]
    parts.append(path([(x(row.rps), y(row.p99_ms)) for row in known], "curve series3"))
    parts.append(path([(x(stage.rps), y(stage.p99_ms)) for stage in curve.stages], "curve series0"))
    for stage in curve.stages:
        hint = f"{stage.rps:.0f}/s: p99 {stage.p99_ms:.1f} ms {stage.broke}"
        parts.append(dot(x(stage.rps), y(stage.p99_ms), 4, "mark bad" if stage.broke else "mark good", hint))
    if curve.knee_rps:
        at = x(curve.knee_rps)
        parts += [
            line(at, frame.top, at, frame.bottom, "event good"),
            text(at - 5, frame.top - 6, f"knee {curve.knee_rps:.0f}/s", "value", "end"),
        ]
    return drawing(WIDE, frame.bottom + 26, "p99 over the rate", *parts)
