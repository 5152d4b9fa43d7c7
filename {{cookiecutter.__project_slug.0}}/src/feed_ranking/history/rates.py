"""Smoothed rates and the shape of a Feast source table, shared by users, sessions and posts."""

import numpy as np
import pandas as pd

from feed_ranking.columns import PRIOR_RATE
from feed_ranking.features import hours
from feed_ranking.history.pit import Floats, Ints, Log
from mlsd.data.storage import utc

HOUR = 3_600_000_000
DAY = 24 * HOUR
PRIOR = 20.0
"""Impressions that every smoothed rate starts from, at `PRIOR_RATE`."""


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


def rates(shown: Log, liked: Log, keys: Ints, times: Ints) -> Floats:
    """Positives over impressions [m, k] of each key before each time, from `PRIOR` impressions at `PRIOR_RATE` on.

    The prior is a constant: one that followed the rate of everyone would move the values of all who have few
    impressions together, which monitoring then takes for drift.
    """
    return np.asarray((liked.before(keys, times) + PRIOR * PRIOR_RATE) / (shown.before(keys, times) + PRIOR))


def mean_before(log: Log, keys: Ints, times: Ints, everyone: Log, weight: float) -> Floats:
    """Mean [m, k] of `log` (first column: ones) before each time, drawn to everyone's by `weight` events."""
    mine, total = log.before(keys, times), everyone.before(np.zeros_like(keys), times)
    general = total[:, 1:] / np.maximum(total[:, :1], 1)
    return np.asarray((mine[:, 1:] + weight * general) / (mine[:, :1] + weight))
