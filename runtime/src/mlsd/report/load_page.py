"""The page of one run of `mlsd load`, beside its JSON: percentiles, distribution, second by second."""

from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ValidationError

from mlsd.core.home import Home, replacing
from mlsd.core.result import StepResult
from mlsd.design.design import Design
from mlsd.plan.plan import board_line
from mlsd.report.load_figures import of_knee, of_run

TITLES = {
    "load": "Steady load",
    "load_spike": "Load with a spike",
    "load_soak": "Load over a long time",
    "load_shifted": "Load, shifted traffic",
    "load_knee": "How much the service can take",
}


def render(design: Design, result: StepResult) -> str:
    """The page as text; without charts when nothing was measured."""
    try:
        figures, tables = (of_knee if result.step == "load_knee" else of_run)(design, result)
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
