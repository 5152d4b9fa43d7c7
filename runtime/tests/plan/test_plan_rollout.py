"""The plan says whether each step of a rollout sees enough answers in its time, and what to do where it does not."""

from typing import Any

import numpy as np
import pytest

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.plan import plan
from mlsd.plan.rollout import steps
from mlsd.plan.rollout_fill import Sample, samples, shortfall, table


def changed(design: Design, *, rps: int, peak_rps: int = 10_000, **delivery: Any) -> Design:
    content = design.model_dump(mode="json")
    content["load_test"]["rps"] = rps
    content["scale"]["peak_rps"] = peak_rps
    content["delivery"] |= {
        "shadow": {"percent": 100, "min_requests": 200},
        "canary": {"steps": [5, 25, 100], "min_requests": 30},
        "step_timeout_s": 60,
    }
    content["delivery"] |= delivery
    return Design.model_validate(content)


def checked(design: Design, home: Home) -> tuple[bool, str]:
    (found,) = [check for check in plan.run(design, home).checks if check.name == "rollout steps fill"]
    return found.passed, found.measured


def test_mean_time() -> None:
    assert Sample("canary", 5, 30, 60.0).seconds(80) == pytest.approx(7.5)


@pytest.mark.parametrize("answers", [1, 12, 30, 200])
def test_sure_is_99_of_100(answers: int) -> None:
    """Simulated: the time of the n-th arrival of independent users."""
    sample = Sample("canary", 10, answers, 60.0)
    gaps = np.random.default_rng(answers).exponential(1 / (50 * 0.1), (20_000, answers))
    in_time = float(np.mean(gaps.sum(axis=1) <= sample.surely_s(50)))
    assert in_time == pytest.approx(0.99, abs=0.003)  # four standard errors


def test_answers_in_time() -> None:
    """The largest sample that is filled surely; one more is not."""
    found = Sample("canary", 5, 30, 60.0).answers_in_time(8)
    assert Sample("canary", 5, found, 60.0).fills(8)
    assert not Sample("canary", 5, found + 1, 60.0).fills(8)
    assert Sample("canary", 5, 30, 60.0).answers_in_time(80) == 30
    assert Sample("canary", 1, 30, 1.0).answers_in_time(8) == 0


def test_default_steps_fill_at_the_load_tests_rate(design: Design, home: Home) -> None:
    passed, measured = checked(changed(design, rps=80), home)
    assert passed
    assert measured == "canary 5 %: 30 answers surely in 11 s"
    assert all("fits" in line for line in table(changed(design, rps=80))[1:])


def test_too_little_traffic_is_named_with_what_would_help(design: Design, home: Home) -> None:
    scarce = changed(design, rps=8)
    passed, measured = checked(scarce, home)
    assert not passed
    assert measured.startswith("canary 5 %: 30 answers surely take 110 s; raise delivery.step_timeout_s to 111")
    assert "load_test.rps to 15" in measured
    assert measured.endswith("or lower delivery.canary.min_requests to 13")
    assert "the step to" not in measured  # the first one may not be above 5 %
    assert [line.split()[0] for line in table(scarce)[1:]] == ["fits", "no", "fits", "fits"]


def test_a_small_first_step_is_told_to_grow(design: Design) -> None:
    found = shortfall(changed(design, rps=40, canary={"steps": [1, 10, 100], "min_requests": 30}))
    assert found is not None
    assert "canary 1 %" in found
    assert "or the step to 2 %" in found


@pytest.mark.parametrize(
    "mended",
    [
        {"rps": 8, "step_timeout_s": 111},
        {"rps": 15},
        {"rps": 8, "canary": {"steps": [5, 25, 100], "min_requests": 13}},
    ],
)
def test_each_remedy_is_enough(design: Design, home: Home, mended: dict[str, Any]) -> None:
    assert checked(changed(design, **mended), home)[0]


def test_a_service_never_sees_more_than_its_peak(design: Design, home: Home) -> None:
    passed, measured = checked(changed(design, rps=80, peak_rps=8), home)
    assert not passed
    assert "scale.peak_rps to 15" in measured


def test_the_rollout_takes_the_steps_that_were_planned(design: Design) -> None:
    planned = [(each.stage, each.percent, each.answers) for each in samples(design.delivery)]
    assert [(step.stage, step.percent, step.min_requests) for step in steps(design.delivery)] == planned


def test_a_step_that_was_not_filled_says_what_would_fill_it(design: Design) -> None:
    shadow, first, *_ = steps(changed(design, rps=80).delivery)
    assert first.too_few(5) == (
        "5 of 30 answers within 60 s: send more traffic, or raise delivery.step_timeout_s, "
        "or this step in delivery.canary.steps"
    )
    assert "percent" not in shadow.too_few(5)  # all of the traffic is mirrored already
