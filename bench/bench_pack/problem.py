"""The bench's problem as the runtime sees it: what serving needs, and no data steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

import numpy as np

from bench_pack import features

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mlsd.problem.problem import Problem


class BenchProblem:
    """Rows of random numbers; only the request path and the batch path run on it."""

    feature_names = features.FEATURE_NAMES
    user_columns = features.USER_COLUMNS
    item_columns = features.ITEM_COLUMNS
    user_views = features.USER_VIEWS
    user_defaults = features.USER_DEFAULTS
    item_defaults = features.ITEM_DEFAULTS
    feature_repo = Path(__file__).parent / "feature_repo"

    def context(self, at: NDArray[np.datetime64], device: NDArray[np.str_]) -> NDArray[np.float32]:
        """Values known only at the request, [n, 3]."""
        return features.context(at, device)

    def assemble(
        self, user: NDArray[np.float32], items: NDArray[np.float32], context: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Model matrix [n, 40]."""
        return features.assemble(user, items, context)

    def interactions(self, user: NDArray[np.float32]) -> float:
        """How many interactions the user row [30] stands for."""
        return float(user[0])

    def popularity(self, items: NDArray[np.float32]) -> NDArray[np.float64]:
        """Fallback score per item, [n] from [n, 20]."""
        count = np.abs(items[:, 0].astype(np.float64))
        return count / (count + 2.0)

    def cold_start(self, items: NDArray[np.float32], user: NDArray[np.float32]) -> NDArray[np.float64]:
        """The same for everyone."""
        return self.popularity(items)

    def __getattr__(self, name: str) -> NoReturn:
        """A step that reads data: this world has none."""
        raise AttributeError(f"the bench's problem has no {name}")


PROBLEM = cast("Problem", BenchProblem())
