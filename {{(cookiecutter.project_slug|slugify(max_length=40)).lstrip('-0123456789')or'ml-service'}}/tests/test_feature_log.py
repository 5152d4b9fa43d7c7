"""The feature log: exact, compact, never in the way of an answer, readable past whatever a crash has torn."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mlsd.serving import feature_log
from mlsd.serving.feature_log import FeatureLog, ReadCount, read_records
from mlsd.serving.record import Record, decode, encode

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def made(k: int = 0, candidates: int = 500) -> Record:
    rng = np.random.default_rng(k)
    return Record(
        request_id=f"request-{k}",
        user_id=k,
        at=AT + timedelta(seconds=k),
        total_ms=2.5,
        release_id=3,
        model_version=7,
        model_digest="ab" * 32,
        engine="lightgbm",
        role="live",
        snapshot_version="0123456789ab",
        context=rng.normal(size=5).astype(np.float32),
        user_row=np.where(rng.random(80) < 0.1, np.nan, rng.normal(size=80)).astype(np.float32),
        device="mobile",
        item_ids=rng.permutation(10_000)[:candidates].astype(np.int64),
        scores=rng.random(candidates),
        degraded=["stale_user"],
        ages_s={"user": 12.5, "item": 3.0},
        interactions=42.0,
    )


def same(left: Record, right: Record) -> bool:
    pairs = [(getattr(left, each.name), getattr(right, each.name)) for each in fields(Record)]
    return all(
        a.dtype == b.dtype and a.tobytes() == b.tobytes() if isinstance(a, np.ndarray) else a == b for a, b in pairs
    )


def written(folder: Path, records: int, **changes: int) -> Path:
    log = FeatureLog(folder, "a", size=1000, retention_days=30)
    for k in range(records):
        log.append(made(k, **changes))
    log.close()
    (path,) = folder.glob("a-*.log")
    return path


def test_a_record_of_500_candidates_is_exact_and_under_8_kb() -> None:
    record = made()
    payload = encode(record)
    assert same(decode(payload), record)
    assert len(payload) < 8_000
    large = replace(record, item_ids=record.item_ids + 2**40, features=np.full((500, 3), np.nan, np.float32))
    assert same(decode(encode(large)), large)


def test_what_was_appended_is_read_in_order_and_after_a_time(tmp_path: Path) -> None:
    written(tmp_path, 20)
    assert [record.user_id for record in read_records(tmp_path)] == list(range(20))
    assert [record.user_id for record in read_records(tmp_path, after=AT + timedelta(seconds=15))] == [16, 17, 18, 19]
    assert list(read_records(tmp_path / "absent")) == []


def test_any_truncation_loses_at_most_the_torn_record(tmp_path: Path) -> None:
    path = written(tmp_path, 10, candidates=20)
    data = path.read_bytes()
    for cut in random.Random(5).sample(range(len(data)), 200):
        path.write_bytes(data[:cut])
        count = ReadCount()
        found = [record.user_id for record in read_records(tmp_path, count=count)]
        whole = cut * 10 // len(data)  # records are of almost the same length
        assert found == list(range(len(found)))
        assert abs(len(found) - whole) <= 1
        assert count.torn <= 1


def test_damage_in_the_middle_costs_one_record(tmp_path: Path) -> None:
    path = written(tmp_path, 10)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    count = ReadCount()
    assert len(list(read_records(tmp_path, count=count))) == 9
    assert (count.records, count.torn) == (9, 1)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_feature_log import made
from mlsd.serving.feature_log import FeatureLog
log = FeatureLog(Path(sys.argv[1]), "a", size=1000, retention_days=30)
records = [made(k) for k in range(50)]
print("ready", flush=True)
k = 0
while True:
    log.append(records[k % 50])
    k += 1
"""


def test_a_killed_writer_leaves_a_readable_log(tmp_path: Path) -> None:
    """SIGKILL in the midst of writing: every record but the last one is whole."""
    for kill_after in (0.05, 0.1, 0.2):
        folder = tmp_path / str(kill_after)
        argv = [sys.executable, "-c", WRITER, str(folder), str(Path(__file__).parent)]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(kill_after)
        process.send_signal(signal.SIGKILL)
        process.wait()
        count = ReadCount()
        expected = {record.request_id: record for record in map(made, range(50))}
        assert all(same(record, expected[record.request_id]) for record in read_records(folder, count=count))
        assert count.records > 0
        assert count.torn <= 1


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_feature_log import made
from mlsd.serving.feature_log import FeatureLog
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
lost = []
log = FeatureLog(Path(sys.argv[1]), "a", size=1000, retention_days=30, dropped=lost.append)
for k in range(10):
    log.append(made(k))
log.close()
print(sum(lost))
"""


def test_a_disk_that_fills_up_drops_records_and_tears_none(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    count = ReadCount()
    kept = list(read_records(tmp_path, count=count))
    assert 0 < len(kept) < 10
    assert int(done.stdout) == 10 - len(kept)
    assert count.torn == 0
    assert done.stderr.count("records are dropped") == 1


def test_dev_full_costs_records_not_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_log.time, "time_ns", lambda: 1)
    (tmp_path / f"a-{os.getpid()}-1.log").symlink_to("/dev/full")
    lost: list[int] = []
    log = FeatureLog(tmp_path, "a", size=1000, retention_days=30, dropped=lost.append)
    for k in range(10):
        log.append(made(k))
    log.close()
    assert sum(lost) == 10


def test_a_full_queue_drops_and_never_waits(tmp_path: Path) -> None:
    lost: list[int] = []
    log = FeatureLog(tmp_path, "a", size=5, retention_days=30, dropped=lost.append)
    records = [made(k) for k in range(20)]
    started = time.perf_counter()
    for k in range(2000):
        log.append(records[k % 20])
    assert time.perf_counter() - started < 1.0
    log.close()
    assert len(list(read_records(tmp_path))) == 2000 - sum(lost)


def test_files_past_their_retention_are_deleted(tmp_path: Path) -> None:
    old, recent = tmp_path / "a-1-1.log", tmp_path / "a-1-2.log"
    for path, days in ((old, 31), (recent, 29)):
        path.write_bytes(b"")
        os.utime(path, (time.time() - days * 86_400,) * 2)
    log = FeatureLog(tmp_path, "b", size=5, retention_days=30)
    log.append(made())
    log.close()
    assert not old.exists()
    assert recent.exists()
