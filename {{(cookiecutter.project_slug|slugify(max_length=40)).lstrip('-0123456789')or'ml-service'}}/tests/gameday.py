"""`pytest --gameday`: a table of every planted fault, what must happen and what was seen."""

import textwrap
from collections.abc import Callable

import pytest

Seen = Callable[[str], None]
WIDTHS = (34, 44, 52)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gameday", action="store_true", help="end with a table: fault, expected, seen")


@pytest.fixture
def seen(record_property: Callable[[str, object], None]) -> Seen:
    """Say what a fault did; the last column of the table."""
    return lambda text: record_property("seen", text)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):  # type: ignore[no-untyped-def]  # noqa: ANN201
    report = yield
    if report.when == "call" and (mark := item.get_closest_marker("fault")):
        report.user_properties.append(("fault", mark.args))
    return report


def _lines(cells: tuple[str, ...]) -> list[str]:
    columns = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, WIDTHS, strict=True)]
    height = max(map(len, columns))
    padded = [column + [""] * (height - len(column)) for column in columns]
    rows = zip(*padded, strict=True)
    return ["  ".join(part.ljust(width) for part, width in zip(row, WIDTHS, strict=True)).rstrip() for row in rows]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("gameday"):
        return
    terminalreporter.section("faults")
    terminalreporter.write_line("\n".join(_lines(("FAULT", "EXPECTED", "SEEN"))))
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            found = dict(report.user_properties)
            if report.when == "call" and "fault" in found:
                said = found.get("seen", "as expected") if outcome == "passed" else f"FAILED {report.nodeid}"
                terminalreporter.write_line("\n".join(_lines((*found["fault"], said))))
