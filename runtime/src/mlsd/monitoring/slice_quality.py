"""The same numbers for the users that an average hides: weekends, and people the service hardly knows."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from mlsd.monitoring.quality import Change, auc_change, positive_share
from mlsd.monitoring.windows import Served, Window

SLICES = ("weekend", "new_user")


def _of(served: Served, name: str) -> bool:
    return served.at.weekday() >= 5 if name == "weekend" else served.new_user


def scores(window: Window) -> dict[str, dict[str, Any]]:
    """Per slice: requests, and the distribution of the mean score of the first ten (mean, 10th and 90th percentile)."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("all", *SLICES):
        top = np.array([each.top_score for each in window.served if name == "all" or _of(each, name)])
        row: dict[str, Any] = {"requests": len(top), "share": len(top) / max(window.requests, 1)}
        if len(top):
            low, high = np.quantile(top, [0.1, 0.9])
            row |= {"top_score": float(top.mean()), "top_score_p10": float(low), "top_score_p90": float(high)}
        found[name] = row
    return found


def _part(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    return rows if name == "all" else rows[rows[name].to_numpy(np.bool_)]


def changes(baseline: pd.DataFrame, current: pd.DataFrame) -> dict[str, Change]:
    """AUC change of every slice that has enough labelled requests on both sides; `all` is everybody."""
    found = {name: auc_change(_part(baseline, name), _part(current, name)) for name in ("all", *SLICES)}
    return {name: change for name, change in found.items() if change}


def outcomes(baseline: pd.DataFrame, current: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Per slice, as far as outcomes are known: change of AUC, share of shown items engaged with."""
    found: dict[str, dict[str, Any]] = {}
    known = changes(baseline, current)
    for name in ("all", *SLICES):
        share = positive_share(_part(current, name)) if len(current) else None
        found[name] = {
            "labelled_requests": int(_part(current, name)["request_id"].nunique()) if len(current) else 0,
            "auc": asdict(known[name]) if name in known else None,
            "engaged": asdict(share) if share else None,
        }
    return found
