"""Figures and tables of one run of load."""

from pydantic import BaseModel

from mlsd.core.result import StepResult
from mlsd.design.design import Design
from mlsd.loadtest.summary import LoadSummary
from mlsd.plan.capacity import predict
from mlsd.plan.load_curve import LoadCurve
from mlsd.report.charts import latency_charts, load_charts, serving_charts
from mlsd.report.details import Load
from mlsd.report.parts import Figure, Table


class _Spike(BaseModel):
    factor: float
    from_s: float
    to_s: float


class _Extra(BaseModel):
    """What a run's details hold beside its measurements."""

    spike: _Spike | None = None
    memory_mib: list[tuple[float, float]] = []


def of_run(design: Design, result: StepResult) -> tuple[list[Figure], list[Table]]:
    """Latency by second, percentile and hop; nothing where nothing was answered."""
    sent, extra = LoadSummary.model_validate(result.details), _Extra.model_validate(result.details)
    if not sent.total.count:
        return [], []
    budget = design.latency.service_ms
    spike = (extra.spike.from_s, extra.spike.to_s) if extra.spike else None
    budgets = {name: ms for name, ms in design.latency.hops_ms.model_dump().items() if ms}
    hops = serving_charts.hops(Load.model_validate(result.details), budgets, budget)
    legend = (("fill series1", "p99"), ("fill series0", "median, answered"), ("fill bad", "refused with 429"))
    figures = [
        Figure(
            "Second by second",
            "By the second in which each request was due.",
            load_charts.seconds(sent.timeline, budget, spike),
            wide=True,
            legend=legend,
        ),
        Figure(
            "Percentiles",
            "Latency from the intended start; each step to the right is ten times rarer.",
            latency_charts.percentiles(sent.total, budget),
        ),
        Figure("Distribution", "Answers by latency, logarithmic bins.", latency_charts.distribution(sent.total)),
        Figure("Hops", "Bar: p99. Tick: median. Track: the budget.", hops),
    ]
    if result.step == "load_soak" and extra.memory_mib:
        figures.append(
            Figure("Memory", "Resident memory of all workers.", load_charts.memory(extra.memory_mib), wide=True)
        )
    return figures, [_percentile_table(sent)]


def _percentile_table(sent: LoadSummary) -> Table:
    rows = {"answers": sent.total, "refused": sent.refused, "client's own lag": sent.lag, **sent.hops}
    points = [percent for percent, _ in sent.total.percentiles]
    cells = [
        (name, f"{values.count:,}", *(f"{value:.2f}" for _, value in values.percentiles))
        for name, values in rows.items()
        if values.count
    ]
    return Table("Percentiles, milliseconds", ("", "count", *(f"p{percent:g}" for percent in points)), cells)


def of_knee(design: Design, result: StepResult) -> tuple[list[Figure], list[Table]]:
    """The measured load curve beside the queueing model's."""
    curve = LoadCurve.model_validate(result.details)
    predicted = predict(curve) if curve.held else []
    chart = load_charts.load_curve(curve, predicted, design.latency.service_ms)
    legend = (("fill series0", "measured"), ("fill series3", "queueing model"))
    figure = Figure(
        "p99 over the rate", "One dot is one rate, with gaps as of independent users.", chart, wide=True, legend=legend
    )
    by_model = {row.rps: f"{row.p99_ms:.1f}" for row in predicted}
    rows = [
        (
            f"{stage.rps:.0f}/s",
            f"{stage.answered_rps:.0f}/s",
            f"{stage.p50_ms:.1f}",
            f"{stage.p99_ms:.1f}",
            by_model.get(stage.rps, ""),
            f"{stage.server_cpu_ms:.2f}",
            stage.broke or "holds",
        )
        for stage in curve.stages
    ]
    head = ("rate", "answered", "p50 ms", "p99 ms", "p99 by the model", "CPU of the workers, ms a request", "verdict")
    return [figure], [Table("The load curve", head, rows)]
