"""Offline feature rows to the online store and to the item snapshot."""

import contextlib
import logging
import sqlite3
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from mlsd.core.errors import UserError
from mlsd.core.home import Home, replacing
from mlsd.features import snapshot, watermark
from mlsd.features.newest import keep_newest
from mlsd.features.online_stores.base import OnlineStore, online_store
from mlsd.features.repository.definitions import offline_folder
from mlsd.features.repository.store import apply, open_store
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

LOGGER = logging.getLogger("mlsd")
_BEGINNING = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True)
class Materialised:
    """Rows written per view to the offline store, distinct keys per view online, and the snapshot's version."""

    offline_rows: dict[str, int]
    online_keys: dict[str, int]
    snapshot: str


@contextlib.contextmanager
def quiet(home: Home) -> Iterator[None]:
    """Feast prints progress bars; they go to `logs/feast.log`."""
    home.logs.mkdir(parents=True, exist_ok=True)
    with (home.logs / "feast.log").open("a", encoding="utf-8") as log, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield


def ingest(home: Home, tables: Mapping[str, "pd.DataFrame"], now: datetime) -> None:
    """Write the batch sources.

    Raises:
        UserError: a row claims to be from the future; it would hide every later row of its key.
    """
    for name, table in tables.items():
        late = table[table["event_timestamp"] > now]
        if len(late):
            raise UserError(
                f"feature view {name}: found {len(late)} rows after {now.isoformat()}, first: "
                f"{late['event_timestamp'].min().isoformat()}; rows from the future are refused"
            )
        with replacing(offline_folder(home) / f"{name}.parquet") as temporary:
            table.to_parquet(temporary, index=False, coerce_timestamps="us")


def _is_damage(error: Exception) -> bool:
    """Whether a file of the repository is not what it was; one that is locked, or a full disk, is no damage."""
    from google.protobuf.message import DecodeError

    return isinstance(error, DecodeError) or type(error) is sqlite3.DatabaseError


def _discard(home: Home, online: OnlineStore, error: Exception) -> None:
    """All in registry and store is derived."""
    LOGGER.warning("%s: damaged (%s); made anew", home.feast, error)
    (home.feast / "registry.db").unlink(missing_ok=True)
    online.discard()


def _say_what_was_lost(store: "FeatureStore", home: Home, views: tuple[str, ...]) -> None:
    if end := watermark.unfinished(home):
        LOGGER.warning("the materialisation until %s never ended; all rows are written again", end.isoformat())
    if lost := watermark.reset_views(store, views, watermark.read(home)):
        LOGGER.warning("Feast's watermark was reset (views %s); all rows are written again", ", ".join(lost))


def _latest(table: "pd.DataFrame", key: str) -> "pd.DataFrame":
    return table.sort_values("event_timestamp").groupby(key, sort=True).tail(1).sort_values(key)


def _newest_times(table: "pd.DataFrame", end: datetime) -> tuple[str, dict[int, datetime]]:
    key = table.columns[0]
    newest = table[table["event_timestamp"] <= end].groupby(key)["event_timestamp"].max()
    return key, {int(one): at.to_pydatetime() for one, at in zip(newest.index, newest, strict=True)}


def _write_online(
    online: OnlineStore, context: Context, tables: Mapping[str, "pd.DataFrame"], end: datetime, now: datetime,
) -> None:  # fmt: skip
    home = context.home
    with quiet(home):
        store = open_store(context.design, home)
        apply(store, context)
    _say_what_was_lost(store, home, tuple(tables))
    online.prepare()
    watermark.begin(home, end)
    keep_newest(online, {name: _newest_times(t, end) for name, t in tables.items()}, now)
    with quiet(home):
        store.materialize(_BEGINNING, end)


def _write_snapshot(home: Home, problem: Problem, items: "pd.DataFrame", end: datetime) -> str:
    newest = _latest(items[items["event_timestamp"] <= end], "item_id")
    columns = newest[list(problem.item_columns)].to_numpy(dtype=np.float32)
    return snapshot.write(home, newest["item_id"].to_numpy(), columns, tuple(problem.item_columns), end)


def materialise(
    context: Context, tables: Mapping[str, "pd.DataFrame"], *, end: datetime, now: datetime
) -> Materialised:
    """Apply the repository, write the newest rows up to `end` to the online store and the item snapshot.

    The snapshot and the watermark follow when all rows are written: what is cut short leaves the last complete ones.

    Raises:
        UserError: `end` lies in the future (later runs would be skipped), or rows do; or the online store is not there.
    """
    design, home, problem = context.design, context.home, context.problem
    if end > now:
        raise UserError(f"materialise until {end.isoformat()}: that is after now, {now.isoformat()}")
    ingest(home, tables, now)
    online = online_store(design, home)
    with online.reachable():
        try:
            _write_online(online, context, tables, end, now)
        except Exception as error:
            if not _is_damage(error):
                raise
            _discard(home, online, error)
            _write_online(online, context, tables, end, now)
    items = next(table for name, table in tables.items() if name not in problem.user_views)
    version = _write_snapshot(home, problem, items, end)
    watermark.finish(home, end, version)
    keys = {name: table.iloc[:, 0].nunique() for name, table in tables.items()}
    return Materialised({name: len(table) for name, table in tables.items()}, keys, version)
