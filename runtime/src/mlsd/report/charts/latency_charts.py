"""Latencies of one run in pictures: percentiles and distribution."""

import math

from hdrh.histogram import HdrHistogram
from markupsafe import Markup

from mlsd.core.svg import Frame, Scale, bar, dot, drawing, line, linear, logarithmic, path, text, ticks
from mlsd.loadtest.summary import Latencies

DECADES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
SHOWN = (50.0, 90.0, 99.0, 99.9, 99.99)
BARS = 48
WIDTH = 540.0


def milliseconds(frame: Frame, low: float, high: float) -> tuple[Scale, list[float]]:
    """A logarithmic scale upwards, and the round numbers on it."""
    inside = [float(value) for value in DECADES if low <= value <= high]
    return logarithmic(low, high, frame.bottom, frame.top), inside


def limit(frame: Frame, y: Scale, budget: float) -> list[Markup]:
    """The budget as a line across, named."""
    label = text(frame.right, y(budget) - 5, f"budget {budget:g} ms", "value", "end")
    return [line(frame.left, y(budget), frame.right, y(budget), "limit bad"), label]


def percentiles(total: Latencies, budget: float) -> Markup:
    """Latency over the share of answers that is slower; one step to the right is ten times rarer."""
    frame = Frame(64, 14, WIDTH - 16, 230)
    shown = [percent for percent in SHOWN if (100 - percent) / 100 * total.count >= 1 or percent == SHOWN[0]]
    grid = [percent / 10 for percent in range(0, int(shown[-1] * 10) + 1, 5)]
    points = [(percent, total.at(percent)) for percent in sorted({*grid, *shown})]
    y, values = milliseconds(frame, max(points[0][1] / 2, 0.1), max(points[-1][1], budget) * 1.5)
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
    return drawing(WIDTH, frame.bottom + 26, "Latency percentiles", *parts, *limit(frame, y, budget))


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
