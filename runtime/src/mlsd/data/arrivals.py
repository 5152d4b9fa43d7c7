"""What happened after requests were served: outcomes join the tables once their labels are mature."""

import json
import logging
from datetime import datetime, timedelta

from mlsd.core import clock
from mlsd.core.home import Home, write_json
from mlsd.data.live import drop_live, load_live
from mlsd.data.served import identified, served
from mlsd.data.storage import TABLE_NAMES, load_tables, save_tables
from mlsd.design.design import Design
from mlsd.design.sources import SYNTHETIC
from mlsd.problem.context import Context
from mlsd.problem.tables import Tables

LOGGER = logging.getLogger("mlsd")
_OVERLAP = timedelta(hours=1)
"""Processes write side by side, so a record may turn up behind the watermark."""


def _watermark(home: Home) -> datetime | None:
    try:
        until = json.loads((home.data / "arrivals.json").read_text(encoding="utf-8"))["until"]
        return datetime.fromisoformat(until)
    except (FileNotFoundError, ValueError, KeyError):
        return None  # read the whole log: what is in the tables already is not joined again


def _append(tables: Tables, more: Tables) -> Tables:
    import pandas as pd

    joined = {}
    for name in TABLE_NAMES:
        old, new = getattr(tables, name), getattr(more, name)
        joined[name] = pd.concat([old, new], ignore_index=True) if len(new) else old
    return Tables(**joined)


def _when_mature(design: Design, home: Home, newest: datetime) -> datetime:
    """When the newest label can be trusted; now, where the clock is nobody's to move."""
    moment = newest + timedelta(hours=design.label.maturity_h, seconds=1)
    return max(moment, clock.now()) if home.clock.exists() else clock.now()


def _let_time_pass(home: Home, moment: datetime) -> None:
    """In a world with a clock of its own the time passes at once."""
    if home.clock.exists() and moment > clock.now():
        LOGGER.info(
            "the world's clock moves on to %s, when the labels are mature", moment.isoformat(timespec="minutes")
        )
        clock.set_world_time(moment)


def _from_log(context: Context, tables: Tables, now: datetime) -> tuple[Tables, datetime | None]:
    design, home, problem = context.design, context.home, context.problem
    mark = _watermark(home)
    new = served(home, mark and mark - _OVERLAP)
    new = new[~new["request_id"].isin(tables.impressions["request_id"])]
    if len(new):
        now = max(now, _when_mature(design, home, new["at"].max().to_pydatetime()))
    new = new[new["at"] <= now - timedelta(hours=design.label.maturity_h)]
    if new.empty:
        return Tables(*(getattr(tables, name).iloc[:0] for name in TABLE_NAMES)), mark
    new = identified(home, new, tables.users["user_id"])
    impressions, engagements = problem.outcomes(new, tables, design)
    engagements = engagements[engagements["at"] <= now]
    return Tables(tables.users.iloc[:0], tables.items.iloc[:0], impressions, engagements), new[
        "at"
    ].max().to_pydatetime()


def arrive(context: Context, now: datetime) -> int:
    """Append what followed from served requests to the tables; returns how many impressions are new.

    Synthetic: outcomes of live requests of the feature log. Mapped data: the held-back slice, once. Calling it again
    adds nothing: a request that is in the tables is never joined again.

    Raises:
        UserError: the tables are missing, or what arrived breaks the contract; nothing is written then.
    """
    design, home, problem = context.design, context.home, context.problem
    tables = load_tables(home)
    if design.data.source == SYNTHETIC:
        more, mark = _from_log(context, tables, now)
    else:
        live = load_live(home)
        if live is None:
            return 0
        more, mark = live, live.impressions["at"].max().to_pydatetime()
    if more.impressions.empty:
        return 0
    joined = _append(tables, more)
    problem.contract(design).check(joined)
    save_tables(home, joined)
    if mark is not None:
        write_json(home.data / "arrivals.json", {"until": mark.isoformat()})
        _let_time_pass(home, _when_mature(design, home, mark))
    drop_live(home)
    return len(more.impressions)
