"""The load gate: a stall cannot hide, no answers are no pass, a client that lags measures nothing."""

import json

import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import StepResult
from mlsd.design.design import Design
from mlsd.loadtest import load, load_checks, sender
from mlsd.loadtest.summary import LoadSummary
from mlsd.local.machine.speed import MachineSpeed
from mlsd.local.machine.usage import UsageMeter
from mlsd.plan.queueing import Service, quantile_ms
from mlsd.report import load_page
from mlsd.report.closed import outside
from support.load_summaries import failed, summary, timeline
from support.ranking_stand_in import Model, serving
from support.waiting import within

pytestmark = pytest.mark.slow


CALM_MS = 400


@pytest.fixture
def quick(design: Design, home: Home, monkeypatch: pytest.MonkeyPatch) -> Design:
    """The design with a short run, one request to send, and time for Locust to start."""
    monkeypatch.setattr(sender, "STARTUP_S", 120.0)
    home.data.mkdir(parents=True)
    (home.data / "traffic.jsonl").write_text(json.dumps({"user_id": 7, "candidates": [1, 2]}) + "\n")
    content = design.model_dump(mode="json")
    content["load_test"] |= {"rps": 100, "seconds": 3}
    return Design.model_validate(content)


def test_one_stall_of_a_second_fails_the_gate_though_most_answers_are_fast(quick: Design, home: Home) -> None:
    """5.34: latency counts from the intended start, so one second of silence reaches every request due in it."""
    with serving(stalls=True) as host:
        sent = sender.start(quick, home, host=host, rps=50, pattern=sender.Pattern(warmup_s=0.5)).wait()
    assert sent.errors == 0
    assert sent.total.p50_ms < 0.5 * sent.total.p99_ms
    assert sent.total.p99_ms > 800
    assert "p99 from the schedule" in failed(quick, sent)


def test_a_healthy_server_passes(patient: Design, home: Home) -> None:
    with serving(stalls=False) as host:
        sent = sender.start(patient, home, host=host, rps=100, pattern=sender.Pattern(warmup_s=0.5)).wait()
    assert failed(patient, sent) == set()
    assert sent.sent == 300
    assert sent.warmup == 50
    assert sent.by_version["3"].count == 300
    assert sum(second.answers["3"] for second in sent.timeline) == 300
    assert sent.hops["inference"].p99_ms == pytest.approx(1.5, rel=0.01)
    assert not list(home.run.glob("load-*"))


def test_a_run_ended_early_keeps_what_it_measured(quick: Design, home: Home) -> None:
    with serving(stalls=False) as host:
        running = sender.start(quick, home, host=host, seconds=600)
        assert within(90, lambda: Model.seen >= 100)
        sent = running.finish()
    assert sent.errors == 0
    assert 40 <= sent.sent < 6000


def test_nothing_listening_fails(quick: Design, home: Home) -> None:
    sent = sender.start(quick, home, host="http://127.0.0.1:9", seconds=0.3, rps=20).wait()
    assert sent.errors == sent.sent > 0
    assert "error rate" in failed(quick, sent)


def test_the_queueing_model_agrees_with_a_real_queue(quick: Design, home: Home) -> None:
    """5.15: two at a time, 15 ms each, 100 a second as independent users come: load 0.75, one in ten waits long.

    Only from below: a busy machine adds to a real queue, nothing takes away. `test_capacity` holds both sides.
    """
    with serving(slow_s=0.015, pool=2) as host:
        sent = sender.start(quick, home, host=host, seconds=4, pattern=sender.Pattern(poisson=True)).wait()
    assert sent.failed == 0
    assert 330 < sent.sent < 470
    modelled = quantile_ms(Service([17.0] * 100, busy_ms=15.3, cs2=0.0), 2, 100.0, 0.9)
    assert modelled > 40  # evenly spaced they would all take 17
    assert sent.total.at(90) > 0.6 * modelled


@pytest.fixture
def patient(quick: Design) -> Design:
    """The quick design with budgets and a client that a busy test machine keeps too."""
    content = quick.model_dump(mode="json")
    hops = {"retrieval": 50, "edge": 3800, "features": 10, "inference": 50, "post": 10}
    content["latency"] = {"p99_ms": 4050, "hops_ms": hops}
    content["load_test"] |= {"rps": 40, "warmup_s": 0.3, "max_client_lag_ms": 3000, "spike_factor": 4}
    return Design.model_validate(content)


def by_name(result: StepResult) -> dict[str, bool]:
    return {check.name: check.passed for check in result.checks}


