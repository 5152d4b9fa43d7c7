"""The feature log: exact, compact, never in the way of an answer, readable past whatever a crash has torn."""

import errno
import json
import os
import random
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from mlsd.prediction_log import framing, segments, writer
from mlsd.prediction_log.framing import ReadCount
from mlsd.prediction_log.record import decode, encode
from mlsd.prediction_log.writer import FeatureLog, read_records
from support.gameday import Seen
from support.log_records import AT, made, same, written


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


KILLED = """
import json, os, random, signal, sys, time
from dataclasses import replace
from pathlib import Path
from support.log_records import made, same
from mlsd.prediction_log import writer
from mlsd.prediction_log.writer import FeatureLog, read_records
from mlsd.prediction_log.framing import ReadCount

writer.PAUSE_S = 0.0
records = [made(k) for k in range(20)]
found = []
for number in range(100):
    folder = Path(sys.argv[1]) / str(number)
    child = os.fork()
    if not child:
        log = FeatureLog(folder, "a", size=1000, retention_days=30)
        for k in range(10**9):
            log.append(records[k % 20])
    while not any(path.stat().st_size for path in folder.glob("*.log")):
        time.sleep(0.001)
    time.sleep(random.Random(number).random() * 0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    count = ReadCount()
    # The loop above fills the queue, so a record may tell of others that were dropped before it.
    read = (replace(record, lost=0) for record in read_records(folder, count=count))
    wrong = sum(not same(record, records[record.user_id]) for record in read)
    found.append([count.records, count.torn, wrong])
    for path in folder.glob("*.log"):
        path.unlink()
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.fault("Log torn at crash", "reader skips the torn tail and counts it, 100 of 100 rounds")
def test_a_writer_killed_a_hundred_times_leaves_a_readable_log(tmp_path: Path, seen: Seen) -> None:
    argv = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=500)
    rounds = json.loads(done.stdout)
    assert len(rounds) == 100
    # Killed in its very first write, even the first record may be the torn one.
    assert [found for found in rounds if found[1] > 1 or found[2] or not (found[0] or found[1])] == []
    records, torn, _ = map(sum, zip(*rounds, strict=True))
    seen(f"{records:,} whole records read exactly, {torn} torn tails skipped and counted")


FULL_DISK = """
import resource, sys, time
from pathlib import Path
from support.log_records import made
from mlsd.prediction_log.writer import FeatureLog, read_records
lost = []
log = FeatureLog(Path(sys.argv[1]), "a", size=1000, retention_days=30, dropped=lost.append)

def send(first):
    for k in range(first, first + 10):
        log.append(made(k))
    while sum(lost) + sum(1 for _ in read_records(Path(sys.argv[1]))) < first + 10:
        time.sleep(0.001)

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
send(0)
full = sum(lost)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
send(10)
log.close()
print(full, sum(lost))
"""


def test_a_disk_that_fills_up_drops_records_and_tears_none(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=200)
    count = ReadCount()
    records = list(read_records(tmp_path, count=count))
    kept = [record.user_id for record in records]
    full, lost = map(int, done.stdout.split())
    assert [record.lost for record in records if record.lost] == [full]  # told by the first one after them
    assert 0 < full < 10
    assert lost == full
    assert kept == [*range(10 - full), *range(10, 20)]
    assert count.torn == 0
    assert done.stderr.count("records are dropped") == 1


def test_a_tail_that_cannot_be_cut_off_ends_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that refuses even that: the torn record is the last of its file, the next one begins another."""
    pair = [framing.frame(encode(made(k))) for k in range(2)]
    files = segments.Segments(tmp_path, "a", 30)

    def half(file: int, group: list[bytes]) -> int:
        os.write(file, b"".join(group)[: len(group[0]) + 50])
        raise OSError(errno.ENOSPC, "full")

    def refuse(file: int, size: int) -> None:
        raise OSError(errno.EIO, "no")

    with monkeypatch.context() as patch:
        patch.setattr(segments.os, "writev", half)
        patch.setattr(segments.os, "ftruncate", refuse)
        files.write(pair)
    assert files.write(pair) == (2, None)
    files.close()
    count = ReadCount()
    assert [record.user_id for record in read_records(tmp_path, count=count)] == [0, 0, 1]
    assert count.torn == 1


def test_dev_full_costs_records_not_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments.time, "time_ns", lambda: 1)
    (tmp_path / f"a-{os.getpid()}-1.log").symlink_to("/dev/full")
    lost: list[int] = []
    log = FeatureLog(tmp_path, "a", size=1000, retention_days=30, dropped=lost.append)
    for k in range(10):
        log.append(made(k))
    log.close()
    assert sum(lost) == 10


def test_a_full_queue_drops_and_never_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To wait for the writer each time would take minutes."""
    monkeypatch.setattr(writer, "PAUSE_S", 1.0)
    lost: list[int] = []
    log = FeatureLog(tmp_path, "a", size=5, retention_days=30, dropped=lost.append)
    records = [made(k) for k in range(20)]
    started = time.perf_counter()
    for k in range(2000):
        log.append(records[k % 20])
    assert time.perf_counter() - started < 10
    log.close()
    assert len(list(read_records(tmp_path))) == 2000 - sum(lost)


def test_reading_a_large_log_takes_little_memory(tmp_path: Path) -> None:
    """100 MB of records, one chunk at a time."""
    one = framing.frame(encode(made()))
    with (tmp_path / "a-1-1.log").open("wb") as file:
        for _ in range(100):
            file.write(one * 150)
    tracemalloc.start()
    count = ReadCount()
    for _ in read_records(tmp_path, after=AT + timedelta(days=1), count=count):
        pass
    assert sum(1 for _ in islice(read_records(tmp_path, count=count), 300)) == 300
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (count.records, count.torn) == (300, 0)
    assert peak < 8 * 2**20
