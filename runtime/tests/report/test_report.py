"""The report: everything measured is on it, nothing hostile runs, nothing is fetched."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from mlsd.core import svg
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.design.design import Design
from mlsd.report.closed import outside
from mlsd.report.results import BOXES
from mlsd.report.write import render, run
from support import report_results

VOID = {"meta", "br", "circle", "line", "path", "rect"}


class Reader(HTMLParser):
    """Text of a page, and whether every element is closed by its own end."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.open: list[str] = []
        self.kinds: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.kinds.add(tag)
        if tag not in VOID or tag in {"circle", "line", "path", "rect"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.kinds.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def words(home: Home) -> str:
    return "\n".join(read(home.report.read_text()).text)


def test_every_check_of_every_result_is_on_the_page(design: Design, home: Home) -> None:
    results = report_results.save_all(home)
    told = run(design, home)
    assert told.passed
    shown = words(home)
    for result in results:
        for check in result.checks:
            assert check.name in shown
            assert check.measured in shown
            assert check.designed in shown
    assert f"All {sum(len(result.checks) for result in results)} design numbers hold" in shown


def test_all_six_boxes_and_all_charts_are_there(design: Design, home: Home) -> None:
    report_results.save_all(home)
    run(design, home)
    page = home.report.read_text()
    for box in BOXES:
        assert box.title in page
    for chart in (
        "Reliability",
        "Latency by hop",
        "How far each feature moved",
        "Traffic while release 2",
        "NDCG@10, candidate",
    ):
        assert chart in page
    for found in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + found.split("</svg>")[0] + "</svg>")


def test_the_time_of_the_loop_counts_the_retraining_once(design: Design, home: Home) -> None:
    """The hook's run happens while the loop waits for it."""
    results = report_results.save_all(home)
    run(design, home)
    before = next(word for word in words(home).splitlines() if "seconds on one machine" in word)
    results[0].model_copy(update={"step": "retrain", "seconds": 1000.0}).save(home)
    run(design, home)
    assert before in words(home)


def test_a_page_without_any_result_is_valid(design: Design, home: Home) -> None:
    assert run(design, home).passed
    shown = words(home)
    assert "Nothing has been measured yet" in shown
    assert "not run" in shown


def test_a_missed_number_is_the_headline(design: Design, home: Home) -> None:
    report_results.save_all(home)
    missed = Check(name="p99 from the schedule", designed="<= 150 ms", measured="212.00 ms", passed=False)
    StepResult(step="load", summary="slow", checks=[missed], at=report_results.AT).save(home)
    run(design, home)
    shown = words(home)
    assert "1 of 23 design numbers were missed" in shown
    assert "p99 from the schedule is 212.00 ms, the design says <= 150 ms" in shown


def test_requests_refused_during_a_release_are_failed_ones(design: Design, home: Home) -> None:
    report_results.save_all(home)
    result = next(each for each in report_results.results() if each.step == "release")
    load = report_results.load()
    refused = result.details | {"load": load | {"shed": 20, "errors": 3}}
    run(design, home)
    assert re.search(r"\b0\s+failed requests of", words(home))
    result.model_copy(update={"details": refused}).save(home)
    run(design, home)
    assert re.search(r"\b23\s+failed requests of", words(home))


def test_steps_that_did_not_run_are_said_and_do_not_count_as_held(design: Design, home: Home) -> None:
    report_results.results()[0].save(home)
    run(design, home)
    shown = words(home)
    assert "design numbers measured so far hold" in shown
    assert "not run" in shown


def test_hostile_text_is_text(design: Design, home: Home) -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)> url(http://evil.example) {{ 7 * 7 }}'
    check = Check(name=evil, designed=evil, measured=evil, passed=False)
    details = report_results.train()
    details["leaderboard"][0]["name"] = evil
    details["reliability"] = {evil: {"predicted": [0.1], "observed": [0.1]}}
    details["champion_candidate"] = evil
    StepResult(step="train", summary=evil, checks=[check], details=details, at=report_results.AT).save(home)
    StepResult(step="surprise", summary=evil, checks=[check], at=report_results.AT).save(home)
    assert run(design, home).passed
    page = home.report.read_text()
    reader = read(page)
    assert not {"script", "img"} & reader.kinds
    assert "alert(1)" in "".join(reader.text)
    assert "49" not in "".join(t for t in reader.text if "alert" in t)


def test_details_of_another_shape_draw_nothing_and_break_nothing(design: Design, home: Home) -> None:
    check = Check(name="a", designed="b", measured="c", passed=True)
    for step in ("plan", "data", "train", "load", "release", "release_slow", "monitor", "monitor_shifted"):
        StepResult(
            step=step, summary="s", checks=[check], details={"leaderboard": 7, "timeline": {}}, at=report_results.AT
        ).save(home)
    assert run(design, home).passed


def test_empty_and_flat_numbers_are_drawn(design: Design, home: Home) -> None:
    check = Check(name="a", designed="b", measured="c", passed=True)
    train, load, monitored = report_results.train(), report_results.load(), report_results.monitored(0.0)
    train["leaderboard"] = train["leaderboard"][:1]
    train["leaderboard"][0] |= {"ndcg10": 0.0, "ndcg10_ci": [0.0, 0.0]}
    load["hops"] = {}
    monitored["score"] = {"reference": [], "current": []}
    for step, details in (("train", train), ("load", load), ("monitor", monitored)):
        StepResult(step=step, summary="s", checks=[check], details=details, at=report_results.AT).save(home)
    assert run(design, home).passed


def test_a_damaged_result_is_named(design: Design, home: Home) -> None:
    report_results.save_all(home)
    (home.results / "load.json").write_text("{half")
    with pytest.raises(UserError, match=r"load\.json: not a result"):
        run(design, home)


def test_what_would_be_fetched_is_found() -> None:
    assert outside('<p>src=x url(y) <a href="#b">b</a></p><style>a { color: red }</style>') == []
    for bad in (
        "<script>1</script>",
        '<img src="x">',
        '<a href="http://x">x</a>',
        '<p onclick="x()">x</p>',
        "<style>a { background: url(x) }</style>",
        "<style>@import 'x';</style>",
        '<p style="background: url(x)">x</p>',
    ):
        assert outside(bad), bad


def test_the_page_is_made_in_seconds(design: Design) -> None:
    results = {result.step: result for result in report_results.results()}
    began = datetime.now(UTC)
    render(design, results, began)
    assert (datetime.now(UTC) - began).total_seconds() < 20


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.28, 0.45), (0.0, 0.003), (-2.0, 1e6), (3.0, 3.0)])
def test_ticks_are_inside_and_few(low: float, high: float) -> None:
    marks = svg.ticks(low, high)
    assert 1 <= len(marks) <= 7
    assert all(low - 1e-9 <= mark <= high * (1 + 1e-9) for mark in marks)
