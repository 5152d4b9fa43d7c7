"""`mlsd report`: one self-contained page; it asks for nothing from any network."""

from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from mlsd.core.clock import now
from mlsd.core.home import Home, replacing
from mlsd.core.result import Check, StepResult
from mlsd.design.design import Design
from mlsd.plan.plan import board_line, sentence
from mlsd.report.charts.timeline_chart import timeline
from mlsd.report.closed import outside
from mlsd.report.headline import numbers, verdict
from mlsd.report.page import sections
from mlsd.report.parts import Results
from mlsd.report.results import BOXES, load_results

OPTIONAL = {"rollback", "retrain", "load_shifted", "plan_measured"}
OPTIONAL |= {"load_spike", "load_soak", "load_knee", "drill_swap", "drill_sigkill", "drill_sigterm"}


def render(design: Design, results: Results, made_at: datetime) -> str:
    """The page as text. Everything that comes from a result or the design is escaped."""
    environment = Environment(
        loader=PackageLoader("mlsd.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    steps = [step for box in BOXES for step in box.steps]
    inside = {"retrain"} if "retrain_triggered" in results else set()  # the hook's run: its time is in the wait for it
    loop = [results[step] for step in steps if step in results and step not in inside]
    return environment.get_template("page.html.j2").render(
        design=design,
        board=board_line(design),
        sentence=sentence(design),
        verdict=verdict(results, [step for step in steps if step not in OPTIONAL]),
        numbers=numbers(design, results),
        sections=sections(design, results),
        timeline=timeline(loop) if loop else "",
        seconds=sum(result.seconds for result in loop),
        optional=OPTIONAL,
        made_at=made_at,
    )


def run(design: Design, home: Home) -> StepResult:
    """Write the page from what the steps have measured; steps that did not run are shown as such.

    Raises:
        UserError: a result is damaged.
    """
    results = load_results(home)
    text = render(design, results, datetime.now(UTC))
    with replacing(home.report) as temporary:
        temporary.write_text(text, encoding="utf-8")
    shown = sum(len(result.checks) for result in results.values())
    found = outside(text)
    check = Check(
        name="page that loads nothing",
        designed="0 addresses",
        measured=f"{len(found)} addresses, {len(text) // 1024} KiB",
        passed=not found,
    )
    summary = f"{home.report}: {shown} checks of {len(results)} steps"
    return StepResult(step="report", summary=summary, checks=[check], at=now())
