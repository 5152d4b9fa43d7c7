"""What counts as an engagement: a click that held long enough, or a rating that is high enough."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from mlsd.design.design import Design
    from mlsd.problem.tables import Tables

RATING = "rating"
"""Event of a mapped source: its value says how much it was liked."""


def is_positive(engagements: pd.DataFrame, design: Design) -> NDArray[np.bool_]:
    """Which engagements count, [n]: the label's event with enough dwell, or a rating of `positive_from` or more."""
    mapping = design.data.mappings.get(design.data.source)
    event, value = engagements["event"].to_numpy(dtype=str), engagements["value"].to_numpy(dtype=np.float64)
    if mapping:
        return np.asarray((event == RATING) & (value >= mapping.positive_from))
    if design.label.event == "click":
        return np.asarray((event == "click") & (value >= design.label.min_dwell_s))
    return np.asarray(event == design.label.event)


def labels(tables: Tables, design: Design, now: datetime) -> pd.DataFrame:
    """Labelled impressions older than `label.maturity_h`: row_id, request_id, user_id, item_id, device, at, label."""
    shown = tables.impressions
    mature = shown[shown["at"] <= now - timedelta(hours=design.label.maturity_h)]
    known = tables.engagements[tables.engagements["at"] <= now]
    positive = known.loc[is_positive(known, design), "impression_id"].dropna()
    rows = mature[["impression_id", "request_id", "user_id", "item_id", "device", "at"]].rename(
        columns={"impression_id": "row_id"}
    )
    rows["label"] = rows["row_id"].isin(positive).astype(np.int8)
    return rows.sort_values(["at", "request_id", "row_id"], ignore_index=True)
