"""A low-rank embedding of users and items from earlier engagements, refitted whenever the history has grown by half."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from feed_ranking.columns import RANK
from feed_ranking.history.pit import Floats, Ints, Log

RowsOf = Callable[["Fit", NDArray[np.bool_]], Floats]

_FIRST_FIT = 1000
_GROWTH = 1.5
_DAMPING = 5.0


def refit_times(times: Ints, cadence: int) -> Ints:
    """The multiples of `cadence` at which the embedding is fitted anew: depend only on events before them, [c]."""
    ordered = np.sort(times)
    counts, count = [], float(_FIRST_FIT)
    while count <= len(ordered):
        counts.append(int(count) - 1)
        count *= _GROWTH
    return np.unique((ordered[counts] // cadence + 1) * cadence)


@dataclass(frozen=True)
class Fit:
    """What a fit leaves: `items` [N, RANK] to be matched, `history` [N, RANK] that a user's likes are summed from."""

    items: Floats
    history: Floats


def _fit(users: Ints, items: Ints, count: int) -> Fit:
    """Truncated singular value decomposition of the damped user-item matrix.

    Only users and items that occur enter the matrix: one that comes later cannot change a bit of an earlier fit.
    The powers of the item counts were chosen on MovieLens: a common item says less about taste, yet is liked more.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import svds

    _, row, per_user = np.unique(users, return_inverse=True, return_counts=True)
    known, column, per_item = np.unique(items, return_inverse=True, return_counts=True)
    shape = (len(per_user), len(per_item))
    fit = Fit(np.zeros((count, RANK)), np.zeros((count, RANK)))
    if min(shape) <= RANK:
        return fit
    weight = 1 / np.sqrt((per_user[row] + _DAMPING) * (per_item[column] + _DAMPING))
    matrix = coo_matrix((weight, (row, column)), shape=shape).tocsr()
    vectors = svds(matrix, k=RANK, v0=np.ones(min(shape)))[2].T
    strength = (per_item + _DAMPING)[:, None]
    fit.items[known], fit.history[known] = vectors * strength**0.25, vectors / strength**0.5
    return fit


class Embedding:
    """Vectors of users and items as of any time, each from the newest fit before it.

    users, items, times: positives [n] (indices, microseconds); count: how many items there are; moments: `refit_times`.
    """

    def __init__(self, users: Ints, items: Ints, times: Ints, count: int, moments: Ints) -> None:
        self._events = (users, items, times)
        self._moments = moments
        self._fits = [_fit(users[times < moment], items[times < moment], count) for moment in moments]

    def items(self, keys: Ints, times: Ints) -> Floats:
        """[m, RANK] for item indices at times; zero before the first fit."""
        return self._by_fit(times, lambda fit, rows: fit.items[keys[rows]])

    def users(self, keys: Ints, times: Ints) -> Floats:
        """[m, RANK]: damped sum of the vectors of the items a user liked before each time."""
        users, items, at = self._events

        def fold_in(fit: Fit, rows: NDArray[np.bool_]) -> Floats:
            weights = np.column_stack([fit.history[items], np.ones(len(items))])
            sums = Log.of(users, at, weights).before(keys[rows], times[rows])
            return np.asarray(sums[:, :-1] / np.sqrt(sums[:, -1:] + _DAMPING))

        return self._by_fit(times, fold_in)

    def _by_fit(self, times: Ints, rows_of: RowsOf) -> Floats:
        result = np.zeros((len(times), RANK))
        newest = np.searchsorted(self._moments, times, side="right") - 1
        for k, fit in enumerate(self._fits):
            rows = newest == k
            if rows.any():
                result[rows] = rows_of(fit, rows)
        return result
