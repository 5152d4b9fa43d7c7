"""Requests to send to the running service, and what people do with the answers."""

import zlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feed_ranking.columns import DEVICES
from feed_ranking.truth import EVERGREEN_H, FIRST_ITEM, FIRST_USER, WORLD_END, Floats, Truth, plant, react
from feed_ranking.world import pool
from mlsd.design.design import Design
from mlsd.problem.tables import Tables

_REQUESTS = 4000
_UNSEEN = 0.02
_MIX = np.uint64(0x9E3779B97F4A7C15)


def _evergreen(truth: Truth) -> NDArray[np.int64]:
    """The planted shift: retrieval falls back to posts older than ten days."""
    age = (WORLD_END - truth.item_created) / np.timedelta64(1, "h")
    return np.flatnonzero(age > min(EVERGREEN_H, np.quantile(age, 0.6)))


def _planted(design: Design, shifted: bool) -> pd.DataFrame:
    truth, size = plant(design), design.scale.candidates
    rng = np.random.default_rng([design.data.seed, 3, int(shifted)])
    total = np.cumsum(truth.activity)
    users = np.searchsorted(total, rng.random(_REQUESTS) * total[-1]) + FIRST_USER
    unseen = rng.random(_REQUESTS) < _UNSEEN
    users[unseen] = FIRST_USER + len(total) + rng.integers(0, 1000, int(unseen.sum()))
    old = _evergreen(truth)

    def draw() -> NDArray[np.int64]:
        return rng.choice(old, min(size, len(old)), replace=False) if shifted else pool(truth, WORLD_END, size, rng)

    return pd.DataFrame(
        {
            "user_id": users,
            "candidates": [list(map(int, draw() + FIRST_ITEM)) for _ in range(_REQUESTS)],
            "device": np.array(DEVICES)[rng.choice(3, _REQUESTS, p=[0.6, 0.3, 0.1])],
        }
    )


def _replayed(tables: Tables, design: Design, shifted: bool) -> pd.DataFrame:
    """The held-back requests again and again, every second for a random known user: any share of users then has some.

    Shifted: candidates are the newest fifth of the items.
    """
    rng = np.random.default_rng([design.data.seed, 3, int(shifted)])
    shown = tables.impressions.groupby("request_id", sort=False)
    own_users = shown["user_id"].first().to_numpy()
    if not own_users.size:
        return pd.DataFrame(columns=["user_id", "candidates", "device"])
    pools = shown["item_id"].agg(list).to_list()
    newest = tables.items.sort_values("created_at")["item_id"].to_numpy()[-max(len(tables.items) // 5, 2) :]
    others = rng.choice(tables.users["user_id"].to_numpy(), _REQUESTS)
    rows = []
    for k in range(_REQUESTS):
        own = pools[k % len(pools)][: design.scale.candidates]
        offered = rng.choice(newest, min(len(own), len(newest)), replace=False).tolist() if shifted else own
        user = others[k] if k % 2 else own_users[k % len(pools)]
        rows.append((int(user), offered, DEVICES[k % len(DEVICES)]))
    return pd.DataFrame(rows, columns=["user_id", "candidates", "device"])


def traffic(tables: Tables, design: Design, *, shifted: bool) -> pd.DataFrame:
    """Requests: user_id, candidates (list of item ids), device; on mapped data `tables` holds those held back."""
    if design.data.source in design.data.mappings:
        return _replayed(tables, design, shifted)
    return _planted(design, shifted)


def _luck(served: pd.DataFrame, seed: int, columns: int) -> Floats:
    """Uniform numbers [n, columns] that depend on the request, the item and the seed only (splitmix64)."""
    request = served["request_id"].map({r: zlib.crc32(r.encode()) for r in served["request_id"].unique()})
    key = (request.to_numpy(dtype=np.uint64) << np.uint64(32)) ^ served["item_id"].to_numpy(dtype=np.uint64)
    result = np.empty((len(served), columns))
    with np.errstate(over="ignore"):
        for k in range(columns):
            x = key + _MIX * np.uint64(seed * 16 + k + 1)
            x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            result[:, k] = ((x ^ (x >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
    return np.maximum(result, 2.0**-53)


def _looked_at(served: pd.DataFrame, shown: int, luck: Floats) -> pd.DataFrame:
    """What a person sees of a list: the first half of the screen by rank, the other half explored at random."""
    order = served.assign(luck=luck[:, -1]).sort_values(["request_id", "position"], kind="stable")
    rank = order.groupby("request_id").cumcount()
    order["luck"] = order["luck"].where(rank >= shown // 2, -1.0)
    order["turn"] = order.groupby("request_id")["luck"].rank(method="first")
    seen = order[order["turn"] <= shown].drop(columns=["luck", "turn"])
    return seen.assign(position=seen.groupby("request_id").cumcount())


def outcomes(served: pd.DataFrame, tables: Tables, design: Design) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Impressions and engagements that follow from served lists; the same request always has the same outcome.

    served: request_id, user_id, item_id, position (the rank in the answer), device, at. Users and items that do not
    exist have no outcome.
    """
    truth, shown = plant(design), design.data.synthetic.shown
    known = served["user_id"].isin(tables.users["user_id"]) & served["item_id"].isin(tables.items["item_id"])
    served = served[known].reset_index(drop=True)
    served["device"] = served["device"].where(served["device"].isin(DEVICES), "unknown")
    seen = _looked_at(served, shown, _luck(served, design.data.seed, 1)).sort_values(["at", "request_id", "position"])
    first = int(tables.impressions["impression_id"].max()) + 1
    seen.insert(0, "impression_id", np.arange(first, first + len(seen)))
    seen = seen[list(tables.impressions.columns)].reset_index(drop=True)
    user = seen["user_id"].to_numpy() - FIRST_USER
    item = seen["item_id"].to_numpy() - FIRST_ITEM
    return seen, react(truth, seen, _luck(seen, design.data.seed + 1, 6), user, item)
