"""Step 4 in pictures: the leaderboard with its intervals, and whether a predicted probability means what it says."""

from markupsafe import Markup

from mlsd.core.svg import Frame, dot, drawing, line, linear, path, text, ticks
from mlsd.report.details import CandidateRow, Curve

WIDTH = 540.0
ROW = 46.0


def leaderboard(candidates: list[CandidateRow], chosen: list[str]) -> Markup:
    """NDCG@10 of each candidate with its 95 % interval; the dashed line is the baseline, hollow dots were refused."""
    bounds = [value for candidate in candidates for value in candidate.ndcg10_ci]
    low, high = min(bounds), max(bounds)
    margin = (high - low) * 0.08 or 0.01
    frame = Frame(214, 14, WIDTH - 20, 14 + ROW * len(candidates))
    x = linear(low - margin, high + margin, frame.left, frame.right)
    parts = frame.grid_x(x, ticks(low - margin, high + margin))
    parts.append(line(x(candidates[0].ndcg10), frame.top, x(candidates[0].ndcg10), frame.bottom, "baseline"))
    for index, candidate in enumerate(candidates):
        y = frame.top + ROW * (index + 0.5)
        kind = "good" if candidate.passed else "muted" if index == 0 else "bad"
        family, _, objective = candidate.name.replace("_", " ").partition("/")
        gained = (
            f"{objective} {candidate.lift:+.3f} [{candidate.lift_ci[0]:+.3f}, {candidate.lift_ci[1]:+.3f}]"
            if index
            else "baseline"
        )
        role = " ●" if candidate.name in chosen else ""
        parts += [
            text(frame.left - 12, y - 2, family + role, "label strong", "end"),
            text(frame.left - 12, y + 13, gained, "tick", "end"),
            line(x(candidate.ndcg10_ci[0]), y, x(candidate.ndcg10_ci[1]), y, f"whisker {kind}"),
            dot(
                x(candidate.ndcg10),
                y,
                6,
                f"mark {kind}" if candidate.passed or index == 0 else f"mark hollow {kind}",
                gained,
            ),
            text(x(candidate.ndcg10), y - 11, f"{candidate.ndcg10:.3f}", "value", "middle"),
        ]
    height = frame.bottom + 24
    return drawing(WIDTH, height, "NDCG@10 of each model with its 95 % interval", *parts)


def reliability(curves: dict[str, Curve]) -> Markup:
    """Observed share of positives against the mean prediction, per bin; on the diagonal a probability is honest."""
    values = [value for curve in curves.values() for value in (*curve.predicted, *curve.observed)]
    most = max([*values, 0.01]) * 1.06
    frame = Frame(52, 14, WIDTH - 20, 290)
    x, y = linear(0, most, frame.left, frame.right), linear(0, most, frame.bottom, frame.top)
    marks = ticks(0, most, 5)
    parts = [*frame.grid_x(x, marks), *frame.grid_y(y, marks)]
    parts.append(line(x(0), y(0), x(most), y(most), "baseline"))
    for index, curve in enumerate(curves.values()):
        points = [(x(p), y(o)) for p, o in zip(curve.predicted, curve.observed, strict=False)]
        parts.append(path(points, f"curve series{index % 4}"))
        parts += [dot(px, py, 3.2, f"mark series{index % 4}") for px, py in points]
    parts.append(text((frame.left + frame.right) / 2, frame.bottom + 34, "predicted probability", "tick", "middle"))
    parts.append(text(frame.left, frame.top - 4, "observed", "tick"))
    return drawing(WIDTH, frame.bottom + 42, "Reliability: observed share against predicted probability", *parts)
