"""Feed ranking as the runtime sees it. Methods import late: the serving process needs NumPy only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from feed_ranking import business, columns, features

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from mlsd.design.design import Design
    from mlsd.problem.contract import Contract
    from mlsd.problem.problem import Problem
    from mlsd.problem.tables import Tables


class FeedRanking:
    """P(user engages with post), ranked."""

    feature_names = features.FEATURE_NAMES
    user_columns = columns.USER_COLUMNS
    item_columns = columns.ITEM_COLUMNS
    user_views = columns.USER_VIEWS
    user_defaults = columns.USER_DEFAULTS
    item_defaults = columns.ITEM_DEFAULTS
    business_metrics = business.METRICS
    feature_repo = Path(__file__).parent / "feature_repo"

    def contract(self, design: Design) -> Contract:
        """Schema and invariants of the canonical tables."""
        from feed_ranking.contract import contract

        return contract(design)

    def synthesise(self, design: Design) -> Tables:
        """A world with planted truth, the same for the same seed."""
        from feed_ranking.world import synthesise

        return synthesise(design)

    def labels(self, tables: Tables, design: Design, now: datetime) -> pd.DataFrame:
        """Matured labelled rows: row_id, request_id, user_id, item_id, device, at, label (0 or 1)."""
        from feed_ranking.labels import labels

        return labels(tables, design, now)

    def gains(self, labelled: pd.DataFrame, tables: Tables, design: Design, now: datetime) -> NDArray[np.float64]:
        """What each shown item brought of `success.metric`, in its unit, [n]."""
        return business.gains(labelled, tables, design, now)

    def feature_tables(self, tables: Tables, design: Design, now: datetime) -> dict[str, pd.DataFrame]:
        """Feast sources `user`, `interaction` and `post`; a row at t has seen only events before t."""
        from feed_ranking.history.feature_tables import feature_tables

        return feature_tables(tables, design, now)

    def context(self, at: NDArray[np.datetime64], device: NDArray[np.str_]) -> NDArray[np.float32]:
        """Values known only at the request, [n, K]."""
        return features.context(at, device)

    def assemble(
        self, user: NDArray[np.float32], items: NDArray[np.float32], context: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Model matrix [n, F]."""
        return features.assemble(user, items, context)

    def interactions(self, user: NDArray[np.float32]) -> float:
        """How many interactions the user row [U] stands for."""
        return features.interactions(user)

    def popularity(self, items: NDArray[np.float32]) -> NDArray[np.float64]:
        """How popular each item is, [n] from [n, I]."""
        return features.popularity(items)

    def cold_start(self, items: NDArray[np.float32], user: NDArray[np.float32]) -> NDArray[np.float64]:
        """Fallback score per item for this user, [n] from [n, I] and [U]."""
        return features.cold_start(items, user)

    def traffic(self, tables: Tables, design: Design, *, shifted: bool) -> pd.DataFrame:
        """Requests to send: user_id, candidates, device."""
        from feed_ranking.traffic import traffic

        return traffic(tables, design, shifted=shifted)

    def outcomes(self, served: pd.DataFrame, tables: Tables, design: Design) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Impressions and engagements that follow from served lists."""
        from feed_ranking.traffic import outcomes

        return outcomes(served, tables, design)


PROBLEM: Problem = FeedRanking()
