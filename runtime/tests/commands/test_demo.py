"""The loop holds: it goes on after a failure, repeats what taught nothing, keeps the logs (P.06)."""

import argparse
from pathlib import Path

import pytest

from mlsd.commands import console
from mlsd.commands.demo import KEPT_LOGS, MARKER, REPEATS, clean_start, run_steps
from mlsd.commands.steps import DEMO, STEPS, DemoStep, Options
from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult, Verdict
from mlsd.loadtest.summary import Latencies, LoadSummary
from mlsd.loadtest.under_load import doubted_slowness, served
from mlsd.problem.context import Context


class Scripted:
    """A step that answers with the next of its verdicts, the last one for ever."""

    def __init__(self, name: str, *verdicts: Verdict) -> None:
        self.name, self.verdicts, self.runs = name, list(verdicts), 0

    def __call__(self, _: Context, __: Options) -> StepResult:
        verdict = self.verdicts[min(self.runs, len(self.verdicts) - 1)]
        self.runs += 1
        check = Check(
            name="x", designed="", measured="", passed=verdict == "pass", inconclusive=verdict == "inconclusive"
        )
        return StepResult(step=self.name, summary="", checks=[check], at=clock.now())


def line(work: Scripted, *needs: str, repeat: bool = False) -> DemoStep:
    return DemoStep(work.name, "a test", work, needs, repeat=repeat)


def verdicts(home: Home, *steps: DemoStep) -> dict[str, Verdict]:
    return {result.step: result.verdict for result in run_steps(Context(home), None, steps)}


def test_it_goes_on_to_every_step_that_can_still_run(home: Home) -> None:
    bad, after, free, last = (
        Scripted("bad", "fail"),
        Scripted("after", "pass"),
        Scripted("free", "pass"),
        Scripted("last", "pass"),
    )
    found = verdicts(home, line(bad), line(after, "bad"), line(free), line(last, "after"))
    assert found == {"bad": "fail", "after": "inconclusive", "free": "pass", "last": "inconclusive"}
    assert (after.runs, free.runs, last.runs) == (0, 1, 0)


def test_what_taught_nothing_is_measured_again_twice_at_most(home: Home) -> None:
    better, never, failed, once = (
        Scripted("better", "inconclusive", "pass"),
        Scripted("never", "inconclusive"),
        Scripted("failed", "fail", "pass"),
        Scripted("once", "inconclusive"),
    )
    steps = [line(work, repeat=True) for work in (better, never, failed)]
    found = verdicts(home, *steps, line(once))
    assert found == {"better": "pass", "never": "inconclusive", "failed": "fail", "once": "inconclusive"}
    assert (better.runs, never.runs, failed.runs, once.runs) == (2, 1 + REPEATS, 1, 1)


def test_an_inconclusive_step_does_not_stop_those_that_need_it(home: Home) -> None:
    later = Scripted("later", "pass")
    assert verdicts(home, line(Scripted("open", "inconclusive")), line(later, "open"))["later"] == "pass"


def test_a_step_that_breaks_down_is_a_failure_and_bad_input_ends_the_demo(home: Home) -> None:
    def broken(_: Context, __: Options) -> StepResult:
        raise UserError("the store is gone")

    [result] = run_steps(Context(home), None, (DemoStep("up", "a test", broken),))
    assert (result.verdict, result.checks[0].measured) == ("fail", "the store is gone")
    with pytest.raises(UserError, match="the store is gone"):
        list(run_steps(Context(home), None, (DemoStep("data", "a test", broken),)))


@pytest.mark.parametrize(
    ("found", "code"),
    [(["pass", "pass"], 0), (["pass", "inconclusive"], 3), (["inconclusive", "fail"], 1), (["pass", "fail"], 1)],
)
def test_the_exit_code_tells_the_three_apart(
    home: Home, capsys: pytest.CaptureFixture[str], found: list[Verdict], code: int
) -> None:
    steps = tuple(line(Scripted(f"step{number}", verdict)) for number, verdict in enumerate(found))
    args = argparse.Namespace(command="demo", json=False)
    assert console.run(Context(home), lambda context: run_steps(context, None, steps), args) == code
    printed = capsys.readouterr().out
    shown = {"pass": "pass", "fail": "FAIL", "inconclusive": "inconclusive"}
    assert all(f"{shown[verdict]}  step{number} " in printed for number, verdict in enumerate(found))


def test_every_need_is_a_line_before() -> None:
    names = [step.name for step in DEMO]
    assert all(need in names[:number] for number, step in enumerate(DEMO) for need in step.needs)
    assert {"plan", "data", "features", "train", "up", "load"} <= set(names) & set(STEPS)


def sent(**changes: object) -> LoadSummary:
    empty = Latencies()
    content: dict[str, object] = {
        "started_at": 0.0, "sent": 777, "errors": 0, "warmup": 0, "warmup_errors": 0, "codes": {}, "total": empty,
        "lag": empty, "hops": {}, "by_version": {}, "timeline": [],
    }  # fmt: skip
    return LoadSummary.model_validate(content | changes)


def release(*missed: str, verdict: Verdict = "fail") -> StepResult:
    checks = [Check(name="champion", designed="2", measured="1", passed=not missed)]
    checks += [
        Check(name=name, designed="", measured="", passed=False, inconclusive=verdict == "inconclusive")
        for name in missed
    ]
    return StepResult(step="release", summary="", checks=checks, at=clock.now())


def test_a_refused_request_is_shown_and_is_not_a_failure_of_the_release() -> None:
    """(a): 1 of 777 got a 429 while the challenger's processes started."""
    one = served(release(), sent(retried=1))
    assert one.verdict == "pass"
    assert one.checks[-1].measured == "0 of 777, 1 refused and asked again"
    assert served(release(), sent(errors=1)).verdict == "fail"
    assert served(release(), sent(sent=0)).verdict == "fail"


def test_slow_answers_beside_other_work_say_nothing_about_the_candidate() -> None:
    slow = "canary 5 %: slow rate"
    assert doubted_slowness(release(slow), others=0.5).verdict == "inconclusive"
    assert doubted_slowness(release(slow), others=0.05).verdict == "fail"
    assert doubted_slowness(release(slow, "canary 5 %: error rate"), others=0.5).verdict == "fail"
    assert doubted_slowness(served(release(slow), sent(errors=3)), others=0.5).verdict == "fail"
    assert doubted_slowness(release(), others=0.9).verdict == "pass"


def test_the_logs_of_the_run_before_are_kept(home: Home, tmp_path: Path) -> None:
    clean_start(home)
    home.logs.mkdir()
    (home.logs / "slot-a.log").write_text("why it ended")
    (home.root / "data").mkdir()
    clean_start(home)
    assert sorted(path.name for path in home.root.iterdir()) == [MARKER, KEPT_LOGS]
    assert (home.root / KEPT_LOGS / "slot-a.log").read_text() == "why it ended"
