"""The training frame as arrays: one row per shown candidate, sorted so that a request's rows lie together."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SLICES = ("slice_weekend", "slice_new_user", "slice_new_item")


@dataclass(frozen=True)
class Rows:
    """Candidates of some requests.

    matrix: [n, F] features; label: [n] 0 or 1; request: [n] 0..R-1, rising; popularity: [n] the baseline's score in
    [0, 1]; slices: name to [n] flags; start, end: times of the oldest and the newest row.
    """

    matrix: NDArray[np.float32]
    label: NDArray[np.int8]
    request: NDArray[np.int64]
    popularity: NDArray[np.float64]
    slices: dict[str, NDArray[np.bool_]]
    start: pd.Timestamp
    end: pd.Timestamp

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows of each request, [R]."""
        return np.bincount(self.request).astype(np.int64)

    def first(self, requests: int) -> "Rows":
        """The rows of the first so many requests."""
        n = int(np.searchsorted(self.request, requests))
        slices = {name: flags[:n] for name, flags in self.slices.items()}
        return replace(
            self,
            matrix=self.matrix[:n],
            label=self.label[:n],
            request=self.request[:n],
            popularity=self.popularity[:n],
            slices=slices,
        )

    def __len__(self) -> int:
        return len(self.label)


def from_frame(frame: pd.DataFrame, features: tuple[str, ...]) -> Rows:
    """Arrays of a training frame; requests are numbered by time, rows of one request keep their order."""
    ordered = frame.sort_values(["at", "request_id", "row_id"], kind="stable")
    return Rows(
        matrix=np.ascontiguousarray(ordered.loc[:, list(features)].to_numpy(dtype=np.float32)),
        label=ordered["label"].to_numpy(dtype=np.int8),
        request=pd.factorize(ordered["request_id"])[0].astype(np.int64),
        popularity=ordered["popularity"].to_numpy(dtype=np.float64),
        slices={name.removeprefix("slice_"): ordered[name].to_numpy(dtype=np.bool_) for name in SLICES},
        start=ordered["at"].iloc[0],
        end=ordered["at"].iloc[-1],
    )


def joined(earlier: Rows, later: Rows) -> Rows:
    """All rows of two parts of a temporal split."""
    return Rows(
        matrix=np.concatenate([earlier.matrix, later.matrix]),
        label=np.concatenate([earlier.label, later.label]),
        request=np.concatenate([earlier.request, later.request + len(earlier.sizes)]),
        popularity=np.concatenate([earlier.popularity, later.popularity]),
        slices={name: np.concatenate([flags, later.slices[name]]) for name, flags in earlier.slices.items()},
        start=earlier.start,
        end=later.end,
    )
