"""One run of load in pictures: percentiles, distribution, second by second; and a load curve with its model."""

import math
from collections.abc import Sequence

from hdrh.histogram import HdrHistogram
from markupsafe import Markup

from mlsd.core.svg import Frame, Scale, bar, dot, drawing, line, linear, logarithmic, path, text, ticks
from mlsd.loadtest.summary import Latencies, Second
from mlsd.plan.capacity import Predicted
from mlsd.plan.load_curve import LoadCurve

WIDTH, WIDE = 540.0, 1100.0
DECADES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
SHOWN = (50.0, 90.0, 99.0, 99.9, 99.99)
BARS = 48


def _milliseconds(frame: Frame, low: float, high: float) -> tuple[Scale, list[float]]:
    """A logarithmic scale upwards, and the round numbers on it."""
    inside = [float(value) for value in DECADES if low <= value <= high]
    return logarithmic(low, high, frame.bottom, frame.top), inside


def _limit(frame: Frame, y: Scale, budget: float) -> list[Markup]:
    label = text(frame.right, y(budget) - 5, f"budget {budget:g} ms", "value", "end")
    return [line(frame.left, y(budget), frame.right, y(budget), "limit bad"), label]


def percentiles(total: Latencies, budget: float) -> Markup:
    """Latency over the share of answers that is slower; one step to the right is ten times rarer."""
    frame = Frame(64, 14, WIDTH - 16, 230)
    shown = [percent for percent in SHOWN if (100 - percent) / 100 * total.count >= 1 or percent == SHOWN[0]]
    grid = [percent / 10 for percent in range(0, int(shown[-1] * 10) + 1, 5)]
    points = [(percent, total.at(percent)) for percent in sorted({*grid, *shown})]
    y, values = _milliseconds(frame, max(points[0][1] / 2, 0.1), max(points[-1][1], budget) * 1.5)
    x = linear(0.0, _nines(shown[-1]), frame.left, frame.right)
    parts = frame.grid_y(y, values, " ms")
    for percent in shown:
        at = x(_nines(percent))
        parts += [
            line(at, frame.top, at, frame.bottom, "grid"),
            text(at, frame.bottom + 16, f"p{percent:g}", "tick", "middle"),
        ]
        parts += [dot(at, y(total.at(percent)), 3.5, "mark series0", f"p{percent:g}: {total.at(percent):.2f} ms")]
        parts += [text(at - 6, y(total.at(percent)) - 8, f"{total.at(percent):.1f}", "value", "end")]
    parts += [path([(x(_nines(percent)), y(value)) for percent, value in points], "curve series0")]
    return drawing(WIDTH, frame.bottom + 26, "Latency percentiles", *parts, *_limit(frame, y, budget))


def _nines(percent: float) -> float:
    return -math.log10(1 - percent / 100)


def distribution(total: Latencies) -> Markup:
    """How many answers took how long, in bins of equal width on a logarithm."""
    frame = Frame(54, 14, WIDTH - 16, 230)
    low, high = math.log(max(total.at(0.1), 0.05) * 0.8), math.log(max(total.max_ms, 0.1) * 1.1)
    counts = [0] * BARS
    for item in HdrHistogram.decode(total.encoded.encode()).get_recorded_iterator():
        place = (math.log(max(item.value_iterated_to / 1e3, 0.001)) - low) / (high - low)
        counts[min(max(int(place * BARS), 0), BARS - 1)] += item.count_at_value_iterated_to
    x, y = linear(0, BARS, frame.left, frame.right), linear(0, max(counts), frame.bottom, frame.top)
    parts = frame.grid_y(y, ticks(0, max(counts), 5))
    parts += [
        bar(x(k) + 0.5, y(count), x(1) - x(0) - 1, frame.bottom - y(count), "fill series0", 1)
        for k, count in enumerate(counts)
        if count
    ]
    at = logarithmic(math.exp(low), math.exp(high), frame.left, frame.right)
    marks = [value for value in DECADES if low <= math.log(value) <= high]
    parts += [text(at(value), frame.bottom + 16, f"{value:g} ms", "tick", "middle") for value in marks]
    return drawing(WIDTH, frame.bottom + 26, "Answers by latency", *parts)


def seconds(rows: Sequence[Second], budget: float, spike: tuple[float, float] | None) -> Markup:
    """p99 and median of the requests due in each second; below, answered and refused requests."""
    frame, below = Frame(64, 14, WIDE - 16, 230), Frame(64, 270, WIDE - 16, 340)
    end = rows[-1].t + 1
    x = linear(0, end, frame.left, frame.right)
    filled = [row for row in rows if row.latencies.count]
    highest = max([row.latencies.p99_ms for row in filled] + [budget])
    y, values = _milliseconds(frame, max(min(row.latencies.p50_ms for row in filled) / 2, 0.1), highest * 1.5)
    parts = (
        [bar(x(spike[0]), frame.top, x(spike[1]) - x(spike[0]), below.bottom - frame.top, "track", 0)] if spike else []
    )
    parts += [*frame.grid_y(y, values, " ms"), *_limit(frame, y, budget)]
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
    y, values = _milliseconds(frame, min(seen) / 2, max([*seen, budget]) * 1.5)
    parts = [
        *frame.grid_y(y, values, " ms"),
        *frame.grid_x(x, ticks(0, max(rates), 10), "/s"),
        *_limit(frame, y, budget),
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
