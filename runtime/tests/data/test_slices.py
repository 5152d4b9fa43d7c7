"""Slices that every model is judged on."""

import numpy as np
import pandas as pd

from mlsd.data.slices import SLICES, slices
from mlsd.design.design import Design
from mlsd.problem.tables import Tables

SATURDAY = pd.Timestamp("2026-02-28T00:00", tz="UTC")


def test_each_slice_has_its_rule(design: Design) -> None:
    """4.20: weekend, new users, new posts."""
    items = pd.DataFrame({"item_id": [1, 2], "created_at": [SATURDAY - pd.Timedelta(days=9), SATURDAY]})
    tables = Tables(pd.DataFrame(), items, pd.DataFrame(), pd.DataFrame())
    offsets = [-1, 0, 47, 48]
    rows = pd.DataFrame({"item_id": [1, 2, 2, 1], "at": [SATURDAY + pd.Timedelta(hours=h) for h in offsets]})
    enough = design.serving.cold_start.min_interactions
    flags = slices(tables, rows, np.array([enough, enough - 1, 0, enough + 1]), design)
    assert tuple(flags) == SLICES
    assert flags["weekend"].tolist() == [False, True, True, False]
    assert flags["new_user"].tolist() == [False, True, True, False]
    assert flags["new_item"].tolist() == [False, True, False, False]
