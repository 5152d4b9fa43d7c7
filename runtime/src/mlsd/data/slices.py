"""The slices that every model is judged on."""

from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mlsd.design.design import Design
from mlsd.problem.tables import Tables

if TYPE_CHECKING:
    import pandas as pd

SLICES = ("weekend", "new_user", "new_item")


def slices(
    tables: Tables, rows: "pd.DataFrame", interactions: NDArray[np.float64], design: Design
) -> dict[str, NDArray[np.bool_]]:
    """Flags [n] per slice for rows (item_id, at) [n].

    weekend: Saturday or Sunday, UTC. new_user: fewer interactions than `cold_start.min_interactions` at that time.
    new_item: younger than `label.maturity_h`, so that no label of it can be known yet.
    """
    created = rows["item_id"].map(tables.items.set_index("item_id")["created_at"])
    return {
        "weekend": (rows["at"].dt.dayofweek >= 5).to_numpy(),
        "new_user": interactions < design.serving.cold_start.min_interactions,
        "new_item": (rows["at"] - created < timedelta(hours=design.label.maturity_h)).to_numpy(),
    }
