"""A user's own engagements as canonical tables: what was not engaged with is sampled as shown, in order of time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlsd.core.errors import UserError
from mlsd.data.files import read_mapped
from mlsd.data.storage import TABLE_NAMES, naive, utc
from mlsd.design.design import Design
from mlsd.design.sections import Mapping
from mlsd.problem.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

UNKNOWN = "unknown"
_DAYS_BEFORE_1970 = 1_000_000
"""Keeps the seed of a day positive."""


@dataclass(frozen=True)
class Request:
    """What one user could have been shown on one day."""

    name: str
    user: int
    at: np.datetime64
    items: NDArray[np.int64]


def _engagements(folder: Path, mapping: Mapping) -> "pd.DataFrame":
    frame = read_mapped(
        folder, mapping.engagements, {"user_id": "id", "item_id": "id", "at": "time"}, {"value": "number"}
    )
    if "value" not in frame:
        frame["value"] = 1.0
    frame["event"] = "rating"
    return frame.sort_values(["at", "user_id", "item_id"], ignore_index=True)


def _users(folder: Path, mapping: Mapping, engagements: "pd.DataFrame") -> "pd.DataFrame":
    first = engagements.groupby("user_id")["at"].min().rename("created_at").reset_index()
    if mapping.users is None:
        users = first
    else:
        users = read_mapped(
            folder, mapping.users, {"user_id": "id"}, {"created_at": "time", "country": "text", "age_band": "text"}
        )
        if "created_at" not in users:
            users = users.merge(first, how="left", on="user_id")
            users["created_at"] = users["created_at"].fillna(engagements["at"].max())
    for name in ("country", "age_band"):
        users[name] = users.get(name, UNKNOWN)
    return users[["user_id", "created_at", "country", "age_band"]].sort_values(
        ["created_at", "user_id"], ignore_index=True
    )


def _items(folder: Path, mapping: Mapping, engagements: "pd.DataFrame") -> "pd.DataFrame":
    """An item without a time of creation exists from its first engagement on, or from the end of the data."""
    items = read_mapped(
        folder,
        mapping.items,
        {"item_id": "id"},
        {"title": "text", "categories": "list", "created_at": "time", "author_id": "id", "author_followers": "id"},
    )
    if "created_at" not in items:
        first = engagements.groupby("item_id")["at"].min()
        items["created_at"] = items["item_id"].map(first).fillna(engagements["at"].max())
    items["title"] = items.get("title", "")
    if "categories" not in items:
        items["categories"] = [[] for _ in range(len(items))]
    for name in ("author_id", "author_followers"):
        items[name] = items.get(name, 0)
    names = ["item_id", "author_id", "author_followers", "title", "categories", "created_at"]
    return items[names].sort_values(["created_at", "item_id"], ignore_index=True)


def _request_items(
    liked: NDArray[np.int64], engaged: set[int], known: NDArray[np.int64], count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Positives that were known, and `count` known items that the user has not engaged with so far."""
    draw = rng.choice(known, min(count + len(engaged), len(known)), replace=False)
    others = [item for item in draw.tolist() if item not in engaged][:count]
    return np.sort(np.concatenate([liked, np.array(others, dtype=np.int64)]))


