"""The real Feast join: nothing of the future, no row lost or doubled, the same values as a plain as-of join."""

import shutil
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mlsd.core.clock import _offset
from mlsd.core.errors import UserError
from mlsd.core.home import Home, read_json
from mlsd.data.storage import load_tables, naive, save_tables
from mlsd.design.design import Design
from mlsd.features import build as features_step
from mlsd.features.materialise import materialise
from mlsd.features.online_stores.base import online_store
from mlsd.features.point_in_time import join
from mlsd.features.repository.definitions import offline_folder
from mlsd.features.repository.store import open_store
from mlsd.features.training_set import build
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem

pytestmark = pytest.mark.slow


NOW = datetime(2026, 3, 4, tzinfo=UTC)
CUT = pd.Timestamp("2026-02-26", tz="UTC")


@pytest.fixture
def copied(featured_home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A copy of the state folder that a test may change."""
    shutil.copytree(featured_home.root, tmp_path / "mlsd")
    monkeypatch.setenv("MLSD_HOME", str(tmp_path / "mlsd"))
    _offset.cache_clear()
    return Home(tmp_path / "mlsd")


def frame_of(home: Home) -> pd.DataFrame:
    return pd.read_parquet(home.data / "training.parquet")


def test_no_label_row_is_lost_or_doubled(featured_home: Home, small_design: Design, problem: Problem) -> None:
    labels = problem.labels(load_tables(featured_home), small_design, NOW)
    frame = frame_of(featured_home)
    assert frame["row_id"].tolist() == labels["row_id"].tolist()
    assert frame["row_id"].is_unique
    assert frame["label"].tolist() == labels["label"].tolist()
    meta = read_json(featured_home.data / "training.json", "")
    assert meta["rows"] == len(frame)
    assert meta["positives"] == frame["label"].sum()


def test_columns_are_what_training_reads(featured_home: Home, problem: Problem) -> None:
    frame = frame_of(featured_home)
    leading = ["row_id", "request_id", "user_id", "item_id", "at", "label"]
    slices = ["slice_weekend", "slice_new_user", "slice_new_item"]
    assert list(frame.columns) == [*leading, *slices, "popularity", *problem.feature_names]
    features = frame[list(problem.feature_names)].to_numpy()
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    for name in slices:
        assert 0 < frame[name].mean() < 1


def test_values_are_those_of_a_plain_as_of_join(featured_home: Home, small_design: Design, problem: Problem) -> None:
    rows = frame_of(featured_home).sample(60, random_state=4)
    device = load_tables(featured_home).impressions.set_index("impression_id")["device"]
    offline = {
        v: pd.read_parquet(offline_folder(featured_home) / f"{v}.parquet") for v in ("user", "interaction", "post")
    }
    limits = {"user": "user", "interaction": "interaction", "post": "item"}

    def newest(view: str, key: int, at: pd.Timestamp, names: tuple[str, ...]) -> np.ndarray:
        table = offline[view]
        ttl = pd.Timedelta(hours=getattr(small_design.max_age_h, limits[view]))
        stamp = table["event_timestamp"]
        found = table[(table.iloc[:, 0] == key) & (stamp <= at) & (stamp >= at - ttl)].sort_values("event_timestamp")
        return found[list(names)].to_numpy(np.float32)[-1] if len(found) else np.full(len(names), np.nan, np.float32)

    for row in rows.itertuples():
        user = np.concatenate([newest(v, row.user_id, row.at, names) for v, names in problem.user_views.items()])
        user = np.where(np.isnan(user), problem.user_defaults, user)
        item = newest("post", row.item_id, row.at, problem.item_columns)
        item = np.where(np.isnan(item), problem.item_defaults, item)
        context = problem.context(naive(pd.Series([row.at])), np.array([device[row.row_id]]))
        expected = problem.assemble(user[None, :], item[None, :], context)[0]
        stored = rows.loc[row.Index, list(problem.feature_names)].to_numpy(np.float32)
        assert stored.tobytes() == expected.tobytes()


def test_a_planted_future_changes_no_training_value(copied: Home, small_design: Design, problem: Problem) -> None:
    """3.13, 3.26: through the real Feast join."""
    before = frame_of(copied)
    tables = load_tables(copied)
    late = tables.impressions[tables.impressions["at"] >= CUT]
    clicks = late[["impression_id", "user_id", "item_id"]].assign(event="click", value=999.0)
    clicks["at"] = late["at"] + pd.Timedelta(seconds=1)
    save_tables(copied, replace(tables, engagements=pd.concat([tables.engagements, clicks], ignore_index=True)))
    planted = load_tables(copied)
    sources = problem.feature_tables(planted, small_design, NOW)
    materialise(Context.of(small_design, copied, problem), sources, end=NOW, now=NOW)
    build(Context.of(small_design, copied, problem), NOW)
    after = frame_of(copied)
    past = [frame[frame["at"] < CUT].reset_index(drop=True) for frame in (before, after)]
    assert len(past[0]) > 1000
    pd.testing.assert_frame_equal(past[0], past[1], check_exact=True)
    assert after["label"].sum() > before["label"].sum()


def test_a_store_that_loses_rows_stops_the_run(copied: Home, small_design: Design, problem: Problem) -> None:
    """Feast's default offline store keeps one row per key and time; the same join through it is refused."""
    rows = frame_of(copied).head(200)
    keys = pd.DataFrame({"user_id": rows["user_id"], "event_timestamp": rows["at"]})
    views = {"user": list(problem.user_views["user"])}
    store = open_store(small_design, copied)
    assert join(store, copied, keys, views).shape == (200, len(views["user"]))
    keys["copy"] = np.arange(len(keys))  # rows that differ, yet share key and time
    settings = copied.feast / "feature_store.yaml"
    content = yaml.safe_load(settings.read_text())
    settings.write_text(yaml.safe_dump(content | {"offline_store": {"type": "dask"}}))
    from feast import FeatureStore

    with pytest.raises(UserError, match=r"200 rows in, \d+ out"):
        join(FeatureStore(repo_path=str(copied.feast)), copied, keys, views)


def test_the_frame_is_kept_while_nothing_changed(copied: Home, small_design: Design, problem: Problem) -> None:
    path = copied.data / "training.parquet"
    stamp = path.stat().st_mtime_ns
    build(Context.of(small_design, copied, problem), NOW)
    assert path.stat().st_mtime_ns == stamp
    other = small_design.model_copy(update={"label": small_design.label.model_copy(update={"min_dwell_s": 60})})
    build(Context.of(other, copied, problem), NOW)
    assert path.stat().st_mtime_ns != stamp


@pytest.mark.parametrize(
    "name", ["feast/online.db", "feast/registry.db", "data/training.json", "feast/feature_store.yaml"]
)
@pytest.mark.parametrize("content", [None, "garbage"])
def test_what_is_derived_is_made_anew_when_it_is_gone_or_damaged(
    copied: Home, small_design: Design, problem: Problem, name: str, content: str | None
) -> None:
    before = frame_of(copied)
    for path in (copied.root / name).parent.glob(f"{Path(name).name}*"):
        path.unlink()
    if content:
        (copied.root / name).write_text(content)
    assert features_step.run(Context.of(small_design, copied, problem)).passed
    pd.testing.assert_frame_equal(frame_of(copied), before, check_exact=True)


def test_a_store_with_damaged_pages_is_made_anew(copied: Home, small_design: Design, problem: Problem) -> None:
    """The first page is whole, so it opens; what is written to the others fails, long after."""
    content = bytearray(copied.online_store.read_bytes())
    content[4096:] = b"\x7f" * (len(content) - 4096)
    copied.online_store.write_bytes(content)
    assert features_step.run(Context.of(small_design, copied, problem)).passed


def test_a_locked_store_is_named_and_stays(copied: Home, small_design: Design) -> None:
    before = copied.online_store.read_bytes()
    store = online_store(small_design, copied)
    with pytest.raises(UserError, match=r"online\.db: database is locked; try again"), store.reachable():
        raise sqlite3.OperationalError("database is locked")
    assert copied.online_store.read_bytes() == before


def test_without_a_mature_label_there_is_nothing_to_train_on(
    copied: Home, small_design: Design, problem: Problem
) -> None:
    with pytest.raises(UserError, match="maturity_h 24"):
        build(Context.of(small_design, copied, problem), datetime(2026, 2, 1, tzinfo=UTC))


def test_a_row_from_the_future_is_refused(copied: Home, small_design: Design, problem: Problem) -> None:
    tables = problem.feature_tables(load_tables(copied), small_design, NOW)
    early = datetime(2026, 3, 1, tzinfo=UTC)
    with pytest.raises(UserError, match=r"feature view user: found .* rows after 2026-03-01"):
        materialise(Context.of(small_design, copied, problem), tables, end=early, now=early)


def test_materialising_the_future_is_refused(copied: Home, small_design: Design, problem: Problem) -> None:
    with pytest.raises(UserError, match="is after now"):
        materialise(Context.of(small_design, copied, problem), {}, end=datetime(2026, 3, 5, tzinfo=UTC), now=NOW)
