"""The synthetic world: same for the same seed, with the truth that the loop has to find (step 3 of the issue)."""

import numpy as np
import pandas as pd
import pytest

from feed_ranking.columns import DEVICES
from feed_ranking.truth import FIRST_ITEM, FIRST_USER, HOUR, WORLD_END, chance, plant
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.data.storage import digest, naive, save_tables
from mlsd.design.design import Design
from mlsd.problem.problem import Problem
from mlsd.problem.tables import Tables


def reseeded(design: Design, seed: int) -> Design:
    return design.model_copy(update={"data": design.data.model_copy(update={"seed": seed})})


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(
    small_design: Design, problem: Problem, home: Home
) -> None:
    digests = []
    for seed in (7, 7, 8):
        save_tables(home, problem.synthesise(reseeded(small_design, seed)))
        digests.append(digest(home))
    assert digests[0] == digests[1] != digests[2]


def test_it_has_the_size_that_the_design_says(world: Tables, small_design: Design) -> None:
    size = small_design.data.synthetic
    assert (len(world.users), len(world.items)) == (size.users, size.items)
    assert len(world.impressions) == size.days * size.requests_per_day * size.shown
    assert world.impressions["at"].max() <= pd.Timestamp(WORLD_END, tz="UTC")
    assert world.impressions["at"].min() >= pd.Timestamp(WORLD_END, tz="UTC") - pd.Timedelta(days=size.days)


def test_a_world_with_too_few_posts_for_a_request_is_refused(small_design: Design, problem: Problem) -> None:
    size = {"users": 60, "items": 60, "days": 7, "requests_per_day": 20, "shown": 20}
    content = small_design.model_dump(mode="json")
    content["data"]["synthetic"] |= size
    with pytest.raises(UserError, match=r"data\.synthetic\.shown: found 20, expected at most \d+: .*help \(found 60\)"):
        problem.synthesise(Design.model_validate(content))


def test_nobody_sees_a_post_before_it_exists_nor_comes_before_joining(world: Tables) -> None:
    rows = world.impressions.merge(world.items[["item_id", "created_at"]], on="item_id")
    assert (rows["created_at"] <= rows["at"]).all()
    rows = world.impressions.merge(world.users[["user_id", "created_at"]], on="user_id")
    early = rows[rows["created_at"] > rows["at"]]
    assert early["user_id"].nunique() <= 1


def test_users_and_posts_arrive_over_time_and_answers_come_late(world: Tables) -> None:
    start = world.impressions["at"].min()
    assert (world.users["created_at"] > start).mean() > 0.1
    assert (world.items["created_at"] > start).mean() > 0.5
    clicks = world.engagements[world.engagements["event"] == "click"].merge(
        world.impressions[["impression_id", "at"]], on="impression_id", suffixes=("", "_shown")
    )
    delay = clicks["at"] - clicks["at_shown"]
    assert delay.min() > pd.Timedelta(0)
    assert (delay > pd.Timedelta(hours=1)).mean() > 0.01
    assert set(world.engagements["event"]) == {"click", "like", "comment"}


def test_the_truth_depends_on_taste_and_on_the_weekend(small_design: Design) -> None:
    """3.08: a model that does not know the day of the week cannot rank the weekend."""
    truth = plant(small_design)
    users = np.repeat(np.arange(100), 50)
    items = np.tile(np.arange(50), 100)
    device = np.full(len(users), DEVICES[0])
    moments = [np.full(len(users), WORLD_END - hours * HOUR) for hours in (24, 24 * 3)]
    tuesday, sunday = (chance(truth, users, items, at, device) for at in moments)
    assert np.corrcoef(tuesday, sunday)[0, 1] < 0.95
    assert tuesday.reshape(100, 50).std(axis=1).mean() > 0.01


