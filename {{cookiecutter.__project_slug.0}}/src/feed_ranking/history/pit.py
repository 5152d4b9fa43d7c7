"""Point-in-time arithmetic: what was known about a key strictly before a moment, for many rows at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]
_GRAIN = 2.0**20


def micros(times: Times) -> Ints:
    """UTC times as microseconds since 1970, [n]."""
    return times.astype("datetime64[us]").astype(np.int64)


@dataclass(frozen=True)
class Log:
    """Events by key and time: keys [n], times [n] in microseconds, running totals [n + 1, k] of their weights."""

    keys: Ints
    times: Ints
    totals: Floats

    @classmethod
    def of(cls, keys: Ints, times: Ints, weights: Floats) -> "Log":
        """Events of `keys` [n] at `times` [n] with `weights` [n] or [n, k].

        Weights are rounded to multiples of 2**-20: every sum is then exact, and no later event changes its last bit.
        """
        columns = np.round(weights.reshape(len(keys), -1) * _GRAIN) / _GRAIN
        order = np.lexsort((times, keys))
        totals = np.zeros((len(keys) + 1, columns.shape[1]))
        np.cumsum(columns[order], axis=0, out=totals[1:])
        return cls(keys[order], times[order], totals)

    def _position(self, keys: Ints, times: Ints) -> Ints:
        """How many events sort before (key, time), [m]; an event at that very time does not."""
        distinct = np.unique(np.concatenate([self.times, times]))
        span = len(distinct) + 1
        mine = self.keys * span + np.searchsorted(distinct, self.times)
        return np.searchsorted(mine, keys * span + np.searchsorted(distinct, times))

    def before(self, keys: Ints, times: Ints, *, window: int | None = None, last: int | None = None) -> Floats:
        """Sums [m, k] over events of each key before each time: all, those in a `window` in microseconds, or `last`."""
        end = self._position(keys, times)
        start = np.searchsorted(self.keys, keys)
        if window is not None:
            start = np.maximum(start, self._position(keys, times - window))
        if last is not None:
            start = np.maximum(start, end - last)
        return np.asarray(self.totals[end] - self.totals[start])

    def latest(self, keys: Ints, times: Ints, missing: int) -> Ints:
        """Time of the newest event of each key before each time, [m]; `missing` where there is none."""
        end = self._position(keys, times)
        found = end > np.searchsorted(self.keys, keys)
        padded = np.concatenate([[missing], self.times])
        return np.where(found, padded[end], missing)


@dataclass(frozen=True)
class Schedule:
    """When stored values are written anew, in microseconds.

    At creation, at the first multiple of `cadence` after each event, for everyone at each multiple of `max_gap`
    between `start` and `end` whether something happened or not, and for everyone at `moments`; nothing after `end`.
    """

    start: int
    end: int
    cadence: int
    max_gap: int
    moments: Ints

    def rows(self, created: Ints, keys: Ints, times: Ints) -> tuple[Ints, Ints]:
        """(keys [m], times [m]), sorted and distinct, from creation times [n] and events (`keys`, `times`)."""
        ticks = np.arange(self.start // self.max_gap, self.end // self.max_gap + 1) * self.max_gap
        everyone = np.arange(len(created))
        parts = [(everyone, created), (keys, (times // self.cadence + 1) * self.cadence)]
        parts += [(everyone, np.full(len(created), tick)) for tick in np.unique(np.concatenate([ticks, self.moments]))]
        pairs = np.concatenate([np.column_stack(part) for part in parts])
        pairs = pairs[(pairs[:, 1] <= self.end) & (pairs[:, 1] >= created[pairs[:, 0]])]
        pairs = np.unique(pairs, axis=0)
        return pairs[:, 0], pairs[:, 1]
