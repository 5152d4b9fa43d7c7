"""What people like a user like: the prior of an interest vector before there are interactions of the user's own."""

import numpy as np
import pandas as pd

from feed_ranking.history.events import Events, codes
from feed_ranking.history.pit import Floats, Ints, Log
from feed_ranking.history.rates import rates

PRIOR = 100.0
"""Impressions at everyone's rate that a group's rate of a category starts from: a small group has everyone's taste."""


def group_taste(users: pd.DataFrame, events: Events, keys: Ints, times: Ints) -> Floats:
    """How much more (below 0: less) the user's country and age band like each category than everyone, [m, slots].

    The logarithm of one rate over the other, as popularity is the logarithm of a count: they add up.
    Near 0 for everyone when the data has one group only, as MovieLens.
    """
    pair = pd.Series(list(zip(users["country"].astype(str), users["age_band"].astype(str), strict=True)))
    group = codes(pair)
    imp, pos = events.impressions, events.positives
    # Few distinct (group, time): counted once for all users of the group.
    distinct, back = np.unique(np.column_stack([group[keys], times]), axis=0, return_inverse=True)
    at = distinct[:, 1]

    def logs(shown: Ints, liked: Ints) -> tuple[Log, Log]:
        return Log.of(shown, imp.at, events.slots[imp.item]), Log.of(liked, pos.at, events.slots[pos.item])

    everyone = rates(*logs(np.zeros_like(imp.user), np.zeros_like(pos.user)), np.zeros_like(at), at)
    shown, liked = (log.before(distinct[:, 0], at) for log in logs(group[imp.user], group[pos.user]))
    found = np.log((liked + PRIOR * everyone) / (shown + PRIOR) / everyone)
    return np.asarray(found[back.reshape(-1)])
