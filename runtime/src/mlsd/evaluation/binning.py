"""Reference distributions that a release takes along, so that monitoring needs one pass over new rows only."""

import numpy as np
from numpy.typing import NDArray

from mlsd.evaluation.bins import Bins

BINS = 10


def bins(values: NDArray[np.float64]) -> Bins:
    """Up to ten bins of equal counts; fewer where values repeat. NaN is counted apart.

    Args:
        values: [n], may hold NaN.
    """
    seen = values[np.isfinite(values)]
    missing = len(values) - len(seen)
    if len(seen) == 0:
        return Bins(edges=[], counts=[0], missing=missing)
    edges = np.unique(np.quantile(seen, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    edges = edges[edges < seen.max()]  # an edge at the maximum would leave the last bin empty
    counts = np.bincount(np.searchsorted(edges, seen, side="left"), minlength=len(edges) + 1)
    return Bins(edges=edges.tolist(), counts=counts.tolist(), missing=missing)


def reference(matrix: NDArray[np.float32], features: tuple[str, ...], scores: NDArray[np.float64]) -> dict[str, Bins]:
    """Bins of every feature of [n, F] and of the calibrated scores [n] (named `score`)."""
    columns = {name: bins(matrix[:, i].astype(np.float64)) for i, name in enumerate(features)}
    return columns | {"score": bins(scores)}