def p99_ms(result: StepResult) -> float:
    return LoadSummary.model_validate(result.details).total.p99_ms


def test_in_a_spike_refusals_are_no_errors_and_those_admitted_are_judged(
    patient: Design, home: Home, free_port: int
) -> None:
    """5.18: four times the rate in the middle third, of which the server takes two; outside none is refused."""
    with serving(port=free_port, most=80):
        result = load.run(patient, home, seconds=6, shape="spike")
    assert result.passed, result.checks
    sent = LoadSummary.model_validate(result.details)
    assert sent.sent == 4 * 40 + 2 * 160
    assert sent.errors == 0
    assert sent.shed == sent.codes["429"] > 50
    assert sent.refused.count + sent.total.count == sent.sent
    assert not sent.between(0, 2).shed
    assert "refused" in result.summary
    page = load_page.render(patient, result)
    assert outside(page) == []
    assert "The run, second by second" in page
    assert f"{sent.total.p99_ms:.2f}" in page
    named = load_page.write(patient, home, result)
    assert str(home.root / "load_spike.html") in named.summary


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({}, set()),
        ({0: {"shed": 1}}, {"refused outside the spike"}),
        ({5: {"shed": 1}}, {"refused outside the spike"}),
        ({4: {"shed": 50}}, set()),  # what had piled up
        ({t: {"shed": 190, "answers": {"1": 10}} for t in (2, 3)}, {"answered in the spike"}),
        ({3: {"latencies": {"count": 1, "encoded": "slow"}}}, {"p99 of those admitted in the spike"}),
        ({5: {"latencies": {"count": 1, "encoded": "slow"}}}, {"p99 after the spike"}),
    ],
)
def test_what_fails_a_spike(patient: Design, changes: dict[int, dict[str, object]], wrong: set[str]) -> None:
    """5.18, gate by gate: 40 requests a second, 200 of them in seconds 2 and 3."""
    fast, slow = (timeline([ms])[0]["latencies"] for ms in (5.0, 5000.0))
    rows = [{"t": t, "answers": {"1": 200 if t in {2, 3} else 40}, "latencies": fast} for t in range(6)]
    for t, change in changes.items():
        rows[t] |= {name: slow if name == "latencies" else value for name, value in change.items()}
    sent = summary(timeline=rows)
    found = load_checks.spike_checks(patient, sent, sender.Spike(5, 2, 4), 40)
    assert {check.name for check in found if not check.passed} == wrong


def test_a_spike_needs_time_around_it(patient: Design, home: Home) -> None:
    with pytest.raises(UserError, match="--seconds: found 5, expected 6 or more"):
        load.run(patient, home, seconds=5, shape="spike")


def test_a_slower_server_fails_against_the_baseline_and_the_same_one_does_not(
    patient: Design, home: Home, free_port: int
) -> None:
    """The first passing run is the baseline. A p99 of 40 requests is their slowest: one stall may spoil a run."""
    name = "p99 against the baseline"
    with serving(port=free_port):
        first = load.run(patient, home, seconds=1)
        assert name not in by_name(first)
        assert "is the baseline from now on" in first.summary
        assert p99_ms(first) < CALM_MS or within(
            120, lambda: p99_ms(load.run(patient, home, seconds=1, save_baseline=True)) < CALM_MS
        )
        assert any(by_name(load.run(patient, home, seconds=1))[name] for _ in range(5))
    with serving(port=free_port, slow_s=2.0):
        slow = load.run(patient, home, seconds=1)
    assert {check.name for check in slow.checks if not check.passed} == {name}
    assert "machine x" in next(check for check in slow.checks if check.name == name).designed


def test_a_new_baseline_is_saved_on_purpose_only(patient: Design, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(p99_ms: float) -> None:
        total = {"count": 1000, "p50_ms": 2.0, "p99_ms": p99_ms}
        run = load.Run(summary(total=total), 0.0, MachineSpeed(work_ms=1.0, held_up_ms=0.1), UsageMeter(home))
        monkeypatch.setattr(load, "_once", lambda *_: run)

    measured(100.0)
    assert load.run(patient, home).passed
    measured(200.0)
    assert not load.run(patient, home).passed
    assert load.run(patient, home, save_baseline=True).passed
    assert load.run(patient, home).passed
    assert load.run(patient, home, rps=41).passed  # another rate has a baseline of its own


def test_without_traffic_the_run_says_how_to_get_some(design: Design, home: Home) -> None:
    with pytest.raises(UserError, match=r"traffic\.jsonl: no requests to send; run `mlsd"):
        sender.start(design, home)
