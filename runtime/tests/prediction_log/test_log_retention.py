"""The feature log over time: what is deleted, what stays, how one request is found, whose it was."""

import os
import re
import stat
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json
from mlsd.features import snapshot
from mlsd.prediction_log import framing, pseudonyms, retention, search, segments
from mlsd.prediction_log.record import Record, encode
from mlsd.prediction_log.writer import FeatureLog, read_records
from support.log_records import AT, made, same


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


def test_a_file_that_was_deleted_under_the_writer_is_begun_anew(tmp_path: Path) -> None:
    files = segments.Segments(tmp_path, "a", 30)
    assert files.write([framing.frame(encode(made(0)))]) == (1, None)
    next(tmp_path.glob("*.log")).unlink()
    assert files.write([framing.frame(encode(made(1)))]) == (1, None)
    files.close()
    assert [record.user_id for record in read_records(tmp_path)] == [1]


def test_a_file_is_closed_after_a_day_so_that_retention_reaches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = segments.Segments(tmp_path, "a", 30)
    files.write([b"x"])
    files.write([b"x"])
    assert len(list(tmp_path.glob("*.log"))) == 1
    moment = time.monotonic() + 86_401
    monkeypatch.setattr(segments.time, "monotonic", lambda: moment)
    files.write([b"x"])
    files.close()
    assert len(list(tmp_path.glob("*.log"))) == 2


def test_a_request_is_found_by_its_id_in_the_newest_file_first(tmp_path: Path) -> None:
    def put(name: str, *records: Record) -> None:
        (tmp_path / name).write_bytes(b"".join(framing.frame(encode(each)) for each in records))

    mirrored = replace(made(1), role="shadow")
    put("b-1-1.log", *(made(k) for k in range(700)))  # more than one chunk
    put("b-1-2.log", mirrored, replace(made(2), total_ms=9.0), replace(mirrored, request_id="only-mirrored"))
    for wanted in (made(0), made(1), made(616), made(699), replace(made(2), total_ms=9.0)):
        found = search.find(tmp_path, wanted.request_id)
        assert found is not None
        assert same(found, wanted)
    only = search.find(tmp_path, "only-mirrored")
    assert only is not None
    assert only.role == "shadow"
    assert search.find(tmp_path, "request-") is None
    assert search.find(tmp_path / "absent", "request-1") is None
    data = bytearray((tmp_path / "b-1-1.log").read_bytes())
    data[-10] ^= 1
    (tmp_path / "b-1-1.log").write_bytes(data)
    assert search.find(tmp_path, "request-699") is None


def test_user_ids_are_keyed_hashes_where_the_design_says_so(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def logged(name: str) -> list[int | str]:
        log = FeatureLog(home.root / name, "a", size=9, retention_days=30, pseudonym=pseudonyms.pseudonyms(home))
        for k in (7, 8, 7):
            log.append(made(k))
        log.close()
        return [record.user_id for record in read_records(home.root / name)]

    first = logged("one")
    assert first == logged("two")
    assert first[0] == first[2] != first[1]
    assert all(re.fullmatch("[0-9a-f]{32}", str(user)) for user in first)
    assert pseudonyms.known_as(home, [7, 9])[str(first[0])] == 7
    assert stat.S_IMODE(home.user_hash_key.stat().st_mode) == 0o600
    monkeypatch.setenv(pseudonyms.VARIABLE, "k" * 40)
    assert logged("three")[0] != first[0]
    monkeypatch.setenv(pseudonyms.VARIABLE, "short")
    with pytest.raises(UserError, match="found a key of 5 characters"):
        pseudonyms.pseudonyms(home)
    monkeypatch.delenv(pseudonyms.VARIABLE)
    home.user_hash_key.chmod(0o640)
    with pytest.raises(UserError, match="found mode 0640, expected 0600"):
        pseudonyms.pseudonyms(home)


def test_snapshots_stay_as_long_as_the_log_that_names_them(home: Home) -> None:
    """3.19: older ones that nothing names go, never the current one, nor one that a batch rests on."""
    columns = np.zeros((2, 1), np.float32)
    named, batched, unnamed, young, now = (
        snapshot.write(home, np.arange(2), columns + k, ("x",), AT) for k in range(5)
    )
    for version in (named, batched, unnamed, now):
        os.utime(home.snapshots / version, (time.time() - 2 * 86_400,) * 2)
    log = FeatureLog(home.feature_log, "a", size=9, retention_days=30)
    log.append(replace(made(), snapshot_version=named))
    log.close()
    write_json(home.batch / "1-abc" / "run" / "meta.json", {"snapshot_version": batched})

    def left() -> set[str]:
        return {path.name for path in home.snapshots.iterdir() if path.is_dir()}

    assert retention.tidy(home, 30) == (0, 1)
    assert left() == {named, batched, young, now}
    assert retention.tidy(home, 30) == (0, 0)
    (path,) = home.feature_log.glob("*.log")
    os.utime(path, (time.time() - 31 * 86_400,) * 2)
    assert retention.tidy(home, 30) == (1, 1)
    assert left() == {batched, young, now}
