"""Step 5 in pictures: each hop beside its budget, and who got which release while it climbed."""

from markupsafe import Markup

from mlsd.core.svg import Frame, Scale, bar, drawing, line, linear, path, text, ticks
from mlsd.report.details import Load, Rollout

WIDTH = 540.0
ROW = 40.0


def budget(hops: dict[str, float], total: float) -> Markup:
    """The hop budget as one bar."""
    width, x, parts = 1100.0, 0.0, []
    free = total - sum(hops.values())
    pieces = [*hops.items(), *([("headroom", free)] if free > 0 else [])]
    for index, (name, ms) in enumerate(pieces):
        share = width * ms / total
        kind = "track" if name == "headroom" else f"fill hop{index % 5}"
        parts.append(bar(x, 4, share - 2, 34, kind, 3))
        if share > 6.5 * len(name):
            parts.append(text(x + share / 2 - 1, 25, name, "label" if kind == "track" else "onfill", "middle"))
        parts.append(text(x + share / 2 - 1, 54, f"{ms:g}", "tick", "middle"))
        x += share
    parts.append(text(width - 2, 72, f"of {total:g} ms", "tick", "end"))
    return drawing(width, 78, "The latency budget by hop", *parts)


def hops(load: Load, budgets: dict[str, float], service_ms: float) -> Markup:
    """p99 (solid) and p50 (dark tick) of each hop on the track of its budget."""
    rows = [(name, load.hops[name], budgets[name]) for name in budgets if name in load.hops]
    rows.append(("as users see it", load.total, service_ms))
    frame = Frame(118, 12, WIDTH - 132, 12 + ROW * len(rows))
    longest = max(max(budget, seen.p99_ms) for _, seen, budget in rows)
    x = linear(0, longest, frame.left, frame.right)
    parts = frame.grid_x(x, ticks(0, longest, 5), " ms")
    for index, (name, seen, budget) in enumerate(rows):
        y = frame.top + ROW * index + 10
        kind = "good" if seen.p99_ms <= budget else "bad"
        parts += [
            text(frame.left - 10, y + 14, name, "label strong", "end"),
            bar(frame.left, y, x(budget) - frame.left, 20, "track", 3),
            bar(frame.left, y + 4, max(x(seen.p99_ms) - frame.left, 1.5), 12, f"fill {kind}", 2),
            line(x(seen.p50_ms), y + 2, x(seen.p50_ms), y + 18, "median"),
            text(WIDTH - 4, y + 14, f"{seen.p99_ms:.1f} of {budget:g} ms", "value", "end"),
        ]
    return drawing(WIDTH, frame.bottom + 24, "p99 of each hop against its budget", *parts)


def _steps(rollout: Rollout, end: float) -> list[tuple[float, float, float, float]]:
    """(from, to, canary percent, mirror percent) of each stretch of constant traffic."""
    starts = [moment.t for moment in rollout.timeline]
    stops = [*starts[1:], end]
    return [(t, u, m.canary_pct, m.mirror_pct) for t, u, m in zip(starts, stops, rollout.timeline, strict=True)]


def traffic(rollout: Rollout) -> Markup:
    """Share of users per release over time; the dotted line is the share that was mirrored to a shadow."""
    frame = Frame(44, 34, WIDTH - 14, 190)
    last = rollout.timeline[-1].t
    end = last + max(last * 0.1, 1.0)
    x, y = linear(0, end, frame.left, frame.right), linear(0, 100, frame.bottom, frame.top)
    released = rollout.outcome == "champion"
    stretches = _steps(rollout, end)
    if released:  # promoted: from here on the candidate is the champion
        stretches[-1] = (last, end, 100.0, 0.0)
    parts = [bar(frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top, "area old", 0)]
    kind = "new" if released else "sick"
    for start, stop, canary, mirror in stretches:
        parts.append(bar(x(start), y(canary), x(stop) - x(start), frame.bottom - y(canary), f"area {kind}", 0))
        if mirror:
            parts.append(path([(x(start), y(mirror) + 1.5), (x(stop), y(mirror) + 1.5)], f"mirror {kind}"))
    parts += frame.grid_y(y, [0, 25, 50, 75, 100], " %")
    parts += frame.grid_x(x, ticks(0, end, 7), " s")
    parts += _stages(rollout, x, frame)
    mark = f"release {rollout.release} is champion" if released else f"all traffic back on {rollout.champion_before}"
    parts.append(line(x(last), frame.top - 6, x(last), frame.bottom, f"event {'good' if released else 'bad'}"))
    anchor = "end" if x(last) > WIDTH * 0.55 else "start"
    parts.append(text(x(last) - 5 if anchor == "end" else x(last) + 5, frame.top - 12, mark, "value", anchor))
    return drawing(WIDTH, frame.bottom + 24, f"Traffic while release {rollout.release} was tried", *parts)


def _stages(rollout: Rollout, x: Scale, frame: Frame) -> list[Markup]:
    """The name of each stretch that is wide enough for it."""
    found, stops = [], [*(moment.t for moment in rollout.timeline[1:]), rollout.timeline[-1].t]
    for moment, stop in zip(rollout.timeline, stops, strict=True):
        share = moment.canary_pct or moment.mirror_pct
        name = f"{moment.stage} {share:g} %" if share else "starting"
        if x(stop) - x(moment.t) > 6 * len(name):
            found.append(text((x(moment.t) + x(stop)) / 2, frame.top + 16, name, "stage", "middle"))
    return found
