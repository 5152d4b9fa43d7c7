"""From results to what the page shows: sections of checks, facts, tables and figures. No HTML here."""

from collections.abc import Callable

from mlsd.design.design import Design
from mlsd.plan.capacity import predict
from mlsd.plan.load_curve import LoadCurve
from mlsd.report.charts import load_charts, monitoring_charts, serving_charts, training_charts
from mlsd.report.details import Data, Load, Monitored, Plan, Rollout, Training, read
from mlsd.report.parts import Figure, Results, Section, Table
from mlsd.report.results import BOXES, Box

RELEASES = ("release", "release_invert", "release_slow", "release_retrained")


def _first(section: Section, design: Design, results: Results) -> None:
    hops = design.latency.hops_ms.model_dump()
    section.facts = [
        ("peak", f"{design.scale.peak_rps:,} requests/s, {design.scale.candidates} candidates each"),
        ("latency", f"{design.latency.p99_ms:g} ms p99 = " + " + ".join(f"{k} {v:g}" for k, v in hops.items())),
        ("success", f"{design.success.metric} of at least {design.success.target:g}"),
        ("because", design.success.because),
        ("cloud", design.cloud),
    ]
    chart = serving_charts.budget(hops, design.latency.p99_ms)
    caption = "What the user waits at p99, split by hop; what is left is headroom."
    section.figures.append(Figure("The latency budget", caption, chart, wide=True))
    plan = read(Plan, results.get("plan"))
    if plan:
        need = plan.capacity
        section.facts.append(("replicas", f"{need.replicas}: {need.formula}"))
        section.facts.append(
            ("cost", f"about {need.monthly_usd:,.0f} USD a month on {design.cloud}, at assumed prices")
        )
        rows = [(row.family, "fits" if row.fits else "too slow", row.why) for row in plan.families]
        section.tables.append(Table("Model families within the inference budget", ("family", "verdict", "why"), rows))


def _second(section: Section, design: Design, results: Results) -> None:
    label = design.label
    section.facts = [
        ("positive", f"a {label.event} of {label.min_dwell_s:g} s or more"),
        ("known after", f"{label.maturity_h:g} h; younger rows are not labelled"),
        ("order", f"{design.ranking} objective for the challenger, pointwise for the champion"),
        ("cold start", f"below {design.serving.cold_start.min_interactions} interactions: popular items"),
    ]


def _third(section: Section, design: Design, results: Results) -> None:
    data = read(Data, results.get("data"))
    if data:
        counts = ", ".join(f"{count:,} {name}" for name, count in data.counts.items())
        section.facts += [
            ("source", data.source),
            ("tables", counts),
            ("positives", f"{data.label_rate:.2%} of labelled rows"),
        ]
    section.facts.append(("features", f"service {design.features.service}, older than allowed is not trusted"))


def _leaderboard_tables(training: Training) -> list[Table]:
    head = ("model", "NDCG@10", "AUC", "log loss", "calibration error", "p99", "verdict")
    rows = [
        (
            _words(candidate.name),
            f"{candidate.ndcg10:.4f}",
            f"{candidate.auc:.4f}",
            f"{candidate.log_loss:.4f}",
            f"{candidate.ece:.4f}",
            f"{candidate.p99_ms:.2f} ms" if candidate.p99_ms is not None else "",
            "passed" if candidate.passed else candidate.reason or "baseline",
        )
        for candidate in training.leaderboard
    ]
    counts = {name: part.requests for candidate in training.leaderboard for name, part in candidate.slices.items()}
    by_slice = [
        (
            _words(candidate.name),
            *(_score(candidate.slices[name].ndcg10) if name in candidate.slices else "" for name in counts),
        )
        for candidate in training.leaderboard
    ]
    columns = (f"{_words(name)} ({count:,} requests)" for name, count in counts.items())
    return [Table("The leaderboard", head, rows), Table("NDCG@10 by slice", ("model", *columns), by_slice)]


def _words(name: str) -> str:
    return name.replace("_", " ").replace("/", ", ")


def _fourth(section: Section, design: Design, results: Results) -> None:
    training = read(Training, results.get("train"))
    if not training or not training.leaderboard:
        return
    chosen = [name for name in (training.champion_candidate, training.challenger_candidate) if name]
    caption = "Dot: mean over test requests. Line: 95 % bootstrap interval. Dashed: the baseline. ● was registered."
    section.figures.append(
        Figure("NDCG@10, candidate by candidate", caption, training_charts.leaderboard(training.leaderboard, chosen))
    )
    curves = {name: curve for name, curve in training.reliability.items() if name in chosen and curve.predicted}
    if curves:
        shown = "On the diagonal, of 100 items scored 5 %, five are engaged with. One dot is a tenth of the rows."
        legend = tuple((f"mark series{index % 4}", _words(name)) for index, name in enumerate(curves))
        chart = training_charts.reliability(curves)
        section.figures.append(Figure("Reliability", shown, chart, legend=legend))
    section.tables += _leaderboard_tables(training)


