"""A low-rank embedding of users and items from earlier engagements only, refitted whenever the history has grown by half."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from feed_ranking.features import RANK
from feed_ranking.pit import Floats, Ints, Log

RowsOf = Callable[[Floats, NDArray[np.bool_]], Floats]

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


def _fit(users: Ints, items: Ints, count: int) -> Floats:
    """Item vectors [count, RANK] of the damped user-item matrix (truncated singular value decomposition).

    Only users and items that occur enter the matrix: one that comes later cannot change a bit of an earlier fit.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import svds

    _, row, per_user = np.unique(users, return_inverse=True, return_counts=True)
    known, column, per_item = np.unique(items, return_inverse=True, return_counts=True)
    shape = (len(per_user), len(per_item))
    result = np.zeros((count, RANK))
    if min(shape) <= RANK:
        return result
    weight = 1 / np.sqrt((per_user[row] + _DAMPING) * (per_item[column] + _DAMPING))
    matrix = coo_matrix((weight, (row, column)), shape=shape).tocsr()
    _, strength, vectors = svds(matrix, k=RANK, v0=np.ones(min(shape)))
    result[known] = vectors.T * np.sqrt(strength) / np.sqrt(per_item + _DAMPING)[:, None]
    return result


class Embedding:
    """Vectors of users and items as of any time, each from the newest fit before it.

    users, items, times: positives [n] (indices, microseconds); count: how many items there are; fits: `refit_times`.
    """

    def __init__(self, users: Ints, items: Ints, times: Ints, count: int, fits: Ints) -> None:
        self._events = (users, items, times)
        self._fits = fits
        seen = [times < fit for fit in fits]
        self._vectors = [_fit(users[mask], items[mask], count) for mask in seen]

    def items(self, keys: Ints, times: Ints) -> Floats:
        """[m, RANK] for item indices at times; zero before the first fit."""
        return self._by_fit(times, lambda vectors, rows: vectors[keys[rows]])

    def users(self, keys: Ints, times: Ints) -> Floats:
        """[m, RANK]: damped sum of the vectors of the items a user liked before each time."""
        users, items, at = self._events

        def fold_in(vectors: Floats, rows: NDArray[np.bool_]) -> Floats:
            weights = np.column_stack([vectors[items], np.ones(len(items))])
            sums = Log.of(users, at, weights).before(keys[rows], times[rows])
            return np.asarray(sums[:, :-1] / np.sqrt(sums[:, -1:] + _DAMPING))

        return self._by_fit(times, fold_in)

    def _by_fit(self, times: Ints, rows_of: RowsOf) -> Floats:
        result = np.zeros((len(times), RANK))
        newest = np.searchsorted(self._fits, times, side="right") - 1
        for k, vectors in enumerate(self._vectors):
            rows = newest == k
            if rows.any():
                result[rows] = rows_of(vectors, rows)
        return result
