"""The same scores again, to the bit, from a logged record: the proof that training and serving compute alike."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.features.items import item_rows
from mlsd.features.snapshot import Snapshot
from mlsd.models.engines.base import EngineUnavailable
from mlsd.models.scoring import Bundle
from mlsd.models.selection import COMPILED, compile_engine, load_engine
from mlsd.prediction_log.record import Record
from mlsd.problem.problem import Problem
from mlsd.tasks.ranking.ranking import INVERTED, POPULARITY, popular

Snapshots = Callable[[str], Snapshot]


def snapshots(home: Home) -> Snapshots:
    """A loader of snapshots by version that keeps the last few in memory."""

    @lru_cache(maxsize=4)
    def load(version: str) -> Snapshot:
        return Snapshot.load(home.snapshots / version)

    return load


@lru_cache(maxsize=4)
def _model(home: Home, version: int, digest: str, engine: str) -> Bundle:
    """The very engine that answered: another one may differ in the last bits."""
    folder = home.model_folder(version, digest)
    try:
        return load_engine(engine, folder, digest, home)
    except EngineUnavailable:
        if engine != COMPILED:
            raise
        return compile_engine(folder, digest, home)


def _require(same: bool, what: str) -> None:
    if not same:
        raise UserError(f"{what}: its columns are not this project's; the features have changed since, no replay")


def _items(record: Record, problem: Problem, load: Snapshots) -> NDArray[np.float32]:
    _require(len(record.user_row) == len(problem.user_columns), f"request {record.request_id}: user row")
    snapshot = load(record.snapshot_version)
    _require(tuple(snapshot.names) == tuple(problem.item_columns), f"snapshot {snapshot.version}")
    return item_rows(snapshot, record.item_ids, problem)[0]


def matrix(record: Record, problem: Problem, load: Snapshots) -> NDArray[np.float32]:
    """The model matrix of a record, [n, F], from its user row, its context and the snapshot it names."""
    return problem.assemble(record.user_row[None, :], _items(record, problem, load), record.context[None, :])


def replay(home: Home, problem: Problem, record: Record, load: Snapshots | None = None) -> NDArray[np.float64]:
    """The scores of a record, [n], with the model, the snapshot and the path that it names.

    Raises:
        UserError: the model or the snapshot is gone, is not the one that answered or of other columns, or its engine is
            not here: what a server elsewhere has scored is not replayed.
    """
    load = load or snapshots(home)
    engine = record.engine.removesuffix(INVERTED)
    if engine == POPULARITY:
        return popular(problem, _items(record, problem, load), record.user_row)
    model = _model(home, record.model_version, record.model_digest, engine)
    _require(tuple(model.manifest.feature_names) == tuple(problem.feature_names), f"model {record.model_version}")
    scores = model.score(matrix(record, problem, load))
    return 1.0 - scores if record.engine.endswith(INVERTED) else scores