def _score(value: float | None) -> str:
    return "too few" if value is None else f"{value:.4f}"


def _rollout_figure(step: str, rollout: Rollout) -> Figure:
    what = f"Planted fault: {rollout.fault}. " if rollout.fault else ""
    safe = (
        ""
        if rollout.seconds_to_safe is None
        else f"First bad answer to all traffic back: {rollout.seconds_to_safe:.2f} s. "
    )
    caption = f"{what}{safe}Dotted: requests mirrored to the shadow, which no user sees."
    title = next((box.steps[step] for box in BOXES if step in box.steps), step.replace("_", " "))
    kind = "area new" if rollout.outcome == "champion" else "area sick"
    legend = (("area old", f"release {rollout.champion_before}"), (kind, f"release {rollout.release}"))
    return Figure(title, caption, serving_charts.traffic(rollout), legend=legend)


def _gates(step: str, rollout: Rollout) -> Table:
    rows = [
        (f"{gate.stage} {gate.percent:g} %", gate.name, gate.measured, gate.designed, gate.verdict)
        for gate in rollout.gates
    ]
    return Table(
        f"Gates of release {rollout.release}", ("step", "gate", "measured", "design", "verdict"), rows, folded=True
    )


def _fifth(section: Section, design: Design, results: Results) -> None:
    load = read(Load, results.get("load"))
    if load:
        budgets = {k: v for k, v in design.latency.hops_ms.model_dump().items() if v}
        chart = serving_charts.hops(load, budgets, design.latency.service_ms)
        caption = (
            f"{load.sent:,} requests at {load.rps:g}/s on a fixed schedule; latency counts from the intended start. "
            "Bar: p99. Tick: median. Track: the budget; retrieval's share is kept free for another team's service."
        )
        section.figures.append(Figure("Latency by hop", caption, chart))
    curve = read(LoadCurve, results.get("load_knee"))
    if curve and curve.held:
        chart = load_charts.load_curve(curve, predict(curve), design.latency.service_ms)
        legend = (("fill series0", "measured"), ("fill series3", "queueing model"))
        caption = "One dot is one rate, with gaps between arrivals as of independent users."
        section.figures.append(Figure("p99 over the rate", caption, chart, wide=True, legend=legend))
    _add_releases(section, ("release", "release_invert", "release_slow"), results)


def _add_releases(section: Section, steps: tuple[str, ...], results: Results) -> None:
    for step in steps:
        rollout = read(Rollout, results.get(step))
        if rollout and rollout.timeline:
            section.figures.append(_rollout_figure(step, rollout))
            section.tables.append(_gates(step, rollout))


def _sixth(section: Section, design: Design, results: Results) -> None:
    normal, shifted = (read(Monitored, results.get(step)) for step in ("monitor", "monitor_shifted"))
    newest = shifted or normal
    if newest and newest.features:
        legend = (
            ("mark good", "ok"),
            ("mark warn", "warns"),
            ("mark bad", "alerts"),
            ("mark hollow muted", "normal traffic"),
        )
        caption = "Against the release's own first requests. Bold features are critical: only they alert."
        chart = monitoring_charts.psi(normal if shifted else None, newest)
        section.figures.append(Figure("How far each feature moved (PSI)", caption, chart, wide=True, legend=legend))
        bars = (("fill muted", "reference"), ("fill series0", "newest window"))
        caption = "Each pair is one bin of the reference; equal heights mean that nothing moved."
        section.figures.append(
            Figure("Score distribution", caption, monitoring_charts.scores(newest.score), legend=bars)
        )
        section.tables.append(_slices(newest))
    _add_releases(section, ("release_retrained",), results)


def _slices(found: Monitored) -> Table:
    rows = [
        (
            name.replace("_", " "),
            f"{part.requests:,}",
            f"{part.share:.0%}",
            "" if part.top_score is None else f"{part.top_score:.3f}",
            "" if part.top_score is None else f"{part.top_score_p10:.3f} to {part.top_score_p90:.3f}",
        )
        for name, part in found.slices.items()
    ]
    head = ("slice", "requests", "share", "mean score of the first ten", "10th to 90th percentile")
    return Table("Live traffic by slice", head, rows)


FILL: dict[int, Callable[[Section, Design, Results], None]] = {
    1: _first,
    2: _second,
    3: _third,
    4: _fourth,
    5: _fifth,
    6: _sixth,
}


def sections(design: Design, results: Results) -> list[Section]:
    """The six boxes in order, and a seventh for results of other commands if there are any."""
    found = []
    for box in BOXES:
        section = Section(box, {step: results[step] for step in box.steps if step in results})
        if box.number in FILL:
            FILL[box.number](section, design, results)
        found.append(section)
    known = {step for box in BOXES for step in box.steps}
    others = {step: result for step, result in results.items() if step not in known}
    if others:
        titles = {step: step.replace("_", " ") for step in others}
        found.append(Section(Box(7, "Other commands", "What else was run.", titles), others))
    return found
