"""`mlsd monitor` on a real feature log: silent on normal traffic, firing once on shifted traffic."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import httpx
import numpy as np
import pytest

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json
from mlsd.core.result import StepResult
from mlsd.design.design import Design
from mlsd.monitoring import monitor, reference
from mlsd.monitoring.triggers.wait import wait_for_retrain
from mlsd.prediction_log.framing import frame
from mlsd.prediction_log.record import encode
from mlsd.prediction_log.writer import read_records
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from support.live_traffic import ITEMS, START, LiveTraffic
from support.paths import PYTHONPATH
from support.waiting import within

pytestmark = pytest.mark.slow


YOUNG = (ITEMS // 2, ITEMS)


@pytest.fixture
def traffic(home: Home, problem: Problem, design: Design) -> LiveTraffic:
    ready = LiveTraffic(home, problem, design)
    ready.send(reference.REQUESTS + 300)
    return ready


@pytest.fixture
def hooks(home: Home, free_port: int) -> Iterator[None]:
    """The hook server; a retraining leaves the result that the real one leaves."""
    program = f"""
from pathlib import Path
from mlsd.core.home import Home
from support.trained import trained
trained(Home(Path({str(home.root)!r})))
"""
    command = json.dumps([sys.executable, "-c", program])
    argv = [sys.executable, "-m", "mlsd.monitoring.triggers.hooks", f"--port={free_port}", f"--command={command}"]
    path = {"PYTHONPATH": PYTHONPATH}
    process = subprocess.Popen(argv, env=os.environ | path)
    try:
        assert within(90, lambda: alive(f"http://127.0.0.1:{free_port}/livez"))
        yield
    finally:
        process.terminate()
        process.wait(90)


def alive(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(url).status_code == 200
    return False


def check(result: StepResult, name: str) -> tuple[bool, str]:
    found = next(each for each in result.checks if each.name == name)
    return found.passed, found.measured


def test_normal_traffic_is_silent(traffic: LiveTraffic, home: Home, design: Design, problem: Problem) -> None:
    """The manifest's training rows would alert for ever here; the release's own first requests do not."""
    result = monitor.run(Context.of(design, home, problem))
    assert result.passed, result.checks
    assert result.details["triggers"] == []
    assert result.details["window"]["requests"] == 300
    assert {"all", "weekend", "new_user"} == set(result.details["slices"])


def test_a_log_that_lost_records_fails_the_verdict(
    traffic: LiveTraffic, home: Home, design: Design, problem: Problem
) -> None:
    """Planted faults, disk full for feature log: monitoring says how many are missing."""
    (path,) = home.feature_log.glob("*.log")
    last = list(read_records(home.feature_log))[-1]
    with path.open("ab") as file:
        file.write(frame(encode(last, lost=7)))
    result = monitor.run(Context.of(design, home, problem))
    assert not result.passed
    passed, measured = check(result, "feature log")
    assert (passed, measured.partition(" beside ")[0]) == (False, "7 lost")


@pytest.mark.usefixtures("hooks")
def test_a_shift_fires_exactly_once_and_the_run_is_found(
    traffic: LiveTraffic, home: Home, design: Design, problem: Problem
) -> None:
    """6.12, 6.16: traffic shifts, PSI passes 0.2, one run; looking again during the cooldown asks for nothing."""
    assert monitor.run(Context.of(design, home, problem)).passed
    traffic.send(300, items=YOUNG)
    shifted = monitor.run(Context.of(design, home, problem), expect_drift=True)
    assert shifted.passed, shifted.checks
    assert len(shifted.details["triggers"]) == 1
    rows = {row["name"]: row for row in shifted.details["features"]}
    assert rows["item_age_h"]["ks_p"] < 1e-6
    assert rows["user_ctr"]["ks_p"] > 1e-3
    waited = wait_for_retrain(design, home, 90)
    assert waited.passed, waited.checks
    assert waited.details["challenger"] == 2
    traffic.send(300, items=YOUNG)
    again = monitor.run(Context.of(design, home, problem))
    assert not again.passed, "still drifting: the exit code says so"
    assert again.details["triggers"] == [], "but nothing is asked for twice"


@pytest.mark.usefixtures("hooks")
def test_an_unexpected_shift_fails_the_command(
    traffic: LiveTraffic, home: Home, design: Design, problem: Problem
) -> None:
    traffic.send(2000, items=YOUNG)
    result = monitor.run(Context.of(design, home, problem))
    assert not result.passed
    assert check(result, "PSI item_age_h")[0] is False
    assert check(result, "PSI user_ctr")[0] is True


def test_an_expected_shift_that_is_not_there_fails(
    traffic: LiveTraffic, home: Home, design: Design, problem: Problem
) -> None:
    result = monitor.run(Context.of(design, home, problem), expect_drift=True)
    assert check(result, "shift of a critical feature") == (False, "none")
    assert check(result, "trigger") == (False, "none")


def test_a_small_window_waits_for_more(traffic: LiveTraffic, home: Home, design: Design, problem: Problem) -> None:
    monitor.run(Context.of(design, home, problem))
    traffic.send(150, items=YOUNG)
    few = monitor.run(Context.of(design, home, problem))
    assert few.passed
    assert "insufficient rows" in check(few, "PSI item_age_h")[1]
    traffic.send(150, items=YOUNG)
    with pytest.raises(UserError, match="hook server"):
        monitor.run(Context.of(design, home, problem))  # now 300 rows have a verdict, and there is nobody to tell
    with pytest.raises(UserError, match="hook server"):
        monitor.run(Context.of(design, home, problem))  # which does not lose the alert


def test_without_a_reference_there_is_no_verdict(home: Home, design: Design, problem: Problem) -> None:
    LiveTraffic(home, problem, design).send(100)
    result = monitor.run(Context.of(design, home, problem))
    assert "being collected" in result.summary


def test_nothing_live_is_said(home: Home, design: Design, problem: Problem) -> None:
    with pytest.raises(UserError, match="no release is live"):
        monitor.run(Context.of(design, home, problem))


def _good(scores: np.ndarray) -> np.ndarray:
    return 0.05 + 1.2 * (scores - scores.min())


def _random(scores: np.ndarray) -> np.ndarray:
    return np.full(len(scores), 0.2)


def _ignored(scores: np.ndarray) -> np.ndarray:
    return np.full(len(scores), 0.005)


def _quality(traffic: LiveTraffic, later: object) -> None:
    """Outcomes of the reference period as they should be, of the rest as given; two days later, so they are mature."""
    traffic.send(700)
    cut = reference.REQUESTS
    chances = {each.request_id: _good if k < cut else later for k, each in enumerate(traffic.sent)}
    traffic.tables(chances)
    clock.set_world_time(START + timedelta(days=2))


def test_quality_that_holds_is_silent(traffic: LiveTraffic, home: Home, design: Design, problem: Problem) -> None:
    """6.07, 6.22"""
    _quality(traffic, _good)
    result = monitor.run(Context.of(design, home, problem))
    assert result.passed, result.checks
    assert "[" in check(result, "AUC all")[1]
    assert "[" in check(result, "ctr")[1]


@pytest.mark.usefixtures("hooks")
def test_a_loss_of_quality_goes_back_and_retrains(
    traffic: LiveTraffic, home: Home, design: Design, problem: Problem
) -> None:
    """6.13, 6.24: no error in any log, but the order has become worthless."""
    _quality(traffic, _random)
    result = monitor.run(Context.of(design, home, problem))
    assert check(result, "AUC all")[0] is False
    assert [each["action"] for each in result.details["triggers"]] == ["rollback", "retrain"]


def _judged_by(design: Design, metric: str, target: float) -> Design:
    success = design.success.model_copy(update={"metric": metric, "target": target})
    return design.model_copy(update={"success": success})


@pytest.mark.usefixtures("hooks")
@pytest.mark.parametrize(
    ("metric", "target", "unit"),
    [("ctr", 0.03, "clicks"), ("watch_time", 2.0, "seconds watched"), ("engagement_rate", 0.02, "engagements")],
)
def test_the_business_metric_below_its_target_retrains(
    traffic: LiveTraffic, home: Home, design: Design, problem: Problem, metric: str, target: float, unit: str
) -> None:
    """6.14, 6.22: in its own unit; 0.005 of the shown items are clicked, and each click lasts a minute."""
    _quality(traffic, _ignored)
    result = monitor.run(Context.of(_judged_by(design, metric, target), home, problem))
    (found,) = [each for each in result.checks if each.name == metric]
    assert not found.passed
    assert found.designed == f">= {target:g} {unit} per shown item"
    assert float(found.measured.split()[0]) == pytest.approx(0.005 * (60 if metric == "watch_time" else 1), rel=0.8)
    assert [each["action"] for each in result.details["triggers"]][-1] == "retrain"


@pytest.mark.parametrize("metric", ["ctr", "watch_time", "engagement_rate"])
def test_a_business_metric_above_its_target_is_silent(
    traffic: LiveTraffic, home: Home, design: Design, problem: Problem, metric: str
) -> None:
    _quality(traffic, _good)
    measured = check(monitor.run(Context.of(_judged_by(design, metric, 0.03), home, problem)), metric)
    assert measured[0] is True
    assert "[" in measured[1]


def test_a_metric_that_nobody_computes_is_refused(home: Home, design: Design, problem: Problem) -> None:
    with pytest.raises(UserError, match=r"success\.metric: found 'revenue', expected a metric that the pack"):
        monitor.run(Context.of(_judged_by(design, "revenue", 0.03), home, problem))


@pytest.mark.usefixtures("hooks")
def test_an_old_model_retrains(traffic: LiveTraffic, home: Home, design: Design, problem: Problem) -> None:
    """6.28"""
    clock.set_world_time(START + timedelta(days=design.monitoring.max_model_age_days + 1))
    result = monitor.run(Context.of(design, home, problem))
    assert check(result, "model age")[0] is False
    assert [each["action"] for each in result.details["triggers"]] == ["retrain"]


def test_waiting_for_nothing_is_said(home: Home, design: Design) -> None:
    with pytest.raises(UserError, match="no trigger has fired"):
        wait_for_retrain(design, home, 1)
    write_json(home.root / "monitoring.json", {"judged": "yesterday"})
    with pytest.raises(UserError, match="damaged"):
        wait_for_retrain(design, home, 1)
