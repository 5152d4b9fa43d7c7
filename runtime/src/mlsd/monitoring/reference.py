"""What a release's live traffic is compared with: its own first requests after it became champion.

The bins of the model's manifest come from rows that were *shown* to users in training. Served rows are whole pools of
candidates, picked by retrieval: they differ from shown rows in every popularity and age feature without anything having
moved, and a comparison would alert for ever. So the release's first 500 requests are its serving reference, stored
with the release; the distance to the training rows is told beside it and alerts nobody.
"""

from datetime import datetime
from itertools import islice
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json
from mlsd.delivery.releases.records import Release
from mlsd.evaluation.binning import Values, inner_edges
from mlsd.evaluation.bins import Bins
from mlsd.monitoring.served_rows import SCORE, live, sampled
from mlsd.monitoring.windows import Layout, Window, observe
from mlsd.prediction_log.record import Record
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.serving.inference.replay import Snapshots, snapshots

# Expected PSI without drift is (bins - 1)(1/n + 1/m): at 500 requests against 500 it is 0.04, far below 0.2.
REQUESTS = 500
ROWS_PER_REQUEST = 40


class Column(BaseModel):
    """One feature, or the score: its bins, and one value per request for Kolmogorov-Smirnov (missing left out)."""

    bins: Bins
    per_request: bool
    sample: list[float]


class Reference(BaseModel):
    """Where a release's traffic stood when it took over."""

    release_id: int
    model_digest: str
    start: datetime
    end: datetime
    requests: int
    rows: int
    columns: dict[str, Column]
    devices: dict[str, int]

    @property
    def layout(self) -> Layout:
        """The bins that later windows are counted into."""
        edges = {name: np.asarray(column.bins.edges, np.float32) for name, column in self.columns.items()}
        return Layout(edges, frozenset(name for name, column in self.columns.items() if column.per_request))


def _layout(rows: Values, names: tuple[str, ...]) -> Layout:
    """Edges from sampled rows [requests, rows, F + 1]; what never varies within a request belongs to the request."""
    same = np.all((rows == rows[:, :1]) | (np.isnan(rows) & np.isnan(rows[:, :1])), axis=(0, 1))
    edges = {name: inner_edges(rows[:, 0, k] if same[k] else rows[:, :, k].ravel()) for k, name in enumerate(names)}
    return Layout(edges, frozenset(name for k, name in enumerate(names) if same[k] and name != SCORE))


def take(records: list[Record], problem: Problem, snapshots: Snapshots, new_below: int) -> Reference:
    """Make a reference of a release's first requests; there must be at least one."""
    names = (*problem.feature_names, SCORE)
    layout = _layout(sampled(records, problem, snapshots, ROWS_PER_REQUEST), names)
    window = observe(records, problem, snapshots, layout, new_below)
    return _recorded(records[0], window, names, layout)


def _recorded(first: Record, window: Window, names: tuple[str, ...], layout: Layout) -> Reference:
    sample = window.sample
    columns = {
        name: Column(
            bins=window.bins[name],
            per_request=name in layout.per_request,
            sample=np.sort(sample[~np.isnan(sample[:, k]), k]).tolist(),
        )
        for k, name in enumerate(names)
    }
    return Reference(
        release_id=first.release_id,
        model_digest=first.model_digest,
        start=window.start or first.at,
        end=window.end or first.at,
        requests=window.requests,
        rows=window.rows,
        columns=columns,
        devices=dict(window.devices),
    )


def path_of(home: Home, release_id: int) -> Path:
    """One file per release."""
    return home.root / "references" / f"{release_id}.json"


def load(home: Home, release_id: int, model_digest: str) -> Reference | None:
    """The stored reference of a release; None if there is none yet.

    Raises:
        UserError: the file is damaged, or was made for another model.
    """
    path = path_of(home, release_id)
    try:
        found = Reference.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path}: damaged ({str(error).splitlines()[0]}); delete it, it is taken again") from None
    if found.model_digest != model_digest:
        raise UserError(f"{path}: made for model {found.model_digest[:12]}, live is {model_digest[:12]}; delete it")
    return found


def store(home: Home, reference: Reference) -> None:
    """Keep it with the release."""
    write_json(path_of(home, reference.release_id), reference.model_dump(mode="json"))


def _require_same_features(stored: Reference, problem: Problem, path: Path) -> None:
    found, expected = set(stored.columns), {*problem.feature_names, SCORE}
    if found != expected:
        raise UserError(
            f"{path}: found the features of another pack, expected this one's; they differ in "
            f"{', '.join(sorted(found ^ expected))}: the release keeps no pack of its own, so watch the next one"
        )


def of_release(release: Release, context: Context) -> Reference | None:
    """The stored reference; else the release's first requests as champion become it, once there are enough."""
    design, home, problem = context.design, context.home, context.problem
    stored = load(home, release.id, release.model_digest)
    if stored:
        _require_same_features(stored, problem, path_of(home, release.id))
        return stored
    first = list(islice(live(home, release.id, release.since), REQUESTS))
    if len(first) < REQUESTS:
        return None
    taken = take(first, problem, snapshots(home), design.serving.cold_start.min_interactions)
    store(home, taken)
    return taken
