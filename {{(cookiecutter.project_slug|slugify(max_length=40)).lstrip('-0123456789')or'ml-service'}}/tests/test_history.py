"""Feature rows: a row at time t has seen only events before t; what is planted later changes nothing (3.13, 3.26)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from feed_ranking.features import INTERACTION_VIEW, POST_VIEW, USER_VIEW
from mlsd.design import Design
from mlsd.problem import Problem, Tables

NOW = datetime(2026, 3, 4, tzinfo=UTC)
CUT = pd.Timestamp("2026-02-25T10:30", tz="UTC")
NAMES = {"user": USER_VIEW, "interaction": INTERACTION_VIEW, "post": POST_VIEW}


def until(tables: Tables, moment: pd.Timestamp) -> Tables:
    """The tables as they were at that moment."""
    return Tables(
        tables.users[tables.users["created_at"] < moment],
        tables.items[tables.items["created_at"] < moment],
        tables.impressions[tables.impressions["at"] < moment],
        tables.engagements[tables.engagements["at"] < moment],
    )


def plant_future(tables: Tables) -> Tables:
    """After the cut, everybody suddenly likes everything."""
    late = tables.impressions[tables.impressions["at"] >= CUT]
    clicks = late[["impression_id", "user_id", "item_id"]].assign(event="click", value=500.0)
    clicks["at"] = late["at"] + pd.Timedelta(seconds=1)
    return replace(tables, engagements=pd.concat([tables.engagements, clicks], ignore_index=True))


@pytest.fixture(scope="module")
def rows(world: Tables, small_design: Design, problem: Problem) -> dict[str, pd.DataFrame]:
    return problem.feature_tables(world, small_design, NOW)


@pytest.mark.parametrize("view", NAMES)
def test_the_future_changes_no_bit_of_the_past(
    view: str, world: Tables, small_design: Design, problem: Problem, rows: dict[str, pd.DataFrame]
) -> None:
    planted = problem.feature_tables(plant_future(world), small_design, NOW)[view]
    known_then = problem.feature_tables(until(world, CUT), small_design, CUT.to_pydatetime())[view]
    past = [f[f["event_timestamp"] <= CUT].reset_index(drop=True) for f in (rows[view], planted)]
    assert len(past[0]) > 300
    pd.testing.assert_frame_equal(past[0], past[1], check_exact=True)
    pd.testing.assert_frame_equal(past[0], known_then.reset_index(drop=True), check_exact=True)
    later = [f[f["event_timestamp"] > CUT + timedelta(days=1)] for f in (rows[view], planted)]
    assert not later[0].equals(later[1])


def test_columns_are_finite_float32_and_keys_are_unique(rows: dict[str, pd.DataFrame]) -> None:
    for view, names in NAMES.items():
        frame = rows[view]
        assert tuple(frame.columns[2:]) == names
        values = frame[list(names)].to_numpy()
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert not frame.duplicated([frame.columns[0], "event_timestamp"]).any()
        assert str(frame["event_timestamp"].dtype) == "datetime64[us, UTC]"
        assert (frame["event_timestamp"] <= NOW).all()


def test_values_are_those_of_a_plain_count(rows: dict[str, pd.DataFrame], world: Tables) -> None:
    """3.05, 3.06: historical CTR, interactions, popularity, velocity."""
    user = rows["user"].sample(40, random_state=1)
    clicks = world.engagements[(world.engagements["event"] == "click") & (world.engagements["value"] >= 30)]
    for row in user.itertuples():
        seen = world.impressions.query("user_id == @row.user_id and at < @row.event_timestamp")
        liked = clicks.query("user_id == @row.user_id and at < @row.event_timestamp")
        engaged = world.engagements.query("user_id == @row.user_id and at < @row.event_timestamp")
        assert row.user_ctr == pytest.approx((len(liked) + 1) / (len(seen) + 20), rel=1e-6)
        assert row.user_interactions == len(engaged)
    created = world.items.set_index("item_id")["created_at"]
    for row in rows["post"].sample(40, random_state=2).itertuples():
        liked = clicks.query("item_id == @row.item_id and at < @row.event_timestamp")
        hour = created[row.item_id] + pd.Timedelta(hours=1)
        early = world.impressions.query("item_id == @row.item_id and at < @row.event_timestamp and at < @hour")
        first = liked[liked["at"] < hour]
        assert row.item_positives == pytest.approx(np.log1p(len(liked)), rel=1e-6)
        assert row.item_velocity == pytest.approx((len(first) + 1) / (len(early) + 20), rel=1e-6)


def test_a_session_row_follows_each_engagement(rows: dict[str, pd.DataFrame], world: Tables) -> None:
    """3.07: session context and recency, one microsecond after what they know."""
    sessions = rows["interaction"].set_index(["user_id", "event_timestamp"])
    for event in world.engagements.sample(30, random_state=3).itertuples():
        row = sessions.loc[(event.user_id, event.at + pd.Timedelta(microseconds=1))]
        day = world.engagements.query("user_id == @event.user_id and at <= @event.at")
        recent = day[day["at"] > event.at - pd.Timedelta(days=1)]
        assert row["session_engagements"] == len(recent)


def test_every_user_and_post_is_written_anew_before_it_is_too_old(
    rows: dict[str, pd.DataFrame], small_design: Design
) -> None:
    for view, limit in (("user", small_design.max_age_h.user), ("post", small_design.max_age_h.item)):
        newest = rows[view].groupby(rows[view].columns[0])["event_timestamp"].max()
        assert (NOW - newest.min()) <= timedelta(hours=limit / 2)
