"""The loop as one bar: which step took how long, and which one failed."""

from markupsafe import Markup

from mlsd.core.result import StepResult
from mlsd.core.svg import bar, drawing, tag, text

WIDTH = 1100.0
GAP = 2.0
NARROWEST = 4.0


def _widths(results: list[StepResult]) -> list[float]:
    """Pixels per step, in proportion to its seconds; a step of no time still shows."""
    free = WIDTH - GAP * len(results) - NARROWEST * len(results)
    total = sum(result.seconds for result in results) or 1.0
    return [NARROWEST + free * result.seconds / total for result in results]


def timeline(results: list[StepResult]) -> Markup:
    """One block per step; names stand where they fit, the rest is in the hint."""
    parts, x = [], 0.0
    for result, width in zip(results, _widths(results), strict=True):
        name, seconds = result.step.replace("_", " "), f"{result.seconds:.1f} s"
        block = bar(x, 4, width, 30, f"fill {'good' if result.passed else 'bad'}", 3)
        parts.append(tag("g", tag("title", f"{name}: {seconds}"), block))
        if width > 7.2 * len(name):
            parts.append(text(x + width / 2, 23, name, "onfill", "middle"))
        if width > 7.0 * len(seconds):
            parts.append(text(x + width / 2, 50, seconds, "tick", "middle"))
        x += width + GAP
    return drawing(WIDTH, 56, "Seconds that each step took", *parts)
