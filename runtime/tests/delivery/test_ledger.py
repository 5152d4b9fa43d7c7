"""The ledger: nothing is skipped, nothing is lost, there is never more than one champion and never none."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.delivery.releases.ledger import ConflictError, Ledger
from mlsd.delivery.releases.records import NEXT, Model, Release
from support.paths import PYTHONPATH

MODEL = Model(7, "d" * 64, "ranking_v1", "abc")


@pytest.fixture
def ledger(home: Home) -> Ledger:
    return Ledger(home.releases_db)


def canary(ledger: Ledger) -> Release:
    release = ledger.add(MODEL, "design", "test", "")
    ledger.move(release.id, "candidate", "shadow", "test", "")
    ledger.move(release.id, "shadow", "canary", "test", "")
    return ledger.get(release.id)


def stages(ledger: Ledger) -> list[str]:
    return [release.stage for release in ledger.releases()]


def test_a_whole_life_is_recorded(ledger: Ledger) -> None:
    first = ledger.bootstrap(MODEL, "design", "up")
    second = canary(ledger)
    ledger.promote(second.id, first.id, "release", "gates passed")
    assert stages(ledger) == ["previous", "champion"]
    ledger.roll_back(second.id, first.id, "rollback", "clicks fell")
    assert stages(ledger) == ["champion", "rolled_back"]
    changes = [(t.release_id, t.from_stage, t.to_stage) for t in ledger.history()]
    assert changes == [
        (1, None, "champion"), (2, None, "candidate"), (2, "candidate", "shadow"), (2, "shadow", "canary"),
        (1, "champion", "previous"), (2, "canary", "champion"),
        (2, "champion", "rolled_back"), (1, "previous", "champion"),
    ]  # fmt: skip
    assert ledger.history()[-1].reason == "clicks fell"
    assert all(t.at.tzinfo for t in ledger.history())
    champion = ledger.champion()
    assert champion and (champion.id, champion.model_version, champion.model_digest) == (1, 7, "d" * 64)


def test_skipping_is_refused(ledger: Ledger) -> None:
    """5.28: shadow, then canary, then champion; every change that is not in the table is refused."""
    release = ledger.add(MODEL, "design", "test", "")
    for before in NEXT:
        for to in NEXT:
            if (before, to) not in {("candidate", "shadow"), ("candidate", "rejected")}:
                with pytest.raises(ConflictError):
                    ledger.move(release.id, before, to, "test", "")  # type: ignore[arg-type]
    first = ledger.bootstrap(MODEL, "design", "up")
    with pytest.raises(ConflictError, match="found candidate, expected canary"):
        ledger.promote(release.id, first.id, "test", "")
    assert stages(ledger) == ["candidate", "champion"]
    assert len(ledger.history()) == 2


def test_a_second_first_release_is_refused(ledger: Ledger) -> None:
    ledger.bootstrap(MODEL, "design", "up")
    with pytest.raises(ConflictError, match="there is a champion already"):
        ledger.bootstrap(MODEL, "design", "up")


@pytest.mark.fault("Two concurrent promotions", "one wins by compare-and-swap, the other is told")
def test_two_promotions_at_once_one_wins(home: Home, ledger: Ledger) -> None:
    """A planted fault: two concurrent promotions."""
    for _ in range(5):
        champion = ledger.champion() or ledger.bootstrap(MODEL, "design", "up")
        rivals, barrier, outcomes = [canary(ledger), canary(ledger)], threading.Barrier(2), []

        def promote(rival: Release, barrier: threading.Barrier, outcomes: list[str], old: int) -> None:
            own = Ledger(home.releases_db)
            barrier.wait()
            try:
                own.promote(rival.id, old, "test", "")
                outcomes.append("won")
            except ConflictError as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=promote, args=(r, barrier, outcomes, champion.id)) for r in rivals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcome == "won" for outcome in outcomes) == [False, True]
        assert any(f"release {champion.id}: found previous, expected champion" in outcome for outcome in outcomes)
        assert stages(ledger).count("champion") == 1


PROMOTER = """
import sys
from pathlib import Path
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.records import Model
ledger = Ledger(Path(sys.argv[1]))
while True:
    print("again", flush=True)
    new = ledger.add(Model(7, "d", "s", "c"), "design", "test", "")
    ledger.move(new.id, "candidate", "shadow", "test", "")
    ledger.move(new.id, "shadow", "canary", "test", "")
    ledger.promote(new.id, ledger.champion().id, "test", "")
"""


@pytest.mark.fault("kill -9 during promotion", "the old or the new one is champion, never none")
def test_killed_between_there_is_still_one_champion(home: Home, ledger: Ledger) -> None:
    """A planted fault: kill -9 during promotion; either the old or the new one is champion, never none."""
    ledger.bootstrap(MODEL, "design", "up")
    env = {**os.environ, "PYTHONPATH": PYTHONPATH}
    for point in range(4):
        argv = [sys.executable, "-c", PROMOTER, str(home.releases_db)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env) as process:
            assert process.stdout
            for _ in range(4):
                process.stdout.readline()
            time.sleep(0.003 * point)
            process.send_signal(signal.SIGKILL)
        assert stages(Ledger(home.releases_db)).count("champion") == 1
    assert len(ledger.releases()) > 8


def test_previous_newest_first_and_only_so_many(ledger: Ledger) -> None:
    champion = ledger.bootstrap(MODEL, "design", "up")
    for _ in range(3):
        new = canary(ledger)
        ledger.promote(new.id, champion.id, "test", "")
        champion = new
    assert [release.id for release in ledger.previous(2)] == [3, 2]


def test_a_slot_holds_one_release(ledger: Ledger) -> None:
    one, two = ledger.bootstrap(MODEL, "design", "up"), canary(ledger)
    ledger.assign_slot(one.id, "a")
    ledger.assign_slot(two.id, "a")
    assert [release.slot for release in ledger.releases()] == [None, "a"]


def test_not_a_ledger(home: Home) -> None:
    home.root.mkdir(parents=True)
    home.releases_db.write_text("this is no database, it is a text of some length" * 30)
    with pytest.raises(
        UserError, match=r"releases\.db: not a ledger of releases \(file is not .*; move it away"
    ) as caught:
        Ledger(home.releases_db)
    assert "\n" not in str(caught.value)
