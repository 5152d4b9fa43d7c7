"""Rollouts through the real Envoy: a good one reaches everyone, a bad one goes back by itself."""

import time
from typing import Any

import pytest

from mlsd.core.errors import UserError
from mlsd.core.result import StepResult
from mlsd.delivery.release import run_release
from mlsd.delivery.releases.lock import exclusive
from mlsd.local import processes
from support.miniature import Load, Miniature
from support.rollouts import tolerant
from support.waiting import within

pytestmark = pytest.mark.slow


def release(small: Miniature, **options: Any) -> StepResult:
    return run_release(tolerant(small.design), small.home, small.target, small.models, **options)


def few(load: Load) -> float:
    """Twice the share of the first canary, and what is in flight."""
    return 0.1 * load.codes.total() + 5


def refused(small: Miniature, result: StepResult) -> None:
    """The champion keeps serving as before, the candidate is gone, and the ledger says why."""
    assert result.details["outcome"] == "rejected"
    last = small.ledger.releases()[-1]
    assert (last.stage, last.slot) == ("rejected", None)
    assert small.ledger.history()[-1].reason == result.details["reason"]
    assert set(processes.running(small.home)) == {"envoy", "slot-a"}
    timeline: Any = result.details["timeline"]
    assert (timeline[-1]["champion_pct"], timeline[-1]["mirror_pct"]) == (100, 0)
    assert small.rank("1").json()["model_version"] == 1


@pytest.mark.fault("Canary wrong but fast", "caught in shadow, before any user sees it")
def test_inverted_scores_are_caught_before_any_user_sees_them(standing: Miniature) -> None:
    with standing.load() as load:
        result = release(standing, fault="invert")
    assert result.passed, result.checks
    assert result.details["stage"] == "shadow"
    assert result.details["users_percent"] == 0
    assert set(load.versions) == {1}
    assert set(load.codes) == {200}
    refused(standing, result)


@pytest.mark.fault("Canary slow", "analysis fails, weight 0, users < 5 % affected")
def test_slow_answers_are_caught_while_few_see_them(standing: Miniature) -> None:
    """No request fails, all traffic is back within the design's seconds."""
    with standing.load() as load:
        result = release(standing, fault="slow")
    assert result.passed, result.checks
    assert (result.details["stage"], result.details["users_percent"]) == ("canary", 5)
    seconds: Any = result.details["seconds_to_safe"]
    assert 0 < seconds <= tolerant(standing.design).delivery.gates.max_seconds_to_safe
    assert set(load.codes) == {200}
    assert 1 <= load.versions[2] <= few(load)
    refused(standing, result)


@pytest.mark.fault("Canary fails or crashes later on", "traffic back on the champion, few errors")
@pytest.mark.parametrize(
    ("limit", "gate"),
    [({"error_after": 80}, "error rate"), ({"crash_after": 80}, "process"), ({"error_after": 1}, "error rate")],
)
def test_errors_and_crashes_send_traffic_back(standing: Miniature, limit: dict[str, int], gate: str) -> None:
    """A failing candidate is found in shadow if it fails there, else in canary, where few users see it."""
    standing.limits[3] = limit
    with standing.load() as load:
        result = release(standing, version=3)
    assert not result.passed
    assert [c.name.endswith(gate) for c in result.checks if not c.passed and c.name != "champion"].count(True) == 1
    assert sum(count for code, count in load.codes.items() if code != 200) <= few(load)
    if limit == {"error_after": 1}:
        assert result.details["stage"] == "shadow"
        assert set(load.codes) == {200}
    refused(standing, result)


@pytest.mark.fault("Canary crash loop", "never weighted; stable untouched")
def test_a_candidate_that_does_not_start_gets_no_traffic(standing: Miniature) -> None:
    standing.limits[3] = {"crash_after": 0}
    result = release(standing, version=3)
    assert not result.passed
    assert "ended before it was ready" in str(result.details["reason"])
    refused(standing, result)


@pytest.mark.fault("No canary traffic", "neither success nor silent: inconclusive, abort at the deadline")
def test_no_traffic_is_no_pass(standing: Miniature) -> None:
    """Inconclusive, then back; the version stays a challenger."""
    delivery = standing.design.delivery.model_copy(update={"step_timeout_s": 1.0})
    design = standing.design.model_copy(update={"delivery": delivery})
    result = run_release(design, standing.home, standing.target, standing.models)
    assert not result.passed
    assert str(result.details["reason"]).startswith("shadow 100 %: inconclusive, 0 of 40 answers within 1 s: send more")
    assert standing.models.refused[-1] is None
    refused(standing, result)


def test_nothing_to_release(standing: Miniature) -> None:
    before = len(standing.ledger.releases())
    with pytest.raises(UserError, match="model version 1 is live already"):
        release(standing, version=1)
    with pytest.raises(UserError, match="version 99 is not registered"):
        release(standing, version=99)
    standing.models.waiting = None
    with pytest.raises(UserError, match="no challenger"):
        release(standing)
    standing.models.waiting = 2
    with exclusive(standing.home), pytest.raises(UserError, match="another release"):
        release(standing)
    assert len(standing.ledger.releases()) == before


def test_no_stack(miniature: Miniature) -> None:
    with pytest.raises(UserError, match="run `mlsd up`"):
        release(miniature)


def test_a_good_challenger_becomes_champion_without_a_failed_request(standing: Miniature) -> None:
    """5.21, 5.22: shadow, 5 %, 25 %, everyone; the old release stays warm. Last: it changes the champion."""
    with standing.load() as load:
        result = release(standing)
        moment = time.monotonic()
        assert within(30, lambda: load.since(moment).total() >= 30)
    assert result.passed, result.checks
    assert set(load.codes) == {200}
    assert set(load.since(moment)) == {2}
    timeline: Any = result.details["timeline"]
    assert [entry["canary_pct"] for entry in timeline] == [0, 0, 5, 25, 100, 0]
    assert [entry["mirror_pct"] for entry in timeline] == [0, 100, 0, 0, 0, 0]
    assert set(processes.running(standing.home)) == {"envoy", "slot-a", "slot-b"}
    champion = standing.ledger.champion()
    assert champion and (champion.model_version, champion.slot) == (2, "b")
    own = [t.to_stage for t in standing.ledger.history() if t.release_id == champion.id]
    assert own == ["candidate", "shadow", "canary", "champion"]
    assert [r.model_version for r in standing.ledger.previous(2)] == [1]
