"""Feature rows: a row at time t has seen only events before t; what is planted later changes nothing (3.13, 3.26)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from feed_ranking.columns import INTERACTION_VIEW, POST_VIEW, USER_VIEW
from feed_ranking.history.events import slot_matrix
from feed_ranking.truth import chance, plant
from feed_ranking.world import FIRST_ITEM, FIRST_USER
from mlsd.design.design import Design
from mlsd.problem.problem import Problem
from mlsd.problem.tables import Tables

NOW = datetime(2026, 3, 4, tzinfo=UTC)
CUT = pd.Timestamp("2026-02-25T10:30", tz="UTC")
SHOWN = 100
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


def test_a_groups_taste_is_that_of_a_plain_count(rows: dict[str, pd.DataFrame], world: Tables) -> None:
    """3.20: the rate of a category in the user's country and age band over everyone's, before the row's time."""
    slots = slot_matrix(world.items["categories"])
    place = dict(zip(world.items["item_id"], range(len(world.items)), strict=True))
    people = world.users.set_index("user_id")
    clicks = world.engagements[(world.engagements["event"] == "click") & (world.engagements["value"] >= 30)]

    def counted(events: pd.DataFrame, at: pd.Timestamp, users: set[int] | None = None) -> np.ndarray:
        seen = events[events["at"] < at]
        seen = seen if users is None else seen[seen["user_id"].isin(users)]
        return slots[[place[item] for item in seen["item_id"]]].sum(axis=0)

    for row in rows["user"].sample(12, random_state=4).itertuples():
        mine, at = people.loc[row.user_id], row.event_timestamp
        alike = (people["country"] == mine["country"]) & (people["age_band"] == mine["age_band"])
        group = set(people.index[alike])
        everyone = (counted(clicks, at) + 1) / (counted(world.impressions, at) + 20)
        rate = (counted(clicks, at, group) + 100 * everyone) / (counted(world.impressions, at, group) + 100)
        found = [getattr(row, name) for name in USER_VIEW if name.startswith("group_taste")]
        assert found == pytest.approx(np.log(rate / everyone), rel=1e-4, abs=1e-5)


def gain_for_new_users(design: Design, problem: Problem) -> float:
    """True chance of the best ten of 100 posts by `cold_start`, over that by `popularity`; means of 300 users."""
    truth, rng = plant(design), np.random.default_rng(5)
    tables = problem.feature_tables(problem.synthesise(design), design, NOW)
    people, posts = (tables[view].groupby(tables[view].columns[0]).tail(1) for view in ("user", "post"))
    few = people["user_interactions"] < design.serving.cold_start.min_interactions
    items = posts[list(POST_VIEW)].to_numpy(np.float32)
    at, device = np.full(SHOWN, np.datetime64(NOW.replace(tzinfo=None), "us")), np.full(SHOWN, "mobile")
    liked = np.zeros(2)
    for person in people[few].sample(300, random_state=6).to_dict("records"):
        user = problem.user_defaults.copy()
        user[: len(USER_VIEW)] = [person[name] for name in USER_VIEW]
        shown = rng.choice(len(items), SHOWN, replace=False)
        places = posts["item_id"].to_numpy()[shown] - FIRST_ITEM
        true = chance(truth, np.full(SHOWN, person["user_id"] - FIRST_USER), places, at, device)
        scores = problem.cold_start(items[shown], user), problem.popularity(items[shown])
        liked += [true[np.argsort(-found, kind="stable")[:10]].mean() for found in scores]
    return float(liked[0] / liked[1])


def test_the_groups_taste_finds_better_posts_for_who_is_new(design: Design, problem: Problem) -> None:
    """3.20: by the planted truth, which says what users of few interactions would have liked."""
    content = design.model_dump(mode="json")
    worlds = [Design.model_validate(content | {"data": content["data"] | {"seed": seed}}) for seed in (1, 2, 3, 4)]
    gains = [gain_for_new_users(world, problem) for world in worlds]
    assert np.mean(gains) > 1.05, gains


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
