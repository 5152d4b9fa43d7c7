"""The business metrics of a feed, each the mean over shown items of what one of them brought."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from feed_ranking.labels import RATING
from mlsd.problem.problem import BusinessMetric

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd
    from numpy.typing import NDArray

    from mlsd.design.design import Design
    from mlsd.problem.tables import Tables

METRICS = {
    "ctr": BusinessMetric("clicks", highest=1.0),
    "watch_time": BusinessMetric("seconds watched", highest=86_400.0, of_ratings=False),
    "engagement_rate": BusinessMetric("engagements", highest=1.0),
}
CLICKS = ("click", RATING)
"""A mapped source knows ratings only: whoever rates has opened the item."""


def gains(labelled: pd.DataFrame, tables: Tables, design: Design, now: datetime) -> NDArray[np.float64]:
    """Of each labelled row [n]: clicked or not (ctr), seconds of all its clicks (watch_time), or its label.

    Only what was known at `now` counts, as for the label.
    """
    if design.success.metric == "engagement_rate":
        return labelled["label"].to_numpy(dtype=np.float64)
    done = tables.engagements[tables.engagements["at"] <= now]
    clicks = done[done["event"].isin(CLICKS)]
    if design.success.metric == "ctr":
        return np.asarray(labelled["row_id"].isin(clicks["impression_id"].dropna()), dtype=np.float64)
    seconds = clicks.groupby("impression_id")["value"].sum()
    return labelled["row_id"].map(seconds).fillna(0.0).to_numpy(dtype=np.float64)
