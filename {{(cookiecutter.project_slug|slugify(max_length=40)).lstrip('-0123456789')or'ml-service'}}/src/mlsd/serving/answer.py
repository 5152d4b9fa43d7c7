"""The post hop: order the candidates and write the answer's bytes; the same facts for the feature log."""

import time

import numpy as np
import orjson
from numpy.typing import NDArray

from mlsd.serving.ranker import Ranking
from mlsd.serving.record import Record
from mlsd.serving.release import Release
from mlsd.serving.request import RankRequest


def _items(ids: NDArray[np.int64], scores: NDArray[np.float64]) -> bytes:
    """Best first; equal scores keep the order of the request."""
    order = np.argsort(-scores, kind="stable")
    pairs = zip(ids[order].tolist(), scores[order].tolist(), strict=True)
    return orjson.dumps([{"item_id": item, "score": score} for item, score in pairs])


def write(request: RankRequest, ranking: Ranking, request_id: str, release: Release) -> bytes:
    """The body of an answer; adds the post hop's milliseconds to the ranking."""
    started = time.perf_counter()
    items = orjson.Fragment(_items(request.candidates, ranking.scores))
    ranking.hops_ms["post"] = (time.perf_counter() - started) * 1e3
    return orjson.dumps(
        {
            "request_id": request_id,
            "model_version": release.model_version,
            "release_id": release.release_id,
            "degraded": ranking.degraded,
            "items": items,
            "hops_ms": ranking.hops_ms,
        }
    )


def identity(request_id: str, release: Release) -> dict[str, str]:
    """Headers that say which request this answers and who answered."""
    return {
        "content-type": "application/json",
        "x-request-id": request_id,
        "x-mlsd-model-version": str(release.model_version),
        "x-mlsd-release": str(release.release_id),
    }


def timing(ranking: Ranking, total_ms: float) -> dict[str, str]:
    """Header with the milliseconds of each hop and of the whole service (W3C Server-Timing)."""
    hops = ranking.hops_ms | {"service": total_ms}
    return {"server-timing": ", ".join(f"{name};dur={value:.3f}" for name, value in hops.items())}


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
        snapshot_version=gathered.snapshot.version,
        context=gathered.context[0],
        user_row=gathered.user,
        device=request.device,
        item_ids=request.candidates,
        scores=ranking.scores,
        degraded=ranking.degraded,
        ages_s=gathered.ages_s,
        interactions=gathered.interactions,
        features=ranking.features if full else None,
    )
