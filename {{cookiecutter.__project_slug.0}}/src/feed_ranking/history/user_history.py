"""Stored values of users: who they are, how they react, what they like; written anew each day."""

import numpy as np
import pandas as pd

from feed_ranking.columns import INTERACTION_VIEW, PRIOR_RATE, USER_VIEW
from feed_ranking.features import EPOCH
from feed_ranking.history.demographics import group_taste
from feed_ranking.history.embedding import Embedding
from feed_ranking.history.events import Events, codes
from feed_ranking.history.pit import Floats, Ints, Log, micros
from feed_ranking.history.rates import DAY, as_hours, frame, mean_before, rates

_SHRINK = 3.0
_LAST = 10


def _reactions(events: Events, keys: Ints, times: Ints) -> list[Floats]:
    """CTR, weekend CTR, and the rate of each category slot over the prior rate."""
    imp, pos = events.impressions, events.positives
    shown = Log.of(imp.user, imp.at, np.column_stack([np.ones(len(imp.at)), imp.weekend, events.slots[imp.item]]))
    liked = Log.of(pos.user, pos.at, np.column_stack([np.ones(len(pos.at)), pos.weekend, events.slots[pos.item]]))
    found = rates(shown, liked, keys, times)
    return [found[:, :2], found[:, 2:] - PRIOR_RATE]


def _tastes(events: Events, keys: Ints, times: Ints) -> Floats:
    """Mean logarithmic popularity and mean age in hours of what the user liked, [m, 2]."""
    pos = events.positives
    one = np.ones(len(pos.at))
    earlier = Log.of(pos.item, pos.at, one).before(pos.item, pos.at)[:, 0]
    age = np.maximum(pos.at - events.item_created[pos.item], 0) / 3.6e9
    weights = np.column_stack([one, np.log1p(earlier), age])
    mine, everyone = Log.of(pos.user, pos.at, weights), Log.of(np.zeros_like(pos.user), pos.at, weights)
    return mean_before(mine, keys, times, everyone, _SHRINK)


def user_history(users: pd.DataFrame, events: Events, keys: Ints, times: Ints, embedding: Embedding) -> pd.DataFrame:
    """The `user` source: one row per user index and time of `keys`, `times` [m]."""
    engaged, imp = events.engagements, events.impressions
    one = np.ones(len(engaged.at))
    log = Log.of(engaged.user, engaged.at, np.column_stack([one, engaged.value]))
    everyone = Log.of(np.zeros_like(engaged.user), engaged.at, np.column_stack([one, engaged.value]))
    seen = Log.of(imp.user, imp.at, np.ones(len(imp.at))).before(keys, times)
    ctr, affinity = _reactions(events, keys, times)
    active = log.latest(keys, times, int(micros(np.array([EPOCH]))[0]))
    columns = [
        as_hours(events.user_created[keys]),
        codes(users["country"])[keys],
        codes(users["age_band"])[keys],
        np.log1p(seen[:, 0]),
        log.before(keys, times)[:, 0],
        ctr,
        mean_before(log, keys, times, everyone, _SHRINK),
        _tastes(events, keys, times),
        as_hours(active),
        affinity,
        embedding.users(keys, times),
        group_taste(users, events, keys, times),
    ]
    return frame("user_id", users["user_id"].to_numpy()[keys], times, USER_VIEW, columns)


def session_history(users: pd.DataFrame, events: Events, end: int) -> pd.DataFrame:
    """The `interaction` source: a row one microsecond after each engagement (what a push writes)."""
    engaged, pos = events.engagements, events.positives
    rows = np.unique(np.column_stack([engaged.user, engaged.at + 1]), axis=0)
    rows = rows[rows[:, 1] <= end]
    keys, times = rows[:, 0], rows[:, 1]
    counts = Log.of(engaged.user, engaged.at, np.column_stack([np.ones(len(engaged.at)), engaged.positive]))
    weights = np.column_stack([np.ones(len(pos.at)), events.slots[pos.item]])
    recent = Log.of(pos.user, pos.at, weights).before(keys, times, last=_LAST)
    columns = [
        as_hours(times),
        counts.before(keys, times, window=DAY),
        recent[:, 1:] / np.maximum(recent[:, :1], 1),
    ]
    return frame("user_id", users["user_id"].to_numpy()[keys], times, INTERACTION_VIEW, columns)
