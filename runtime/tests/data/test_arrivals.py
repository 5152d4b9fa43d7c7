"""Served requests come back as training rows: once, when their labels are mature, and only those that users saw."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.data import ingest
from mlsd.data.arrivals import arrive
from mlsd.data.served import served
from mlsd.data.storage import digest, load_tables
from mlsd.design.design import Design
from mlsd.design.sources import effective_design
from mlsd.prediction_log.pseudonyms import pseudonyms
from mlsd.prediction_log.record import Record
from mlsd.prediction_log.writer import FeatureLog
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from support.ratings import small

REQUESTS = 30


def record(k: int, user: int, items: list[int], at: datetime, role: str = "live") -> Record:
    return Record(
        request_id=f"live-{k}",
        user_id=user,
        at=at,
        total_ms=2.0,
        release_id=1,
        model_version=1,
        model_digest="ab" * 32,
        engine="lightgbm",
        role=role,
        snapshot_version="0" * 12,
        context=np.zeros(5, np.float32),
        user_row=np.zeros(3, np.float32),
        device="",
        item_ids=np.array(items),
        scores=np.linspace(0, 1, len(items)),
        degraded=[],
        ages_s={},
        interactions=9.0,
    )


@pytest.fixture
def made(small_design: Design, problem: Problem, home: Home) -> Iterator[Home]:
    ingest.run(Context.of(small_design, home, problem))
    yield home
    clock._offset.cache_clear()


def serve(home: Home, start: int, count: int, *, ago_h: float = 0.0, hashed: bool = False) -> None:
    """Answers to users, and their shadow copies."""
    tables = load_tables(home)
    items = tables.items["item_id"].tolist()[-100:]
    log = FeatureLog(home.feature_log, "a", 10_000, 30, pseudonym=pseudonyms(home) if hashed else None)
    for k in range(start, start + count):
        one = record(k, int(tables.users["user_id"].iloc[k]), items, clock.now() - timedelta(hours=ago_h))
        log.append(one)
        log.append(replace(one, role="shadow"))
    log.append(record(start + 100_000, 987_654_321, items, clock.now() - timedelta(hours=ago_h)))
    log.close()


def test_hashed_users_are_joined_by_who_holds_the_key(made: Home, small_design: Design, problem: Problem) -> None:
    """The log names nobody; the tables get the users back, and a user they do not know has no outcome."""
    users = load_tables(made).users["user_id"].tolist()
    serve(made, 0, REQUESTS, ago_h=30, hashed=True)
    assert {type(user) for user in served(made)["user_id"]} == {str}
    before = len(load_tables(made).impressions)
    assert arrive(Context.of(small_design, made, problem), clock.now()) == REQUESTS * small_design.data.synthetic.shown
    new = load_tables(made).impressions.iloc[before:]
    assert dict(zip(new["request_id"], new["user_id"], strict=True)) == {f"live-{k}": users[k] for k in range(REQUESTS)}


def test_answers_become_rows_once(made: Home, small_design: Design, problem: Problem) -> None:
    """3.23: logged predictions and outcomes become training rows."""
    shown = small_design.data.synthetic.shown
    before = load_tables(made)
    serve(made, 0, REQUESTS, ago_h=30)
    assert arrive(Context.of(small_design, made, problem), clock.now()) == REQUESTS * shown
    assert arrive(Context.of(small_design, made, problem), clock.now()) == 0
    assert len(load_tables(made).impressions) == len(before.impressions) + REQUESTS * shown
    stamp = digest(made)
    serve(made, 20, REQUESTS, ago_h=30)  # ten of them are known already
    assert arrive(Context.of(small_design, made, problem), clock.now()) == 20 * shown
    assert digest(made) != stamp
    (made.data / "arrivals.json").unlink()  # without the watermark the whole log is read again
    assert arrive(Context.of(small_design, made, problem), clock.now()) == 0
    after = load_tables(made)
    assert after.impressions["impression_id"].is_unique
    assert problem.contract(small_design).violations(after) == []
    labels = problem.labels(after, small_design, clock.now())
    live = labels[labels["request_id"].str.startswith("live-")]
    assert len(live) == (REQUESTS + 20) * shown
    assert 0 < live["label"].mean() < 0.3


def test_in_a_world_with_its_own_clock_time_passes_until_labels_are_mature(
    made: Home, small_design: Design, problem: Problem
) -> None:
    serve(made, 0, 3)
    before = clock.now()
    assert arrive(Context.of(small_design, made, problem), before) == 3 * small_design.data.synthetic.shown
    assert clock.now() - before >= timedelta(hours=small_design.label.maturity_h)


def test_what_breaks_the_contract_moves_no_clock_and_writes_nothing(
    made: Home, small_design: Design, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(made, 0, 3)
    stamp, before = digest(made), made.clock.read_bytes()
    outcomes = problem.outcomes

    def broken(*given: Any) -> Any:
        impressions, engagements = outcomes(*given)
        return impressions.assign(position=-5), engagements

    monkeypatch.setattr(type(problem), "outcomes", lambda _, *given: broken(*given))
    with pytest.raises(UserError, match="position"):
        arrive(Context.of(small_design, made, problem), clock.now())
    assert (digest(made), made.clock.read_bytes()) == (stamp, before)


@pytest.mark.fault("Late labels", "maturity window: young answers wait")
def test_on_the_real_clock_young_answers_wait(made: Home, small_design: Design, problem: Problem) -> None:
    made.clock.unlink()
    clock._offset.cache_clear()
    serve(made, 0, 3)
    stamp = digest(made)
    assert arrive(Context.of(small_design, made, problem), clock.now()) == 0
    assert digest(made) == stamp
    later = clock.now() + timedelta(hours=small_design.label.maturity_h, minutes=1)
    assert arrive(Context.of(small_design, made, problem), later) == 3 * small_design.data.synthetic.shown


def test_served_lists_are_in_order_of_scores(made: Home) -> None:
    serve(made, 0, 2)
    rows = served(made)
    first = rows[rows["request_id"] == "live-0"]
    assert first["position"].tolist() == list(range(99, -1, -1))
    assert rows["request_id"].nunique() == 3


def test_an_empty_log_brings_nothing(made: Home, small_design: Design, problem: Problem) -> None:
    stamp = digest(made)
    assert arrive(Context.of(small_design, made, problem), clock.now()) == 0
    assert digest(made) == stamp


def test_held_back_rows_of_real_data_arrive_once(design: Design, problem: Problem, files: Path, home: Home) -> None:
    declared = small(design)
    ingest.run(Context.of(declared, home, problem), files)
    mapped = effective_design(declared, home)
    before = load_tables(home)
    count = arrive(Context.of(mapped, home, problem), clock.now())
    after = load_tables(home)
    assert count == len(after.impressions) - len(before.impressions) > 0
    assert after.impressions["at"].max() > before.impressions["at"].max()
    newest = after.impressions["at"].max().to_pydatetime()
    assert clock.now() >= newest + timedelta(hours=mapped.label.maturity_h)
    assert arrive(Context.of(mapped, home, problem), clock.now()) == 0
    assert problem.contract(mapped).violations(after) == []
    clock._offset.cache_clear()
