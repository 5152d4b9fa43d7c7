"""One answer again: what was known, why it came out so, and whether it comes out the same today."""

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from mlsd import clock
from mlsd.errors import UserError
from mlsd.home import Home
from mlsd.problem import Problem
from mlsd.result import Check, StepResult
from mlsd.serving.feature_log import ReadCount, read_records
from mlsd.serving.record import Record
from mlsd.serving.replay import matrix, replay, snapshots

SHOWN = 10


def _find(home: Home, request_id: str) -> Record:
    """The live record of a request, else its mirrored copy."""
    count = ReadCount()
    found = [record for record in read_records(home.feature_log, count=count) if record.request_id == request_id]
    if not found:
        torn = f", {count.torn} torn" if count.torn else ""
        raise UserError(f"{home.feature_log}: no record of request {request_id!r} among {count.records}{torn}")
    return min(found, key=lambda record: record.role != "live")


def _number(value: np.float32) -> float | None:
    return float(value) if np.isfinite(value) else None


def _best(record: Record, features: NDArray[np.float32], names: tuple[str, ...]) -> list[JsonValue]:
    order = np.argsort(-record.scores, kind="stable")[:SHOWN]
    return [
        {
            "item_id": int(record.item_ids[k]),
            "score": float(record.scores[k]),
            "features": dict(zip(names, map(_number, features[k]), strict=True)),
        }
        for k in order
    ]


def _details(record: Record, features: NDArray[np.float32], problem: Problem) -> dict[str, JsonValue]:
    plain = (
        "request_id",
        "user_id",
        "role",
        "release_id",
        "model_version",
        "model_digest",
        "engine",
        "snapshot_version",
    )
    user = dict(zip(problem.user_columns, map(_number, record.user_row), strict=True))
    return {
        **{name: getattr(record, name) for name in plain},
        "at": record.at.isoformat(),
        "device": record.device,
        "total_ms": record.total_ms,
        "interactions": record.interactions,
        "degraded": list(record.degraded),
        "ages_s": dict(record.ages_s),
        "user": user,
        "best": _best(record, features, problem.feature_names),
    }


def run(home: Home, problem: Problem, request_id: str) -> StepResult:
    """Replay one request of the feature log.

    Raises:
        UserError: the log has no such request, or its model or snapshot is gone.
    """
    record = _find(home, request_id)
    load = snapshots(home)
    features = matrix(record, problem, load)
    again = replay(home, problem, record, load)
    same = int(np.count_nonzero(again == record.scores))
    checks = [_check("scores replayed to the bit", len(record.scores), same)]
    if record.features is not None:
        equal = np.array_equal(features, record.features, equal_nan=True)
        checks.append(_check("features recomputed to the bit", features.size, features.size if equal else 0))
    why = f", degraded: {', '.join(record.degraded)}" if record.degraded else ""
    summary = f"user {record.user_id}, {len(again)} candidates, model {record.model_version} by {record.engine}{why}"
    return StepResult(
        step="explain", summary=summary, checks=checks, details=_details(record, features, problem), at=clock.now()
    )


def _check(name: str, wanted: int, found: int) -> Check:
    return Check(name=name, designed=f"{wanted} of {wanted}", measured=f"{found} of {wanted}", passed=found == wanted)
