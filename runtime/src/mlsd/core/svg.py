"""Drawing: elements with escaped text, scales and axes. Colours come from the page's style sheet, by class."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Scale = Callable[[float], float]
Content = str | Markup


def _value(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def tag(name: str, *content: Content, **attributes: str | float) -> Markup:
    """One element; `class_` becomes class, `text_anchor` text-anchor; text and values are escaped."""
    names = ((key.rstrip("_").replace("_", "-"), _value(value)) for key, value in attributes.items())
    opened = " ".join([name, *(f'{key}="{escape(value)}"' for key, value in names)])
    return Markup("<{}>{}</{}>").format(Markup(opened), Markup("").join(content), name)  # noqa: S704 - escaped above


def drawing(width: float, height: float, title: str, *content: Content) -> Markup:
    """A figure that scales with its column; `title` is read out by screen readers."""
    box = f"0 0 {_value(width)} {_value(height)}"
    return tag("svg", tag("title", title), *content, viewBox=box, role="img")


def text(x: float, y: float, content: str, class_: str = "label", anchor: str = "start") -> Markup:
    """One line of text; y is its baseline."""
    return tag("text", content, x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def bar(x: float, y: float, width: float, height: float, class_: str, radius: float = 2) -> Markup:
    """A filled rectangle; negative widths are drawn as nothing."""
    return tag("rect", x=x, y=y, width=max(width, 0.0), height=max(height, 0.0), rx=radius, class_=class_)


def dot(x: float, y: float, radius: float, class_: str, hint: str = "") -> Markup:
    """A circle, with a hint for the mouse."""
    return tag("circle", *([tag("title", hint)] if hint else []), cx=x, cy=y, r=radius, class_=class_)


def path(points: Sequence[tuple[float, float]], class_: str, *, closed: bool = False) -> Markup:
    """A line through points, or the area inside them."""
    steps = " L".join(f"{_value(x)},{_value(y)}" for x, y in points)
    return tag("path", d=f"M{steps}{'Z' if closed else ''}", class_=class_)


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Values `low` to `high` onto pixels `start` to `end`; an empty range maps to the start."""
    width = high - low
    return lambda value: start + (value - low) / width * (end - start) if width else start


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """Like `linear`, on a logarithm; values outside are drawn at the ends."""
    inner = linear(math.log(low), math.log(high), start, end)
    return lambda value: inner(math.log(min(max(value, low), high)))


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two values, at most `most`."""
    if not high > low:
        return [low]
    raw = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def plain(value: float) -> str:
    """A number for an axis."""
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


@dataclass(frozen=True)
class Frame:
    """Where a chart's data goes: pixels left, top, right, bottom."""

    left: float
    top: float
    right: float
    bottom: float

    def grid_x(self, scale: Scale, values: Sequence[float], unit: str = "") -> list[Markup]:
        """Vertical grid lines with their numbers below."""
        return [
            part
            for value in values
            for part in (
                line(scale(value), self.top, scale(value), self.bottom, "grid"),
                text(scale(value), self.bottom + 16, plain(value) + unit, "tick", "middle"),
            )
        ]

    def grid_y(self, scale: Scale, values: Sequence[float], unit: str = "") -> list[Markup]:
        """Horizontal grid lines with their numbers to the left."""
        return [
            part
            for value in values
            for part in (
                line(self.left, scale(value), self.right, scale(value), "grid"),
                text(self.left - 8, scale(value) + 4, plain(value) + unit, "tick", "end"),
            )
        ]