@pytest.mark.parametrize("shifted", [False, True])
def test_requests_name_known_posts_once_each(
    world: Tables, small_design: Design, problem: Problem, *, shifted: bool
) -> None:
    requests = problem.traffic(world, small_design, shifted=shifted)
    known = set(world.items["item_id"])
    assert len(requests) == 4000
    for candidates in requests["candidates"].head(50):
        assert 0 < len(candidates) == len(set(candidates)) <= small_design.scale.candidates
        assert set(candidates) <= known
    unknown = ~requests["user_id"].isin(world.users["user_id"])
    assert 0 < unknown.mean() < 0.05


def test_the_shift_moves_the_age_of_the_candidates(world: Tables, small_design: Design, problem: Problem) -> None:
    created = world.items.set_index("item_id")["created_at"]

    def oldest_share(shifted: bool) -> float:
        rows = problem.traffic(world, small_design, shifted=shifted)["candidates"].head(200).explode()
        age = pd.Timestamp(WORLD_END, tz="UTC") - rows.map(created)
        return float((age > pd.Timedelta(days=9)).mean())

    assert oldest_share(shifted=True) > 0.95
    assert oldest_share(shifted=False) < 0.6


def served(tables: Tables, requests: int, candidates: int = 60) -> pd.DataFrame:
    """Answers of a service that ranks by item id."""
    ids = tables.items["item_id"].to_numpy()[-candidates:]
    at = pd.Timestamp(WORLD_END, tz="UTC") + pd.Timedelta(minutes=5)
    parts = [
        pd.DataFrame(
            {
                "request_id": f"live-{k}",
                "user_id": int(tables.users["user_id"].iloc[k]),
                "item_id": ids,
                "position": np.arange(candidates),
                "device": "mobile",
                "at": at + pd.Timedelta(seconds=k),
            }
        )
        for k in range(requests)
    ]
    return pd.concat(parts, ignore_index=True)


def test_outcomes_are_the_same_whoever_asks_and_in_whatever_order(
    world: Tables, small_design: Design, problem: Problem
) -> None:
    answers = served(world, 60)
    shown, engaged = problem.outcomes(answers, world, small_design)
    assert (shown.groupby("request_id").size() == small_design.data.synthetic.shown).all()
    assert not shown["impression_id"].isin(world.impressions["impression_id"]).any()
    assert engaged["impression_id"].isin(shown["impression_id"]).all()
    assert 0 < len(engaged) < len(shown) / 2

    def fate(part: pd.DataFrame) -> set[tuple[str, int, str]]:
        shown, engaged = problem.outcomes(part, world, small_design)
        rows = engaged.merge(shown[["impression_id", "request_id"]], on="impression_id")
        return set(zip(rows["request_id"], rows["item_id"], rows["event"], strict=True))

    half = answers[answers["request_id"].isin([f"live-{k}" for k in range(30)])]
    assert fate(half) == {row for row in fate(answers.sample(frac=1, random_state=1)) if int(row[0][5:]) < 30}


def test_people_look_at_the_top_of_the_list_and_explore_the_rest(
    world: Tables, small_design: Design, problem: Problem
) -> None:
    answers = served(world, 40)
    shown, _ = problem.outcomes(answers, world, small_design)
    top = answers.loc[answers["position"] < small_design.data.synthetic.shown // 2, ["request_id", "item_id"]]
    assert len(top.merge(shown, on=["request_id", "item_id"])) == len(top)
    explored = shown.merge(answers, on=["request_id", "item_id"])["position_y"]
    assert explored.max() > 40


def test_strangers_have_no_outcome(world: Tables, small_design: Design, problem: Problem) -> None:
    answers = served(world, 2)
    answers["user_id"] = FIRST_USER + 10_000_000
    shown, engaged = problem.outcomes(answers, world, small_design)
    assert len(shown) == len(engaged) == 0
    answers = served(world, 2).assign(item_id=FIRST_ITEM + 10_000_000)
    assert len(problem.outcomes(answers, world, small_design)[0]) == 0


def test_times_are_utc_with_microseconds(world: Tables) -> None:
    for frame, column in ((world.users, "created_at"), (world.items, "created_at"), (world.impressions, "at")):
        assert str(frame[column].dtype) == "datetime64[us, UTC]"
    assert naive(world.engagements["at"]).dtype == np.dtype("datetime64[us]")
