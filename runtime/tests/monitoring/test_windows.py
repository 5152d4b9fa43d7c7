"""Windows of live traffic: what counts, what does not, and the reference that a release is compared with."""

import numpy as np
import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.delivery.releases.ledger import Ledger
from mlsd.design.design import Design
from mlsd.monitoring import reference
from mlsd.monitoring.served_rows import SCORE, columns, live
from mlsd.monitoring.windows import observe
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.serving.inference.replay import snapshots
from support.live_traffic import ITEMS, POOL, LiveTraffic


@pytest.fixture
def traffic(home: Home, problem: Problem, design: Design) -> LiveTraffic:
    return LiveTraffic(home, problem, design)


def test_only_live_answers_of_the_release_count(traffic: LiveTraffic, home: Home) -> None:
    traffic.send(3)
    traffic.send(4, role="shadow")
    traffic.send(5, release_id=99)
    last = traffic.send(2)
    assert len(list(live(home, traffic.release_id, traffic.sent[0].at))) == 4
    assert len(list(live(home, traffic.release_id, last[0].at))) == 1


def test_one_pass_counts_rows_once_and_request_values_once_per_request(
    traffic: LiveTraffic, home: Home, problem: Problem
) -> None:
    first = traffic.send(150)
    stored = reference.take(first, problem, snapshots(home), 5)
    window = observe(iter(traffic.send(130)), problem, snapshots(home), stored.layout, 5)
    assert (window.requests, window.rows) == (130, 130 * POOL)
    assert sum(window.bins["item_ctr"].counts) == 130 * POOL
    assert sum(window.bins["user_ctr"].counts) == 130
    assert stored.columns["user_ctr"].per_request
    assert not stored.columns["item_age_h"].per_request
    assert not stored.columns[SCORE].per_request
    assert window.sample.shape == (130, len(problem.feature_names) + 1)
    assert sum(window.devices.values()) == 130


def test_a_fallbacks_score_is_not_the_models(traffic: LiveTraffic, home: Home, problem: Problem) -> None:
    record = traffic.send(1)[0]
    fallen = type(record)(**{**record.__dict__, "engine": "popularity"})
    assert np.isnan(columns(fallen, problem, snapshots(home))[:, -1]).all()
    assert np.allclose(columns(record, problem, snapshots(home))[:, -1], record.scores)


def test_a_release_gets_its_reference_once(traffic: LiveTraffic, home: Home, problem: Problem, design: Design) -> None:
    release = Ledger(home.releases_db).champion()
    assert release is not None
    traffic.send(reference.REQUESTS - 1)
    assert reference.of_release(release, Context.of(design, home, problem)) is None
    traffic.send(1)
    taken = reference.of_release(release, Context.of(design, home, problem))
    assert taken is not None
    assert taken.requests == reference.REQUESTS
    traffic.send(200, items=(ITEMS // 2, ITEMS))
    assert reference.of_release(release, Context.of(design, home, problem)) == taken


def test_a_damaged_or_foreign_reference_is_refused(traffic: LiveTraffic, home: Home, problem: Problem) -> None:
    stored = reference.take(traffic.send(20), problem, snapshots(home), 5)
    reference.store(home, stored)
    with pytest.raises(UserError, match="made for model"):
        reference.load(home, traffic.release_id, "f" * 64)
    reference.path_of(home, traffic.release_id).write_text("{}")
    with pytest.raises(UserError, match="damaged"):
        reference.load(home, traffic.release_id, traffic.digest)
