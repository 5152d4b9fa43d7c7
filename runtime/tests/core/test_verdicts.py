"""Pass, fail and inconclusive: told apart by what was measured; nothing measured is never a pass."""

import pytest

from mlsd.core import clock
from mlsd.core.result import EXIT_CODES, Check, StepResult, Verdict, doubted, overall


def check(verdict: Verdict, *, timing: bool = False) -> Check:
    passed, open_ = verdict == "pass", verdict == "inconclusive"
    return Check(name="x", designed="", measured="", passed=passed, inconclusive=open_, timing=timing)


def result(*verdicts: Verdict) -> StepResult:
    return StepResult(step="x", summary="", checks=[check(each) for each in verdicts], at=clock.now())


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ((), "fail"),
        (("pass",), "pass"),
        (("pass", "inconclusive"), "inconclusive"),
        (("inconclusive", "fail", "pass"), "fail"),
        (("inconclusive",), "inconclusive"),
    ],
)
def test_the_worst_decides_and_no_check_is_a_failure(verdicts: tuple[Verdict, ...], expected: Verdict) -> None:
    assert result(*verdicts).verdict == overall(verdicts) == expected
    assert result(*verdicts).passed == (expected == "pass")


def test_other_work_excuses_a_missed_time_and_nothing_else() -> None:
    late, wrong, good = check("fail", timing=True), check("fail"), check("pass", timing=True)
    assert [each.verdict for each in doubted([late, wrong, good])] == ["inconclusive", "fail", "pass"]


def test_a_check_that_passed_is_no_open_one() -> None:
    assert check("pass").model_copy(update={"inconclusive": True}).verdict == "pass"


def test_the_exit_codes_are_apart_and_none_is_that_of_bad_input() -> None:
    assert EXIT_CODES == {"pass": 0, "fail": 1, "inconclusive": 3}


def test_results_of_an_older_version_are_read() -> None:
    old = result("pass", "fail").model_dump(mode="json")
    for each in old["checks"]:
        del each["inconclusive"]
    assert StepResult.model_validate(old).verdict == "fail"
    assert "timing" not in old["checks"][0]
