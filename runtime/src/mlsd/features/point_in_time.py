"""Feast's point-in-time join: for each labelled row the values that were stored at its time."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.data.slices import SLICES, slices
from mlsd.data.storage import load_tables, naive
from mlsd.design.design import Design
from mlsd.features.materialise import quiet
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

_CHUNK = 100_000


def join(
    store: "FeatureStore", home: Home, keys: "pd.DataFrame", views: Mapping[str, Sequence[str]]
) -> NDArray[np.float32]:
    """Feast's point-in-time join: [n, C] for keys (entity id, event_timestamp) [n], NaN where nothing was stored.

    Each distinct key is joined once and must come back exactly once: some offline stores lose or double rows.

    Raises:
        UserError: a row was lost or doubled, or a view is not part of the repository.
    """
    entity = keys.columns[0]
    distinct = keys.drop_duplicates().reset_index(drop=True)
    distinct["row_id"] = np.arange(len(distinct))
    names = [column for columns in views.values() for column in columns]
    references = [f"{view}:{column}" for view, columns in views.items() for column in columns]
    with quiet(home):
        joined = store.get_historical_features(distinct, references).to_df()
    found = np.sort(joined["row_id"].to_numpy())
    if not np.array_equal(found, distinct["row_id"].to_numpy()):
        raise UserError(
            f"point-in-time join of {', '.join(views)} on {entity}: {len(distinct)} rows in, {len(found)} out, "
            f"{len(np.unique(found))} distinct; no training set was written"
        )
    values: NDArray[np.float32] = joined.sort_values("row_id")[names].to_numpy(dtype=np.float32)
    position = keys.merge(distinct, how="left", on=list(keys.columns))["row_id"].to_numpy()
    return np.asarray(values[position])


def _filled(values: NDArray[np.float32], defaults: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.where(np.isnan(values), defaults, values)


def assemble_rows(store: "FeatureStore", context: Context, rows: "pd.DataFrame") -> "pd.DataFrame":
    """Rows (row_id, request_id, user_id, item_id, device, at, label) with slices, popularity and every feature."""
    import pandas as pd

    design, home, problem = context.design, context.home, context.problem
    at = rows["at"].rename("event_timestamp")
    user_views = {view: list(columns) for view, columns in problem.user_views.items()}
    users = join(store, home, pd.concat([rows["user_id"], at], axis=1), user_views)
    item_views = {view: list(problem.item_columns) for view in _item_views(store, design, problem)}
    items = join(store, home, pd.concat([rows["item_id"], at], axis=1), item_views)
    users, items = _filled(users, problem.user_defaults), _filled(items, problem.item_defaults)
    moments = problem.context(naive(rows["at"]), rows["device"].to_numpy(dtype=str))
    parts = range(0, len(rows), _CHUNK)
    matrix = [problem.assemble(users[k : k + _CHUNK], items[k : k + _CHUNK], moments[k : k + _CHUNK]) for k in parts]
    features = np.concatenate(matrix) if matrix else np.empty((0, len(problem.feature_names)), np.float32)
    frame = rows[["row_id", "request_id", "user_id", "item_id", "at", "label"]].reset_index(drop=True)
    interactions = np.array([problem.interactions(user) for user in users])
    flags = slices(load_tables(home), rows, interactions, design)
    for name in SLICES:
        frame[f"slice_{name}"] = flags[name]
    frame["popularity"] = problem.popularity(items)
    return pd.concat([frame, pd.DataFrame(features, columns=list(problem.feature_names))], axis=1)


def _item_views(store: "FeatureStore", design: Design, problem: Problem) -> list[str]:
    """The views of the feature service that are keyed by item."""
    service = store.get_feature_service(design.features.service)
    batch = {view.name for view in store.list_batch_feature_views()}
    names = [p.name for p in service.feature_view_projections]
    missing = set(problem.user_views) - set(names)
    if missing:
        raise UserError(f"feature service {service.name}: found no view {', '.join(sorted(missing))}")
    return [name for name in names if name in batch and name not in problem.user_views]
