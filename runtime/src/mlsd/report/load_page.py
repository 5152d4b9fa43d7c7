"""The page of one run of `mlsd load`, beside its JSON: percentiles, distribution, second by second."""

from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import BaseModel, ValidationError

from mlsd.core.home import Home, replacing
from mlsd.core.result import StepResult
from mlsd.design.design import Design
from mlsd.loadtest.summary import LoadSummary
from mlsd.plan.capacity import predict
from mlsd.plan.load_curve import LoadCurve
from mlsd.plan.plan import board_line
from mlsd.report.charts import load_charts, serving_charts
from mlsd.report.details import Load
from mlsd.report.parts import Figure, Table

TITLES = {
    "load": "Steady load",
    "load_spike": "Load with a spike",
    "load_soak": "Load over a long time",
    "load_shifted": "Load, shifted traffic",
    "load_knee": "How much the service can take",
}


class _Spike(BaseModel):
    factor: float
    from_s: float
    to_s: float


class _Extra(BaseModel):
    """What a run's details hold beside its measurements."""

    spike: _Spike | None = None
    memory_mib: list[tuple[float, float]] = []


def _run(design: Design, result: StepResult) -> tuple[list[Figure], list[Table]]:
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
            load_charts.percentiles(sent.total, budget),
        ),
        Figure("Distribution", "Answers by latency, logarithmic bins.", load_charts.distribution(sent.total)),
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


def _knee(design: Design, result: StepResult) -> tuple[list[Figure], list[Table]]:
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


def render(design: Design, result: StepResult) -> str:
    """The page as text; without charts when nothing was measured."""
    try:
        figures, tables = (_knee if result.step == "load_knee" else _run)(design, result)
    except ValidationError:
        figures, tables = [], []
    environment = Environment(
        loader=PackageLoader("mlsd.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("load_page.html.j2").render(
        design=design,
        title=TITLES.get(result.step, result.step),
        board=board_line(design),
        words=result.summary.splitlines()[0],
        result=result,
        figures=figures,
        tables=tables,
        made_at=datetime.now(UTC),
    )


def place(home: Home, step: str) -> Path:
    """Where the page of a step lies."""
    return home.root / f"{step}.html"


def write(design: Design, home: Home, result: StepResult) -> StepResult:
    """Write the page; the result then names it."""
    target = place(home, result.step)
    with replacing(target) as temporary:
        temporary.write_text(render(design, result), encoding="utf-8")
    return result.model_copy(update={"summary": f"{result.summary}; page {target}"})
