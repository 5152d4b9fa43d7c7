"""Records of requests that never were, and a log of them."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from mlsd.prediction_log.record import Record
from mlsd.prediction_log.writer import FeatureLog

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
