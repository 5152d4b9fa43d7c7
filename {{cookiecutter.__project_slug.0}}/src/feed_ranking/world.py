"""A synthetic feed with planted truth: users and posts arrive, posts are shown, people react, answers come late."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feed_ranking.columns import DEVICES
from feed_ranking.truth import FIRST_ITEM, FIRST_USER, HOUR, WORLD_END, Times, Truth, plant, react
from mlsd.core.errors import UserError
from mlsd.data.storage import utc
from mlsd.design.design import Design
from mlsd.problem.tables import Tables

CATEGORIES = (
    "art", "books", "business", "cars", "comedy", "diy", "fashion", "film", "food", "games",
    "health", "history", "music", "nature", "news", "politics", "science", "sport", "tech", "travel",
)  # fmt: skip
_DAY_PROFILE = np.array([2, 1, 1, 1, 1, 2, 4, 6, 7, 6, 5, 6, 7, 6, 5, 5, 6, 7, 9, 10, 10, 9, 6, 4], dtype=float)


def users_table(truth: Truth) -> pd.DataFrame:
    """One row per user, in order of arrival."""
    bands = np.array(["18-24", "25-34", "35-44", "45-54", "55-64", "65+"])
    return pd.DataFrame(
        {
            "user_id": np.arange(len(truth.group)) + FIRST_USER,
            "created_at": utc(truth.user_created),
            "country": np.array(["BR", "DE", "IN", "US"])[truth.country],
            "age_band": bands[truth.group],
        }
    )


def items_table(truth: Truth) -> pd.DataFrame:
    """One row per post, in order of arrival."""
    names = np.array(CATEGORIES, dtype=object)
    categories = [list(names[row > 0]) for row in truth.slots]
    return pd.DataFrame(
        {
            "item_id": np.arange(len(truth.author)) + FIRST_ITEM,
            "author_id": truth.author + 1,
            "author_followers": truth.followers,
            "title": [f"Post {k} on {' and '.join(c)}" for k, c in enumerate(categories)],
            "categories": categories,
            "created_at": utc(truth.item_created),
        }
    )


def pool(truth: Truth, at: np.datetime64, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Retrieval: up to `size` of the posts that exist at `at`, newer ones more likely, item indices."""
    known = int(np.searchsorted(truth.item_created, at))
    age = (at - truth.item_created[:known]) / HOUR
    size = min(size, max(known // 3, 1))
    keys = np.log(np.exp(-age / 72) + 0.02) + rng.gumbel(size=known)
    return np.argpartition(-keys, size - 1)[:size]


def _request_times(rng: np.random.Generator, days: int, per_day: int) -> Times:
    start = WORLD_END - days * 24 * HOUR
    hour = rng.choice(24, (days, per_day), p=_DAY_PROFILE / _DAY_PROFILE.sum())
    offset = (np.arange(days)[:, None] * 24 + hour + rng.random((days, per_day))) * 3.6e9
    return np.sort(start + offset.ravel().astype("timedelta64[us]"))


def _request_users(truth: Truth, at: Times, rng: np.random.Generator) -> NDArray[np.int64]:
    """Someone who has joined by then; active people come more often."""
    total = np.cumsum(truth.activity)
    known = np.maximum(np.searchsorted(truth.user_created, at), 1)
    return np.asarray(np.searchsorted(total, rng.random(len(at)) * total[known - 1]), dtype=np.int64)


def _shown_items(truth: Truth, at: Times, design: Design, rng: np.random.Generator) -> NDArray[np.int64]:
    """[requests, shown] item indices: the pool is drawn once an hour, a request is shown a random part of it.

    Raises:
        UserError: the world is too small for so many a request.
    """
    shown = design.data.synthetic.shown
    hour = at.astype("datetime64[h]")
    result = np.empty((len(at), shown), dtype=np.int64)
    for start in np.unique(hour):
        rows = np.flatnonzero(hour == start)
        items = pool(truth, start.astype("datetime64[us]"), design.scale.candidates, rng)
        if len(items) < shown:
            raise UserError(
                f"design.yaml: data.synthetic.shown: found {shown}, expected at most {len(items)}: no more posts can "
                f"be retrieved at {start}; more data.synthetic.items help (found {design.data.synthetic.items}), "
                f"scale.candidates bounds it (found {design.scale.candidates})"
            )
        order = rng.random((len(rows), len(items))).argsort(axis=1)[:, :shown]
        result[rows] = items[order]
    return result


def synthesise(design: Design) -> Tables:
    """The whole world, the same for the same seed and size."""
    truth, size = plant(design), design.data.synthetic
    rng = np.random.default_rng([design.data.seed, 2])
    at = _request_times(rng, size.days, size.requests_per_day)
    user = np.repeat(_request_users(truth, at, rng), size.shown)
    item = _shown_items(truth, at, design, rng).ravel()
    device = np.array(DEVICES)[rng.choice(3, len(at), p=[0.6, 0.3, 0.1])]
    impressions = pd.DataFrame(
        {
            "impression_id": np.arange(len(item)) + 1,
            "request_id": np.repeat([f"r{k:07d}" for k in range(len(at))], size.shown),
            "user_id": user + FIRST_USER,
            "item_id": item + FIRST_ITEM,
            "position": np.tile(np.arange(size.shown), len(at)),
            "device": np.repeat(device, size.shown),
            "at": utc(np.repeat(at, size.shown)),
        }
    )
    reactions = react(truth, impressions, rng.random((len(item), 6)), user, item)
    heard = reactions[reactions["at"] <= pd.Timestamp(WORLD_END, tz="UTC")].reset_index(drop=True)
    return Tables(users_table(truth), items_table(truth), impressions, heard)
