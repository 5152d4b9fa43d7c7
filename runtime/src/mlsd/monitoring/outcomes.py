"""What users did with the live release's lists: the release's first labelled requests, and the newest ones."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pandas as pd

from mlsd.core.clock import now
from mlsd.data.storage import load_tables
from mlsd.monitoring.quality import RECENT, Share, labelled, per_shown_item
from mlsd.monitoring.reference import Reference
from mlsd.monitoring.served_rows import live
from mlsd.monitoring.slice_quality import outcomes as of_slices
from mlsd.problem.context import Context

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True)
class Outcomes:
    """Labelled rows of the reference period and of the newest seven days after it."""

    baseline: pd.DataFrame
    current: pd.DataFrame

    @property
    def requests(self) -> int:
        """Labelled requests that a verdict could rest on."""
        return int(self.current["request_id"].nunique())

    @property
    def business(self) -> Share | None:
        """What one of the newest shown items brought of the business metric, in its unit."""
        return per_shown_item(self.current, "gain")

    def by_slice(self, scores: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        """The slices' table: score distribution, and quality as far as outcomes are known."""
        known = of_slices(self.baseline, self.current)
        return {name: {**row, **known[name]} for name, row in scores.items()}


def outcomes(context: Context, reference: Reference | None) -> Outcomes:
    """Join the feature log of the live release to the tables; nothing is known before there is a reference."""
    design, home, problem = context.design, context.home, context.problem
    at = now()
    tables = load_tables(home)
    if reference is None:
        nothing = labelled([], tables, problem, design, at)
        return Outcomes(nothing, nothing)
    shown = tables.impressions
    arrived = set(shown.loc[shown["at"] >= reference.start, "request_id"])
    once = {  # a client's retry may be logged twice
        record.request_id: record
        for record in (live(home, reference.release_id, reference.start - INSTANT) if arrived else ())
        if record.request_id in arrived and (record.at <= reference.end or record.at > at - RECENT)
    }
    records = list(once.values())
    rows = labelled(records, tables, problem, design, at)
    first = rows["request_id"].isin({record.request_id for record in records if record.at <= reference.end})
    return Outcomes(rows[first], rows[~first])
