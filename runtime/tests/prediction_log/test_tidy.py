"""What deletes old files leaves what is in use, whatever the clock says, and never stops a writer."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlsd.core.home import Home
from mlsd.prediction_log.retention import tidy
from mlsd.prediction_log.writer import FeatureLog, read_records
from mlsd.serving.http import access_log
from mlsd.tasks.ranking.batch.table import current, new_run
from support.log_records import made


def test_a_run_made_after_the_clock_went_back_is_the_current_one(home: Home) -> None:
    """A new synthetic world ends before the old one did."""
    for name in ("20260305-a", "20260306-b", "20260101-c", "20260102-d"):
        with new_run(home, 1, "ab" * 32, name) as folder:
            (folder / "meta.json").write_text("{}")
        found = current(home, 1, "ab" * 32)
        assert found is not None and found.name == name
        assert (found / "meta.json").exists()
    assert found is not None
    assert {path.name for path in found.parent.iterdir()} == {"current", "20260101-c", "20260102-d"}


def test_the_log_of_a_world_before_goes_by_the_same_retention(home: Home) -> None:
    """Personal data is kept no longer because `mlsd data` was run."""
    before = home.feature_log.with_name(f"{home.feature_log.name}.1")
    before.mkdir(parents=True)
    old, young = before / "a-1.log", before / "a-2.log"
    for path in (old, young):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    assert tidy(home, 30) == (1, 0)
    assert (old.exists(), young.exists()) == (False, True)


def test_what_cannot_be_deleted_stops_no_log(tmp_path: Path) -> None:
    stranger = tmp_path / "old.log"
    stranger.mkdir()
    os.utime(stranger, (0, 0))
    log = FeatureLog(tmp_path, "a", size=5, retention_days=30)
    log.append(made(3))
    log.close()
    stranger.rmdir()
    assert [record.user_id for record in read_records(tmp_path)] == [3]


def test_access_logs_of_workers_that_are_gone_are_kept_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that crashes again and again fills no disk, and its last words stay."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    monkeypatch.setattr(access_log, "KEPT", 2)
    alive = tmp_path / f"access-a-{os.getpid()}.jsonl"
    other = tmp_path / f"access-b-{ended.pid}.jsonl"
    gone = [tmp_path / f"access-a-{ended.pid}.jsonl{suffix}" for suffix in ("", ".1", ".2", ".3")]
    for age, path in enumerate([alive, other, *gone]):
        path.write_text("{}\n")
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    access_log.forget_dead_processes(tmp_path, "a")
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in (alive, other, *gone[:2])}
