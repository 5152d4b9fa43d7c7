"""Rollback: one command, the seconds it takes, and what happens when the way back is blocked."""

import threading
from typing import Any

import pytest

from mlsd.core.errors import UserError
from mlsd.core.result import StepResult
from mlsd.delivery import rollback
from mlsd.delivery.release import run_release
from mlsd.delivery.releases.records import Model
from mlsd.local import processes
from support.miniature import Miniature
from support.rollouts import staying
from support.waiting import within

pytestmark = pytest.mark.slow


def back(small: Miniature, reason: str = "test") -> StepResult:
    return rollback.run(small.design, small.home, small.target, small.models, reason=reason)


def promote(small: Miniature, version: int) -> None:
    """Make a version champion in the free slot, as a rollout does at its end."""
    ledger, champion = small.ledger, small.ledger.champion()
    assert champion
    slot: Any = "b" if champion.slot == "a" else "a"
    new = ledger.add(Model(version, str(version) * 8, "ranking_v1", "test"), "design", "test", "")
    ledger.move(new.id, "candidate", "shadow", "test", "")
    ledger.move(new.id, "shadow", "canary", "test", "")
    ledger.assign_slot(new.id, slot)
    small.target.start(slot, new, allow_faults=False)
    ledger.promote(new.id, champion.id, "test", "")
    small.up()


def live(small: Miniature) -> int:
    return int(small.rank("1").json()["model_version"])


def test_warm_then_cold_then_nothing_left(miniature: Miniature) -> None:
    """5.31: under load no request fails; the previous release of the previous one is started when asked for."""
    miniature.up()
    promote(miniature, 2)
    promote(miniature, 3)
    assert live(miniature) == 3
    with miniature.load() as load:
        warm = back(miniature, "clicks fell")
        assert live(miniature) == 2
        cold = back(miniature)
        assert live(miniature) == 1
    assert set(load.codes) == {200}
    assert (warm.passed, warm.details["warm"]) == (True, True)
    assert (cold.passed, cold.details["warm"]) == (True, False)
    assert [r.stage for r in miniature.ledger.releases()] == ["champion", "rolled_back", "rolled_back"]
    assert any(t.reason == "clicks fell" for t in miniature.ledger.history())
    with pytest.raises(UserError, match="nothing to go back to"):
        back(miniature)
    assert live(miniature) == 1


@pytest.mark.fault("Rollback when previous is missing/corrupt", "next older one; else the champion stays")
def test_a_damaged_previous_release_is_skipped(miniature: Miniature) -> None:
    """A planted fault: the previous release is missing or corrupt. The next older one; if none starts, the champion."""
    miniature.up()
    promote(miniature, 2)
    promote(miniature, 3)
    processes.stop(miniature.home, "slot-b")  # where release 2 was kept warm
    miniature.limits[2] = {"crash_after": 0}
    result = back(miniature)
    assert result.details["to"] == 1
    assert "release 2: slot-b: ended before it was ready" in str(result.details["skipped"])
    assert live(miniature) == 1
    with pytest.raises(UserError, match=r"nothing to go back to; release 2: .*; the champion keeps serving"):
        back(miniature)
    assert live(miniature) == 1


def test_rollback_ends_a_rollout_under_way(miniature: Miniature) -> None:
    """The rollout notices within its half second, gives up, and the rollback goes on."""
    miniature.up()
    promote(miniature, 2)
    errors: list[str] = []

    def releasing() -> None:
        try:
            design = staying(miniature.design)
            run_release(design, miniature.home, miniature.target, miniature.models, version=3)
        except UserError as error:
            errors.append(str(error))

    thread = threading.Thread(target=releasing)
    with miniature.load() as load:
        thread.start()
        assert within(60, lambda: any(r.stage == "canary" for r in miniature.ledger.releases()))
        result = back(miniature, "emergency")
        thread.join(60)
        assert live(miniature) == 1
    assert result.passed, result.checks
    assert errors == ["release 3: found rejected, expected canary; given up"]
    assert set(load.codes) == {200}
    assert [r.stage for r in miniature.ledger.releases()] == ["champion", "rolled_back", "rejected"]
