"""One pass over all users with one model: lists for the warehouse and a table for the service."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

from mlsd.core.errors import UserError
from mlsd.design.design import Design
from mlsd.features.snapshot import Snapshot
from mlsd.models.scoring import Bundle
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.tasks.ranking.batch.lists import Lists
from mlsd.tasks.ranking.batch.scoring import Scorer, pool, scored
from mlsd.tasks.ranking.batch.table import Meta, forget_before, new_run, run_name
from mlsd.tasks.ranking.batch.users import newest
from mlsd.tasks.ranking.request import NO_DEVICE

MIB = 2**20
QUERY_SHARE = 4


@dataclass(frozen=True)
class Model:
    """The model to score with, and the number it is registered under."""

    version: int
    bundle: Bundle


@dataclass(frozen=True)
class Written:
    """What a run did.

    `scores` are the model's: a user with too few interactions gets the popular items and costs nothing. `grown_mib` is
    how much larger the process was at most while it ran.
    """

    folder: Path
    users: int
    scores: int
    seconds: float
    grown_mib: float

    @property
    def per_second(self) -> float:
        """Scores a second, reading and writing included."""
        return self.scores / self.seconds


def _meta(design: Design, problem: Problem, model: Model, snapshot: Snapshot, items: int, at: datetime) -> Meta:
    moment = np.array([at.replace(tzinfo=None)], "datetime64[us]")
    most = min(design.batch.pool, design.scale.candidates, items)
    return Meta(
        model_version=model.version,
        model_digest=model.bundle.digest,
        engine=model.bundle.engine,
        snapshot_version=snapshot.version,
        written_at=at,
        item_age_s=(at - snapshot.written_at).total_seconds(),
        context=problem.context(moment, np.array([NO_DEVICE]))[0].tolist(),
        views=list(problem.user_views),
        user_columns=list(problem.user_columns),
        reasons=[],
        top=min(design.batch.top, most),
        pool=most,
    )


def _write(
    folder: Path, meta: Meta, items: NDArray[np.int64], parts: Iterator[tuple[NDArray[np.int64], NDArray[np.void]]]
) -> tuple[int, int, int]:
    """Lists and records as they come; returns users, how many of them the model scored, the largest size in bytes."""
    process, ids, by_model, largest = psutil.Process(), [np.empty(0, np.int64)], 0, 0
    with (folder / "users.bin").open("wb") as records, Lists(folder / "lists.parquet", meta, items) as lists:
        for some, found in parts:
            records.write(found.tobytes())
            lists.add(some, found)
            ids.append(some)
            by_model += int(np.count_nonzero(~found["popular"]))
            largest = max(largest, process.memory_info().rss)
    np.save(folder / "ids.npy", np.concatenate(ids))
    np.save(folder / "items.npy", items)
    return sum(map(len, ids)), by_model, largest


def write(context: Context, model: Model, snapshot: Snapshot, at: datetime) -> Written:
    """Score every user against the pool and make the result the model's current run.

    Args:
        context: the design says how many items, how many kept, threads and memory; users come from the offline store.
        model: scores.
        snapshot: values of the items.
        at: the moment that the scores are for; later rows are not seen.

    Raises:
        UserError: there are no users or no items.
    """
    design, home, problem = context.design, context.home, context.problem
    began, before, use = time.perf_counter(), psutil.Process().memory_info().rss, design.batch
    items = pool(snapshot, problem, use.items)
    if not len(items):
        raise UserError(f"snapshot {snapshot.version}: found no items to score; run `mlsd features`")
    meta = _meta(design, problem, model, snapshot, len(items), at)
    # By columns: then every step of `assemble` runs over neighbouring numbers, in a third of the time.
    values = np.asfortranarray(snapshot.rows(items)[0])
    scorer = Scorer(design, problem, model.bundle, meta, values, at)
    # The query keeps twice its limit, and one thread of it feeds all that score.
    chunks = newest(home, problem, at, threads=1, memory_mib=max(use.memory_mib // QUERY_SHARE, 64))
    name = run_name(at, snapshot.version)
    with new_run(home, model.version, model.bundle.digest, name) as folder:
        users, by_model, largest = _write(folder, meta, items, scored(scorer, chunks, use.threads))
        if not users:
            raise UserError(f"{home.feast}: found no user to score; run `mlsd features`")
        known = meta.model_copy(update={"reasons": scorer.reasons})
        (folder / "meta.json").write_text(known.model_dump_json(), encoding="utf-8")
        place = folder.parent / name
    forget_before(home, at - timedelta(hours=use.max_age_h))
    seconds = time.perf_counter() - began
    return Written(place, users, by_model * len(items), seconds, max(largest - before, 0) / MIB)
