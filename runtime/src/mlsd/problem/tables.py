"""The canonical tables of a problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Tables:
    """The canonical tables, one row per user, item, shown item and engagement; timestamps are UTC, microseconds.

    users: user_id, created_at, country, age_band
    items: item_id, author_id, author_followers, title, categories (list of str), created_at
    impressions: impression_id, request_id, user_id, item_id, position, device, at
    engagements: impression_id, user_id, item_id, event, value (dwell seconds, rating, else 1), at
    """

    users: pd.DataFrame
    items: pd.DataFrame
    impressions: pd.DataFrame
    engagements: pd.DataFrame
