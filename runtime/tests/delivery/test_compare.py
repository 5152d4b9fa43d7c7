"""The candidate's answers beside the champion's, from the feature log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from mlsd.delivery.analysis.pairs import Comparison, spearman
from mlsd.prediction_log.record import Record
from mlsd.prediction_log.writer import FeatureLog

START = datetime(2026, 1, 5, tzinfo=UTC)
ITEMS = np.arange(20, dtype=np.int64)


def record(request: str, release: int, role: str, scores: np.ndarray, second: float = 1.0) -> Record:
    empty = np.zeros(1, np.float32)
    return Record(
        request_id=request, user_id=1, at=START + timedelta(seconds=second), total_ms=1.0, release_id=release,
        model_version=release, model_digest="d", engine="e", role=role, snapshot_version="s", context=empty,
        user_row=empty, device="mobile", item_ids=ITEMS, scores=scores, degraded=[], ages_s={}, interactions=9.0,
    )  # fmt: skip


def write(folder: Path, slot: str, records: list[Record]) -> None:
    log = FeatureLog(folder, slot, 1000, 30)
    for each in records:
        log.append(each)
    log.close()


def test_the_order_of_ties_and_of_reversed_lists() -> None:
    rising = np.arange(30.0)
    assert spearman(rising, rising**3) == pytest.approx(1.0)
    assert spearman(rising, -rising) == pytest.approx(-1.0)
    assert spearman(rising, np.minimum(rising, 14.0)) == pytest.approx(0.92126, abs=1e-4)


def test_no_order_to_compare() -> None:
    flat, rising = np.full(5, 0.5), np.arange(5.0)
    assert spearman(flat, flat) is None
    assert spearman(flat, rising) == 0.0


def test_pairs_are_joined_by_request(tmp_path: Path) -> None:
    """Order of arrival does not matter; other releases, other roles, older records and lone copies do not count."""
    rising, rng = np.linspace(0.1, 0.9, 20), np.random.default_rng(1)
    comparison = Comparison(tmp_path, champion=1, candidate=2, since=START)
    write(tmp_path, "b", [record("r1", 2, "shadow", rising[::-1].copy()), record("r2", 2, "shadow", rising)])
    write(tmp_path, "b", [record("r3", 3, "shadow", rising), record("r4", 2, "live", rising)])
    comparison.update()
    assert comparison.pairs == 0
    write(tmp_path, "a", [record(f"r{i}", 1, "live", rising) for i in range(1, 6)])
    write(tmp_path, "a", [record("r0", 1, "live", rising, -1.0), record("r0", 2, "shadow", rising, -1.0)])
    comparison.update()
    comparison.update()
    assert comparison.pairs == 2
    assert sorted(comparison.correlations) == pytest.approx([-1.0, 1.0])
    assert comparison.score_psi() < 0.2
    late = [record(f"s{i}", 2, "shadow", rng.uniform(0.9, 1.0, 20), 3.0) for i in range(20)]
    write(tmp_path, "b", late + [record(f"s{i}", 1, "live", rising, 3.0) for i in range(20)])
    comparison.update()
    assert comparison.pairs == 22
    assert comparison.score_psi() > 2.0


def test_an_empty_log_is_no_pair(tmp_path: Path) -> None:
    comparison = Comparison(tmp_path / "absent", 1, 2, START)
    comparison.update()
    assert (comparison.pairs, comparison.correlations, comparison.score_psi()) == (0, [], 0.0)
