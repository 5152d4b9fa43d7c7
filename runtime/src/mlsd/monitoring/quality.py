"""How good the live ranking was, once it is known what users did: AUC and the business metric, with intervals.

The offline AUC of the manifest is no baseline for it: a live list shows only what the model itself put on top, and
within the top a score separates less. The baseline is the same release's first labelled requests.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from mlsd.design.design import Design
from mlsd.evaluation.drift import MIN_ROWS
from mlsd.evaluation.ranking_metrics import auc
from mlsd.prediction_log.record import Record
from mlsd.problem.problem import Problem
from mlsd.problem.tables import Tables
from mlsd.tasks.ranking.ranking import POPULARITY

RECENT = timedelta(days=7)  # a whole week, so that every weekday counts alike
Z = 1.96
COLUMNS = ("request_id", "at", "label", "gain", "score", "weekend", "new_user")


@dataclass(frozen=True)
class Change:
    """A metric now beside its baseline; `low` to `high` is the 95 % interval of the relative change."""

    baseline: float
    current: float
    low: float
    high: float
    requests: int

    def worse_than(self, drop: float) -> bool:
        """Whether the whole interval lies below the allowed relative drop."""
        return self.high < -drop


@dataclass(frozen=True)
class Share:
    """A share, or another mean per shown item, with its 95 % interval, drawn over requests."""

    value: float
    low: float
    high: float
    requests: int


def _logged(record: Record, new_below: int) -> pd.DataFrame:
    fallback = record.engine == POPULARITY
    columns = {
        "request_id": record.request_id,
        "item_id": record.item_ids,
        "score": np.full(len(record.scores), np.nan) if fallback else record.scores,
        "weekend": record.at.weekday() >= 5,
        "new_user": record.interactions < new_below,
    }
    return pd.DataFrame(columns)


def labelled(records: list[Record], tables: Tables, problem: Problem, design: Design, now: datetime) -> pd.DataFrame:
    """Logged scores joined to what users did: request_id, at, label, gain, score, weekend, new_user; matured rows only.

    Rows that a fallback scored have score NaN: they count for the business metric, not for the model's AUC.
    """
    if not records:
        return pd.DataFrame(columns=list(COLUMNS))
    below = design.serving.cold_start.min_interactions
    logged = pd.concat([_logged(record, below) for record in records], ignore_index=True)
    shown = tables.impressions[tables.impressions["request_id"].isin([record.request_id for record in records])]
    done = tables.engagements[tables.engagements["impression_id"].isin(shown["impression_id"])]
    outcomes = Tables(tables.users, tables.items, shown, done)
    rows = problem.labels(outcomes, design, now)
    rows["gain"] = problem.gains(rows, outcomes, design, now)
    return rows.merge(logged, on=["request_id", "item_id"], validate="one_to_one")[list(COLUMNS)]


def _variance(rows: pd.DataFrame) -> tuple[float, float]:
    """AUC and its variance over requests: the rows of one request depend on each other, so requests are left out.

    Delete-a-group jackknife with 50 groups (Kott 2001): no distribution is assumed, 50 sorts instead of 500.
    """
    score, label = rows["score"].to_numpy(np.float64), rows["label"].to_numpy(np.int8)
    group = pd.factorize(rows["request_id"])[0] % 50
    found = np.array([auc(score[group != g], label[group != g]) for g in range(50)])
    return auc(score, label), float(49 / 50 * np.sum((found - found.mean()) ** 2))


def auc_change(baseline: pd.DataFrame, current: pd.DataFrame) -> Change | None:
    """Relative change of AUC; None if one side has fewer than 200 requests, or only one class."""
    sides = [rows[rows["score"].notna()] for rows in (baseline, current)]
    counts = [side["request_id"].nunique() for side in sides]
    if min(counts) < MIN_ROWS or any(side["label"].nunique() < 2 for side in sides):
        return None
    (before, spread), (after, noise) = (_variance(side) for side in sides)
    change, error = after / before - 1.0, Z * np.sqrt(spread + noise) / before
    return Change(before, after, float(change - error), float(change + error), counts[1])


def positive_share(rows: pd.DataFrame) -> Share | None:
    """Share of shown items that were engaged with; None below 200 requests."""
    return per_shown_item(rows, "label")


def per_shown_item(rows: pd.DataFrame, column: str) -> Share | None:
    """Mean of a column over shown items; None below 200 requests."""
    per_request = rows.groupby("request_id")[column].agg(["sum", "size"])
    n = len(per_request)
    if n < MIN_ROWS:
        return None
    shown, hits = per_request["size"].to_numpy(np.float64), per_request["sum"].to_numpy(np.float64)
    value = hits.sum() / shown.sum()
    # Standard error of a ratio of two sums over requests (Cochran, Sampling Techniques, 1977, 6.3).
    error = Z * np.sqrt(np.sum((hits - value * shown) ** 2) / (n * (n - 1))) / shown.mean()
    return Share(float(value), float(value - error), float(value + error), n)
