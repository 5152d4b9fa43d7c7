"""The tables as arrays: indices instead of ids, microseconds instead of timestamps, category slots instead of names."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feed_ranking.columns import SLOTS
from feed_ranking.history.pit import Floats, Ints, micros
from feed_ranking.labels import is_positive
from mlsd.data.storage import naive
from mlsd.design.design import Design
from mlsd.problem.tables import Tables


@dataclass(frozen=True)
class Shown:
    """Impressions or engagements: user and item indices, time, weekend flag, whether positive, value."""

    user: Ints
    item: Ints
    at: Ints
    weekend: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    value: Floats

    def where(self, mask: NDArray[np.bool_]) -> "Shown":
        """The rows of `mask`."""
        return Shown(
            self.user[mask], self.item[mask], self.at[mask], self.weekend[mask], self.positive[mask], self.value[mask]
        )


@dataclass(frozen=True)
class Events:
    """Everything the features are computed from; engagements are in order of time."""

    impressions: Shown
    engagements: Shown
    positives: Shown
    slots: Floats
    user_created: Ints
    item_created: Ints


def codes(values: pd.Series) -> Ints:
    """A number per distinct value in order of first appearance, which later rows cannot change, [n]."""
    return np.asarray(pd.factorize(values)[0], dtype=np.int64)


def slot_matrix(categories: pd.Series) -> Floats:
    """[N, SLOTS]: 1 where an item has the slot's category; slots are given out in order of appearance, then shared."""
    exploded = categories.explode().dropna()
    matrix = np.zeros((len(categories), SLOTS))
    matrix[exploded.index.to_numpy(), codes(exploded) % SLOTS] = 1
    return matrix


def _shown(rows: pd.DataFrame, users: pd.Index, items: pd.Index, positive: NDArray[np.bool_], value: Floats) -> Shown:
    at = naive(rows["at"])
    weekend = ((at.astype("datetime64[D]").astype(np.int64) + 3) % 7) >= 5
    user, item = (index.get_indexer(pd.Index(rows[index.name])) for index in (users, items))
    return Shown(user, item, micros(at), weekend, positive, value)


def arrays(tables: Tables, design: Design) -> Events:
    """Tables (users and items with a plain index) as arrays."""
    users, items = pd.Index(tables.users["user_id"]), pd.Index(tables.items["item_id"])
    shown = tables.impressions
    nothing = np.zeros(len(shown), dtype=bool)
    engaged = tables.engagements.sort_values(["at", "impression_id"], kind="stable", ignore_index=True)
    value = np.log1p(np.maximum(engaged["value"].to_numpy(dtype=np.float64), 0))
    engagements = _shown(engaged, users, items, is_positive(engaged, design), value)
    return Events(
        impressions=_shown(shown, users, items, nothing, np.zeros(len(shown))),
        engagements=engagements,
        positives=engagements.where(engagements.positive),
        slots=slot_matrix(tables.items["categories"]),
        user_created=micros(naive(tables.users["created_at"])),
        item_created=micros(naive(tables.items["created_at"])),
    )
