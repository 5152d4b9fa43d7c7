"""Drills under load through the real Envoy: releases swapped between slots, a worker killed.

The model servers are small ones; test_fault_overload.py does the same to real ones, `make bench` at full length.
"""

import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from mlsd.core.errors import UserError
from mlsd.core.result import StepResult
from mlsd.delivery.edge.routing import Slot
from mlsd.delivery.releases.records import Release
from mlsd.loadtest import drills
from mlsd.loadtest.drill import DrillOutcome
from mlsd.loadtest.summary import Latencies, LoadSummary
from mlsd.local import processes, stack
from mlsd.local.priority import LOW, lowered
from mlsd.local.target import LocalTarget
from support.miniature import Miniature
from support.paths import TESTS
from support.trained import trained
from support.waiting import within

pytestmark = pytest.mark.slow

SUPERVISED = TESTS / "support" / "supervised.py"
RPS = 40.0


@pytest.fixture
def loaded(miniature: Miniature) -> Miniature:
    """A running stack with traffic to send."""
    miniature.home.data.mkdir(parents=True)
    lines = [json.dumps({"user_id": user, "candidates": list(range(1, 41))}) for user in range(50)]
    (miniature.home.data / "traffic.jsonl").write_text("\n".join(lines) + "\n")
    return miniature


@pytest.fixture
def supervised(loaded: Miniature) -> LocalTarget:
    """The stack with two workers in the champion's slot."""

    def launch(slot: Slot, port: int, release: Release, allow_faults: bool) -> tuple[list[str], dict[str, str]]:
        _, env = loaded._launch(slot, port, release, allow_faults)
        return [sys.executable, str(SUPERVISED), str(port)], env

    target = LocalTarget(loaded.design, loaded.home, loaded.ports, launch)
    trained(loaded.home)
    stack.start(loaded.design, loaded.home, target, loaded.models, [])
    return target


def named(result: StepResult) -> dict[str, bool]:
    return {check.name: check.passed for check in result.checks}


def test_swaps_under_load_fail_no_request(loaded: Miniature) -> None:
    """Two swaps: no request fails, the champion is live at the end where the ledger says, nothing else runs."""
    loaded.up()
    result = drills.swap(loaded.design, loaded.home, loaded.target, requests=100, rps=RPS, swaps=2)
    assert named(result)["failed requests"], result.summary
    assert "2 swaps" in result.summary
    sent = LoadSummary.model_validate(result.details["load"])
    assert sent.sent >= 80
    champion = loaded.ledger.champion()
    assert champion
    assert champion.slot == "a"
    assert set(processes.running(loaded.home)) == {"envoy", "slot-a"}
    assert loaded.rank().json()["release_id"] == champion.id


def test_a_worker_killed_under_load(
    supervised: LocalTarget, loaded: Miniature, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL to one of two: at most one request is lost, another worker takes its place; the gate is 0.999."""
    monkeypatch.setattr(drills, "AFTER_S", 0.8)
    result = drills.hit(loaded.design, loaded.home, supervised, signal.SIGKILL, rps=RPS)
    sent = LoadSummary.model_validate(result.details["load"])
    assert sent.failed <= 1, result.summary  # of so few, one is more than the gate allows
    assert named(result) == {"answered requests": sent.failed <= 0.001 * sent.sent}
    assert "another in its place" in result.summary


def test_without_a_champion_there_is_nothing_to_drill(miniature: Miniature) -> None:
    with pytest.raises(UserError, match="no champion is serving; run `mlsd up`"):
        drills.swap(miniature.design, miniature.home, miniature.target)


def split(steady_ms: float, meanwhile_ms: float, *, errors: int = 0) -> dict[str, bool]:
    steady, meanwhile = (Latencies(count=100, p50_ms=1, p99_ms=ms) for ms in (steady_ms, meanwhile_ms))
    content = {"started_at": 0.0, "sent": 100, "errors": errors, "warmup": 0, "warmup_errors": 0, "codes": {}}
    content |= {"total": {}, "lag": {}, "hops": {}, "by_version": {}, "timeline": []}
    seen = DrillOutcome(LoadSummary.model_validate(content), steady, meanwhile)
    return {check.name: check.passed for check in drills.swap_checks(seen)}


def test_the_gates_of_a_swap() -> None:
    assert split(10.0, 19.0) == {"failed requests": True, "p99 meanwhile": True}
    assert split(10.0, 21.0) == {"failed requests": True, "p99 meanwhile": False}
    assert split(10.0, 12.0, errors=1) == {"failed requests": False, "p99 meanwhile": True}
    assert split(10.0, 0.0)["p99 meanwhile"] is False  # nothing was sent meanwhile


def weight(pid: int) -> int | None:
    """Of the session, None on a kernel without such weights."""
    place = Path(f"/proc/{pid}/autogroup")
    return int(place.read_text().split()[-1]) if place.exists() else None


SUPERVISOR = """
import subprocess, sys, time
time.sleep(0.5)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
time.sleep(60)
"""


def test_workers_that_a_starting_server_starts_yield_as_well() -> None:
    """BentoML's supervisor puts each worker into a session of its own: those took the live release's time."""
    process = psutil.Popen([sys.executable, "-c", SUPERVISOR], start_new_session=True)
    before = weight(process.pid)
    try:
        with lowered(process.pid):
            assert within(60, lambda: any(os.getsid(child.pid) == child.pid for child in process.children()))
            (worker,) = process.children()
            expected = None if before is None else LOW  # a kernel without weights of sessions
            assert within(60, lambda: (weight(process.pid), weight(worker.pid)) == (expected, expected))
        assert (weight(process.pid), weight(worker.pid)) == (before, before)
    finally:
        for each in [*process.children(), process]:
            each.kill()
        process.wait()


def test_a_starting_session_yields_and_is_an_equal_afterwards() -> None:
    process = psutil.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        assert within(30, lambda: os.getsid(process.pid) == process.pid)
        before = weight(process.pid)
        with lowered(process.pid):
            assert weight(process.pid) == (None if before is None else LOW)
        assert weight(process.pid) == before
    finally:
        process.kill()
        process.wait()
