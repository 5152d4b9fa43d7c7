"""Smoothed rates and the shape of a Feast source table, shared by users, sessions and posts."""

import numpy as np
import pandas as pd

from feed_ranking.events import Events
from feed_ranking.features import hours
from feed_ranking.pit import Floats, Ints, Log
from mlsd.data.tables import utc

HOUR = 3_600_000_000
DAY = 24 * HOUR
PRIOR = 20.0
"""Impressions at the base rate that every smoothed rate starts from."""


def as_hours(times: Ints) -> Floats:
    """Microseconds since 1970 as the stored hours."""
    return hours(times.astype("datetime64[us]")).astype(np.float64)


def frame(key: str, ids: Ints, times: Ints, names: tuple[str, ...], columns: list[Floats]) -> pd.DataFrame:
    """A Feast source table: entity key, event_timestamp, then `names` as float32."""
    values = np.column_stack(columns).astype(np.float32)
    result = pd.DataFrame(values, columns=list(names))
    result.insert(0, key, ids)
    result.insert(1, "event_timestamp", utc(times.astype("datetime64[us]")))
    return result


class Rates:
    """Engagement rates at row times [m]; the prior is the rate of everyone before that time."""

    def __init__(self, events: Events, times: Ints) -> None:
        imp, pos = events.impressions, events.positives
        everyone = np.zeros(len(times), dtype=np.int64)
        shown = Log.of(np.zeros_like(imp.at), imp.at, np.ones(len(imp.at))).before(everyone, times)[:, 0]
        liked = Log.of(np.zeros_like(pos.at), pos.at, np.ones(len(pos.at))).before(everyone, times)[:, 0]
        self._times = times
        self.base = (liked + 1) / (shown + PRIOR)

    def of(self, shown: Log, liked: Log, keys: Ints) -> Floats:
        """Positives over impressions [m, k] of each key, for each column of weights, drawn to the base rate."""
        above, below = liked.before(keys, self._times), shown.before(keys, self._times)
        return np.asarray((above + PRIOR * self.base[:, None]) / (below + PRIOR))


def mean_before(log: Log, keys: Ints, times: Ints, everyone: Log, weight: float) -> Floats:
    """Mean [m, k] of the columns of `log` (first column: ones) before each time, drawn to everyone's mean by `weight` events."""
    mine, total = log.before(keys, times), everyone.before(np.zeros_like(keys), times)
    general = total[:, 1:] / np.maximum(total[:, :1], 1)
    return np.asarray((mine[:, 1:] + weight * general) / (mine[:, :1] + weight))
