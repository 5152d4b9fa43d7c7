"""The post hop: order the candidates and write the answer's bytes; the same facts for the feature log."""

import numpy as np
import orjson
from numpy.typing import NDArray

from mlsd.models.release import Release
from mlsd.prediction_log.record import Record
from mlsd.tasks.ranking.ranking import Ranking
from mlsd.tasks.ranking.request import RankRequest

HOPS = ("features", "inference", "post")
JSON_LINE = b"content-type: application/json\r\n"


def _in_order(ranking: Ranking) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Best first; equal scores keep the order of the request. What was not scored follows, below all that was."""
    order = np.argsort(-ranking.scores, kind="stable")
    ids, scores = ranking.item_ids[order], ranking.scores[order]
    if ranking.unscored_ids is None:
        return ids, scores
    count = len(ranking.unscored_ids)
    below = scores[-1] * (np.arange(count, 0, -1) / (count + 1))
    return np.concatenate([ids, ranking.unscored_ids]), np.concatenate([scores, below])


def items_json(ranking: Ranking) -> bytes:
    """The answer's `items`. Two arrays dumped and woven together: objects cost half as much again."""
    if not len(ranking.item_ids):
        return b"[]"
    ids, scores = (
        orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].split(b",") for values in _in_order(ranking)
    )
    parts = [b'},{"item_id":', b"", b',"score":', b""] * len(ids)
    parts[1::4], parts[3::4] = ids, scores
    parts[0] = b'[{"item_id":'
    return b"".join(parts) + b"}]"


def body(ranking: Ranking, items: bytes, request_id: str, release: Release) -> bytes:
    """The whole answer; `degraded` stands before the items, where a reader in a hurry finds it."""
    return orjson.dumps(
        {
            "request_id": request_id,
            "model_version": release.model_version,
            "release_id": release.release_id,
            "degraded": ranking.degraded,
            "hops_ms": {hop: round(ranking.hops_ms.get(hop, 0.0), 3) for hop in HOPS},
            "items": orjson.Fragment(items),
        }
    )


def identity(request_id: str, release: Release | None) -> bytes:
    """Header lines that say which request this answers and who answered."""
    lines = b"%sx-request-id: %s\r\n" % (JSON_LINE, request_id.encode())
    if release is None:
        return lines
    return b"%sx-mlsd-model-version: %d\r\nx-mlsd-release: %d\r\n" % (lines, release.model_version, release.release_id)


def explanation(ranking: Ranking, seconds: float) -> bytes:
    """Header lines: milliseconds of each hop and of the service (W3C Server-Timing), why it is degraded, its age."""
    hops = [(name, value) for name, value in ranking.hops_ms.items() if name != "done"]
    timing = ", ".join(f"{name};dur={value:.3f}" for name, value in [*hops, ("service", seconds * 1e3)])
    lines = f"server-timing: {timing}\r\n"
    if ranking.degraded:
        lines += f"x-mlsd-degraded: {','.join(ranking.degraded)}\r\n"
    if "cached" in ranking.degraded:
        lines += f"age: {ranking.gathered.ages_s['cache']:.0f}\r\n"
    return lines.encode()


def refusal(error: dict[str, str], request_id: str, release: Release | None) -> bytes:
    """The body of an answer without a ranking; `error` names the field, what was found and what is expected."""
    content: dict[str, object] = {"request_id": request_id, "error": error}
    if release is not None:
        content |= {"model_version": release.model_version, "release_id": release.release_id}
    return orjson.dumps(content)


def record(
    request: RankRequest, ranking: Ranking, request_id: str, release: Release, role: str, total_ms: float, *, full: bool
) -> Record:
    """What the feature log keeps of this answer; `full` adds every feature."""
    gathered = ranking.gathered
    return Record(
        request_id=request_id,
        user_id=request.user_id,
        at=ranking.at,
        total_ms=total_ms,
        release_id=release.release_id,
        model_version=release.model_version,
        model_digest=release.model_digest,
        engine=ranking.engine,
        role=role,
        snapshot_version=gathered.snapshot_version,
        context=gathered.context[0],
        user_row=gathered.user,
        device=request.device,
        item_ids=ranking.item_ids,
        scores=ranking.scores,
        degraded=ranking.degraded,
        ages_s=gathered.ages_s,
        interactions=gathered.interactions,
        unscored_ids=ranking.unscored_ids,
        features=ranking.features if full else None,
    )
