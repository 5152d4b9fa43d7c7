"""Stored values of posts: age, popularity by window, engagement rates, categories; written a few times a day."""

import numpy as np
import pandas as pd

from feed_ranking.columns import POST_VIEW
from feed_ranking.history.embedding import Embedding
from feed_ranking.history.events import Events, Shown, codes
from feed_ranking.history.pit import Floats, Ints, Log
from feed_ranking.history.rates import DAY, HOUR, as_hours, frame, mean_before, rates

_WINDOWS = (DAY, 7 * DAY, 90 * DAY, 365 * DAY)
_SHRINK = 3.0


def _popularity(events: Events, keys: Ints, times: Ints) -> Floats:
    """Logarithm of positives: of all time and of each window, [m, 5]."""
    pos = events.positives
    log = Log.of(pos.item, pos.at, np.ones(len(pos.at)))
    counts = [log.before(keys, times)] + [log.before(keys, times, window=window) for window in _WINDOWS]
    return np.log1p(np.column_stack(counts))


def _first_hour(events: Events, rows: Shown) -> Shown:
    return rows.where(rows.at < events.item_created[rows.item] + HOUR)


def _rates(events: Events, keys: Ints, times: Ints, author: Ints) -> list[Floats]:
    """CTR, CTR in the first hour, CTR of the author's posts, each [m, 1]."""
    imp, pos = events.impressions, events.positives
    early_imp, early_pos = _first_hour(events, imp), _first_hour(events, pos)

    def rate(shown: Shown, liked: Shown, group: Ints) -> Floats:
        logs = [Log.of(group[rows.item], rows.at, np.ones(len(rows.at))) for rows in (shown, liked)]
        return rates(logs[0], logs[1], group[keys], times)

    posts = np.arange(len(events.item_created))
    return [rate(imp, pos, posts), rate(early_imp, early_pos, posts), rate(imp, pos, author)]


def _weekend_lift(events: Events, keys: Ints, times: Ints) -> Floats:
    """Weekend rate over weekday rate of the post's categories, from everyone before each time, [m]."""
    moments, row = np.unique(times, return_inverse=True)
    everyone = np.zeros_like(moments)

    def rate(weekend: bool) -> Floats:
        parts = [rows.where(rows.weekend == weekend) for rows in (events.impressions, events.positives)]
        logs = [Log.of(np.zeros_like(part.at), part.at, events.slots[part.item]) for part in parts]
        return rates(logs[0], logs[1], everyone, moments)

    lift = rate(True) / rate(False)
    mine = events.slots[keys]
    return np.asarray((lift[row] * mine).sum(axis=1) / np.maximum(mine.sum(axis=1), 1))


def post_history(items: pd.DataFrame, events: Events, keys: Ints, times: Ints, embedding: Embedding) -> pd.DataFrame:
    """The `post` source: one row per item index and time of `keys`, `times` [m]."""
    engaged, imp = events.engagements, events.impressions
    weights = np.column_stack([np.ones(len(engaged.at)), engaged.value])
    log, everyone = Log.of(engaged.item, engaged.at, weights), Log.of(np.zeros_like(engaged.item), engaged.at, weights)
    seen = Log.of(imp.item, imp.at, np.ones(len(imp.at))).before(keys, times)
    ctr, velocity, author_ctr = _rates(events, keys, times, codes(items["author_id"]))
    columns = [
        as_hours(events.item_created[keys]),
        np.log1p(items["author_followers"].to_numpy(dtype=np.float64))[keys],
        np.log1p(seen[:, 0]),
        _popularity(events, keys, times),
        ctr,
        velocity,
        mean_before(log, keys, times, everyone, _SHRINK),
        author_ctr,
        _weekend_lift(events, keys, times),
        events.slots[keys].sum(axis=1),
        events.slots[keys],
        embedding.items(keys, times),
    ]
    return frame("item_id", items["item_id"].to_numpy()[keys], times, POST_VIEW, columns)
