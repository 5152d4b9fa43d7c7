"""One answer again: what was known, how old it was, why it came out so, and whether it comes out the same today."""

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import Check, StepResult
from mlsd.prediction_log.record import Record
from mlsd.prediction_log.search import find
from mlsd.problem.problem import Problem
from mlsd.serving.inference.replay import matrix, replay, snapshots

SHOWN = 10
PLAIN = ("request_id", "user_id", "role", "release_id", "model_version", "model_digest", "engine", "snapshot_version")
MEANING = {
    "pruned": "under pressure only the best by a cheap rule were scored",
    "cached": "the answer was kept from an earlier request; the replay is of that one",
}


def _find(home: Home, request_id: str) -> Record:
    """The live record of a request, else its mirrored copy."""
    record = find(home.feature_log, request_id)
    if record is None:
        files = sum(1 for _ in home.feature_log.glob("*.log"))
        raise UserError(f"{home.feature_log}: no record of request {request_id!r} in {files} files")
    return record


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


def _views(record: Record, problem: Problem) -> dict[str, JsonValue]:
    """The stored values that the user's features came from, with their age; None: nothing was stored or read."""
    values = dict(zip(problem.user_columns, map(_number, record.user_row), strict=True))
    return {
        view: {"age_s": record.ages_s.get(view), "values": {name: values[name] for name in columns}}
        for view, columns in problem.user_views.items()
    }


def _details(record: Record, features: NDArray[np.float32], problem: Problem) -> dict[str, JsonValue]:
    return {
        **{name: getattr(record, name) for name in PLAIN},
        "at": record.at.isoformat(),
        "device": record.device,
        "total_ms": record.total_ms,
        "interactions": record.interactions,
        "degraded": list(record.degraded),
        "scored": len(record.item_ids),
        "left_out": [] if record.unscored_ids is None else record.unscored_ids.tolist(),
        "ages_s": dict(record.ages_s),
        "user": _views(record, problem),
        "best": _best(record, features, problem.feature_names),
    }


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 3600:.1f} h"


def _summary(record: Record, features: NDArray[np.float32], names: tuple[str, ...]) -> str:
    """Who asked, who answered, how old it all was, and every feature of the best item."""
    left_out = 0 if record.unscored_ids is None else len(record.unscored_ids)
    of = f" of {len(record.item_ids) + left_out}" if left_out else ""
    head = f"user {record.user_id}, {len(record.item_ids)}{of} candidates, model {record.model_version}"
    reasons = [f"{reason} ({MEANING[reason]})" if reason in MEANING else reason for reason in record.degraded]
    best = int(np.argsort(-record.scores, kind="stable")[0])
    lines = [
        f"{head} by {record.engine}" + (f", degraded: {', '.join(reasons)}" if reasons else ""),
        "ages: " + (", ".join(f"{view} {_age(age)}" for view, age in record.ages_s.items()) or "none known"),
        f"best: item {record.item_ids[best]}, score {float(record.scores[best])!r}, from",
        *(f"  {name:<24} {value:.6g}" for name, value in zip(names, features[best].tolist(), strict=True)),
    ]
    return "\n".join(lines)


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
    summary = _summary(record, features, problem.feature_names)
    details = _details(record, features, problem)
    return StepResult(step="explain", summary=summary, checks=checks, details=details, at=clock.now())


def _check(name: str, wanted: int, found: int) -> Check:
    return Check(name=name, designed=f"{wanted} of {wanted}", measured=f"{found} of {wanted}", passed=found == wanted)
