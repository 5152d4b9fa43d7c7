"""The live answers of a release, record by record, as rows of columns."""

from collections.abc import Iterable, Iterator
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from mlsd.core.home import Home
from mlsd.evaluation.binning import Values
from mlsd.prediction_log.record import Record
from mlsd.prediction_log.writer import read_records
from mlsd.problem.problem import Problem
from mlsd.serving.inference.replay import Snapshots, matrix
from mlsd.tasks.ranking.ranking import POPULARITY

SCORE = "score"
TOP = 10


def live(home: Home, release_id: int, after: datetime) -> Iterator[Record]:
    """What users got from one release after a time; mirrored copies are left out."""
    records = read_records(home.feature_log, after)
    return (record for record in records if record.release_id == release_id and record.role == "live")


def columns(record: Record, problem: Problem, snapshots: Snapshots) -> Values:
    """Features and score of one request, [n, F + 1]; a fallback's score is NaN, for it is not the model's."""
    features = matrix(record, problem, snapshots)
    scores = np.full(len(features), np.nan) if record.engine == POPULARITY else record.scores
    return np.column_stack([features, scores]).astype(np.float32)


def _random_rows(request: Values, count: int, generator: np.random.Generator) -> Values:
    return request[generator.integers(len(request), size=count)]


def sampled(records: Iterable[Record], problem: Problem, snapshots: Snapshots, per_request: int) -> NDArray[np.float32]:
    """Rows drawn at random from each request, [requests, per_request, F + 1]."""
    generator = np.random.default_rng(0)
    rows = [_random_rows(columns(each, problem, snapshots), per_request, generator) for each in records]
    return np.stack(rows) if rows else np.empty((0, per_request, len(problem.feature_names) + 1), np.float32)
