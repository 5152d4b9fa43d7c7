"""Step 6 in pictures: how far each feature moved, and what that did to the scores."""

from markupsafe import Markup

from mlsd.core.svg import Frame, bar, dot, drawing, line, linear, logarithmic, text, ticks
from mlsd.report.details import Feature, Monitored, Scores, Thresholds

WIDTH = 1100.0
ROW = 21.0
LOWEST = 0.001
MAX_ROWS = 18


def _shown(features: list[Feature]) -> list[Feature]:
    """Critical features and the score always; of the others those that moved most."""
    ordered = sorted(features, key=lambda feature: -feature.psi)
    rest = [feature for feature in ordered if not feature.critical]
    kept = rest[: max(MAX_ROWS - (len(ordered) - len(rest)), 0)]
    return [feature for feature in ordered if feature.critical or feature in kept]


def _kind(feature: Feature) -> str:
    return {"alert": "bad", "warning": "warn"}.get(feature.verdict, "good")


def psi(before: Monitored | None, after: Monitored) -> Markup:
    """PSI of each feature on a logarithm: the hollow dot is normal traffic, the filled one the newest window."""
    features = _shown(after.features)
    earlier = {feature.name: feature.psi for feature in before.features} if before else {}
    frame = Frame(210, 26, WIDTH - 70, 26 + ROW * len(features))
    highest = max([feature.psi for feature in features] + [*earlier.values(), 1.0]) * 1.3
    x = logarithmic(LOWEST, highest, frame.left, frame.right)
    parts = frame.grid_x(x, [value for value in (0.001, 0.01, 0.1, 1.0, 10.0) if value <= highest])
    parts += _limits(after.thresholds, x(after.thresholds.warning), x(after.thresholds.alert), frame)
    for index, feature in enumerate(features):
        y = frame.top + ROW * (index + 0.5)
        kind = _kind(feature)
        name = feature.name.replace("_", " ")
        parts.append(text(frame.left - 12, y + 4, name, "label strong" if feature.critical else "label", "end"))
        if feature.name in earlier:
            start = x(earlier[feature.name])
            parts += [line(start, y, x(feature.psi), y, f"stem {kind}"), dot(start, y, 4, "mark hollow muted")]
        hint = f"{feature.name}: PSI {feature.psi:.3f}, KS {feature.ks:.3f} (p {feature.ks_p:.2g}, n {feature.n})"
        parts.append(dot(x(feature.psi), y, 5.5 if feature.critical else 4, f"mark {kind}", hint))
        parts.append(text(WIDTH - 4, y + 4, f"{feature.psi:.3f}", "value", "end"))
    return drawing(WIDTH, frame.bottom + 24, "PSI of each feature against the thresholds", *parts)


def _limits(limits: Thresholds, warning: float, alert: float, frame: Frame) -> list[Markup]:
    return [
        line(warning, frame.top - 8, warning, frame.bottom, "limit warn"),
        line(alert, frame.top - 8, alert, frame.bottom, "limit bad"),
        text(warning - 4, frame.top - 12, f"warns {limits.warning:g}", "tick", "end"),
        text(alert + 4, frame.top - 12, f"alerts on a critical feature {limits.alert:g}", "tick"),
    ]


def scores(found: Scores) -> Markup:
    """Share of scores in each bin of the reference, reference beside window."""
    width, frame = 540.0, Frame(46, 14, 526, 190)
    shares = [[count / max(sum(counts), 1) for count in counts] for counts in (found.reference, found.current)]
    most = max(max(side, default=0.0) for side in shares) * 100 * 1.1 or 1.0
    y = linear(0, most, frame.bottom, frame.top)
    parts = frame.grid_y(y, ticks(0, most, 5), " %")
    step = (frame.right - frame.left) / max(len(found.reference), 1)
    for index, (was, now) in enumerate(zip(*shares, strict=False)):
        x = frame.left + step * index
        parts.append(bar(x + step * 0.12, y(was * 100), step * 0.36, frame.bottom - y(was * 100), "fill muted"))
        parts.append(bar(x + step * 0.52, y(now * 100), step * 0.36, frame.bottom - y(now * 100), "fill series0"))
    parts.append(text(frame.left, frame.bottom + 18, "lowest scores", "tick"))
    parts.append(text(frame.right, frame.bottom + 18, "highest scores", "tick", "end"))
    return drawing(width, frame.bottom + 26, "Scores in the bins of the reference", *parts)