def _user_days(engagements: "pd.DataFrame") -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(microseconds of the UTC day, row numbers) for each user and day, in order of days."""
    day = naive(engagements["at"]).astype("datetime64[D]").astype(np.int64)
    order = np.lexsort((engagements["user_id"].to_numpy(), day))
    keys = np.column_stack([day, engagements["user_id"].to_numpy()])[order]
    starts = np.flatnonzero(np.any(np.diff(keys, axis=0, prepend=keys[:1] - 1) != 0, axis=1))
    for rows in np.split(order, starts[1:]):
        yield int(day[rows[0]]), np.sort(rows)


def _requests(items: "pd.DataFrame", engagements: "pd.DataFrame", mapping: Mapping, seed: int) -> list[Request]:
    """One request per user and UTC day that has a positive; its time is the day's first engagement of that user."""
    created, ids = naive(items["created_at"]), items["item_id"].to_numpy()
    created_of = dict(zip(ids.tolist(), created, strict=True))
    user_of, item_of, value_of = (engagements[name].to_numpy() for name in ("user_id", "item_id", "value"))
    times, liked_of = naive(engagements["at"]), value_of >= mapping.positive_from
    engaged: dict[int, set[int]] = {}
    requests = []
    for day, rows in _user_days(engagements):
        user, at = int(user_of[rows[0]]), times[rows[0]]
        seen = engaged.setdefault(user, set())
        seen.update(item_of[rows].tolist())
        positive = np.unique(item_of[rows][liked_of[rows]])
        liked = np.array([item for item in positive.tolist() if created_of.get(item, at) < at], dtype=np.int64)
        if len(liked):
            known = ids[: np.searchsorted(created, at)]
            rng = np.random.default_rng([seed, 4, user, day + _DAYS_BEFORE_1970])
            shown = _request_items(liked, seen, known, mapping.sampled_negatives, rng)
            requests.append(Request(f"u{user}-{np.datetime64(day, 'D')}", user, at, shown))
    return sorted(requests, key=lambda request: (request.at, request.name))


def _impressions(requests: list[Request]) -> "pd.DataFrame":
    import pandas as pd

    sizes = [len(request.items) for request in requests]
    return pd.DataFrame(
        {
            "impression_id": np.arange(sum(sizes)) + 1,
            "request_id": np.repeat([request.name for request in requests], sizes),
            "user_id": np.repeat([request.user for request in requests], sizes),
            "item_id": np.concatenate([request.items for request in requests]),
            "position": np.concatenate([np.arange(size) for size in sizes]),
            "device": UNKNOWN,
            "at": utc(np.repeat(np.array([request.at for request in requests]), sizes)),
        }
    )


def read_tables(design: Design) -> Tables:
    """The tables of `data.source` from the files in `data.path`.

    Raises:
        UserError: a file or column is missing, empty or not readable.
    """
    mapping, folder = design.data.mappings[design.data.source], Path(str(design.data.path))
    engagements = _engagements(folder, mapping)
    users, items = _users(folder, mapping, engagements), _items(folder, mapping, engagements)
    requests = _requests(items, engagements, mapping, design.data.seed)
    if not requests:
        raise UserError(f"no user has an engagement of {mapping.positive_from:g} or more with an item known before")
    impressions = _impressions(requests)
    day = engagements["at"].dt.strftime("%Y-%m-%d")
    engagements["request_id"] = "u" + engagements["user_id"].astype(str) + "-" + day
    joined = engagements.merge(
        impressions[["request_id", "item_id", "impression_id"]], how="left", on=["request_id", "item_id"]
    )
    joined["impression_id"] = joined["impression_id"].astype("Int64")
    names = ["impression_id", "user_id", "item_id", "event", "value", "at"]
    return Tables(users, items, impressions, joined[names])


def hold_back(tables: Tables, share: float) -> tuple[Tables, Tables]:
    """(history, live): the last `share` of requests, and all that is newer, is played as live traffic later."""
    starts = tables.impressions.groupby("request_id")["at"].first().sort_values()
    if share <= 0 or len(starts) < 2:
        return tables, Tables(*(getattr(tables, name).iloc[:0] for name in TABLE_NAMES))
    moment = starts.iloc[min(int(len(starts) * (1 - share)), len(starts) - 1)]
    times = {"users": "created_at", "items": "created_at", "impressions": "at", "engagements": "at"}
    frames = {name: (getattr(tables, name), getattr(tables, name)[column] < moment) for name, column in times.items()}
    past = {name: frame[mask].reset_index(drop=True) for name, (frame, mask) in frames.items()}
    live = {name: frame[~mask].reset_index(drop=True) for name, (frame, mask) in frames.items()}
    return Tables(**past), Tables(**live)
