"""`pytest --gameday`: a table of every planted fault, what must happen and what was seen."""

import shutil
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

Seen = Callable[[str], None]
SHARES = (0.25, 0.35, 0.4)
WIDEST = 150
SHOWN = 160


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gameday", action="store_true", help="end with a table: fault, expected, seen")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("gameday"):
        config.pluginmanager.register(Gameday(), "gameday-table")


def pytest_itemcollected(item: pytest.Item) -> None:
    faults = [(name, expected) for name, expected in (mark.args for mark in item.iter_markers("fault"))]
    if faults:  # a mark with other arguments stopped the run
        item.user_properties.append(("faults", faults))


@pytest.fixture
def seen(record_property: Callable[[str, object], None]) -> Seen:
    """Say what a fault did; the last column of the table."""
    return lambda text: record_property("seen", text)


class Gameday:
    """Rows in the order in which their faults were first planted; several tests of one fault share a row."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, bool]] = {}  # what was seen, and whether it was right

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = dict(report.user_properties)
        if report.when != "call" and report.passed:
            return
        text = str(found.get("seen", "as expected")) if report.passed else _reason(report)
        for name, expected in found.get("faults", []):  # type: ignore[attr-defined]  # see pytest_itemcollected
            self.rows.setdefault((name, expected), {})[text] = report.passed

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("faults")
        terminalreporter.write_line(_line("FAULT", "EXPECTED", "SEEN"))
        for (name, expected), texts in self.rows.items():
            said = sorted(texts, key=lambda text: texts[text])  # what went wrong first
            terminalreporter.write_line(_line(name, expected, "; ".join(said)))
        terminalreporter.write_line(f"{len(self.rows)} faults planted, {self._handled()} handled as expected")

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.OK and self._handled() < len(self.rows):  # skipped is not handled
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _handled(self) -> int:
        return sum(all(texts.values()) for texts in self.rows.values())


def _reason(report: pytest.TestReport) -> str:
    """Which test did not pass, in which phase when it never came to plant the fault, and the first line of why."""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)  # a tuple for a skip
    why = crash.message.partition("\n")[0] if crash else text.strip().rpartition("\n")[2]
    phase = "" if report.when == "call" else f" in {report.when}"
    return textwrap.shorten(f"{report.outcome.upper()}{phase} {report.nodeid}: {why}", SHOWN)


def _line(*cells: str) -> str:
    most = min(shutil.get_terminal_size((WIDEST, 0)).columns, WIDEST) - 2 * len(cells)
    widths = [max(12, int(most * share)) for share in SHARES]
    columns = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, columns))
    rows = zip(*(column + [""] * (height - len(column)) for column in columns), strict=True)
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
