"""`make gameday`: what was not handled stands in the table and in the exit code."""

import pytest

from support.paths import TESTS

pytest_plugins = ["pytester"]

FAULTS = """
import pytest

@pytest.fixture
def broken():
    raise OSError("no store to break")

@pytest.mark.fault("Store down", "0 % 5xx")
def test_handled(seen):
    seen("0 of 400 5xx")

@pytest.mark.fault("Store down", "0 % 5xx")
def test_handled_too(seen):
    seen("back after 2 s")

@pytest.mark.fault("Silent fault", "something")
def test_says_nothing():
    pass

@pytest.mark.fault("{name}", "429")
def test_other(seen{fixture}):
    seen("what it saw")
    {body}

def test_plain():
    pass
"""


def run(pytester: pytest.Pytester, *options: str, body: str = "pass", fixture: str = "") -> pytest.RunResult:
    pytester.makeini("[pytest]\nmarkers =\n  fault(name, expected): a fault\naddopts = -q --strict-markers")
    text = FAULTS.replace("{name}", "Overload").replace("{body}", body).replace("{fixture}", fixture)
    pytester.makepyfile(test_faults=text)
    pytester.syspathinsert(TESTS)
    return pytester.runpytest_inprocess("-p", "support.gameday", "-p", "no:cacheprovider", *options)


def test_every_handled_fault_is_a_row_and_the_exit_code_is_0(pytester: pytest.Pytester) -> None:
    """Two tests of one fault share its row; the output of a test run is no terminal."""
    result = run(pytester, "-m", "fault", "--gameday")
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "FAULT * EXPECTED * SEEN",
            "Store down * 0 % 5xx * 0 of 400 5xx; back after 2 s",
            "Silent fault * something * as expected",
            "Overload * 429 * what it saw",
            "3 faults planted, 3 handled as expected",
        ],
        consecutive=True,
    )
    assert "test_plain" not in result.stdout.str()


@pytest.mark.parametrize(
    ("body", "fixture", "said"),
    [
        ("assert 503 == 429", "", "FAILED test_faults.py::test_other: assert 503 == 429"),
        ("raise RuntimeError('hung')", "", "FAILED test_faults.py::test_other: RuntimeError: hung"),
        ("pass", ", broken", "FAILED in setup test_faults.py::test_other: OSError: no store to break"),
    ],
)
def test_a_fault_that_is_not_handled_fails_the_run_and_says_why(
    pytester: pytest.Pytester, body: str, fixture: str, said: str
) -> None:
    result = run(pytester, "--gameday", body=body, fixture=fixture)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    header, *rows = result.stdout.str().partition("\nFAULT ")[2].splitlines()
    column = header.index("SEEN")
    at = next(at for at, row in enumerate(rows) if row.startswith("Overload"))
    cell = [row[column + 6 :].strip() for row in rows[at : at + 3] if not row[:1].isdigit()]
    assert " ".join(cell).startswith(said)
    result.stdout.fnmatch_lines(["3 faults planted, 2 handled as expected"])


def test_a_skipped_fault_is_not_a_handled_one(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--gameday", body="pytest.skip('no network')")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    said = " ".join(result.stdout.str().split())
    assert "Overload 429 SKIPPED test_faults.py::test_other: Skipped: no network 3 faults planted, 2 handled" in said


def test_without_the_option_there_is_no_table(pytester: pytest.Pytester) -> None:
    result = run(pytester)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*EXPECTED*")


def test_a_mark_without_its_expectation_stops_the_run(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("import pytest\n@pytest.mark.fault('half')\ndef test_x(): pass")
    pytester.syspathinsert(TESTS)
    assert pytester.runpytest_inprocess("-p", "support.gameday", "-p", "no:cacheprovider").ret != pytest.ExitCode.OK
