"""Who answers in modes batch and hybrid, and from which run."""

import shutil
from datetime import datetime, timedelta

import numpy as np
import pytest

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.snapshot import current as current_snapshot
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.tasks.ranking.batch import precomputed as module
from mlsd.tasks.ranking.batch.precomputed import PrecomputedRankings
from mlsd.tasks.ranking.batch.run import Model, write
from mlsd.tasks.ranking.batch.table import Table, current, model_folder
from mlsd.tasks.ranking.request import RankRequest
from support.batch_run import NOBODY, POOL, TOP, Made, in_mode
from support.waiting import within

pytestmark = pytest.mark.slow


def look(design: Design, made: Made, problem: Problem) -> PrecomputedRankings:
    home, release, _, _ = made
    precomputed = PrecomputedRankings.of(Context.of(design, home, problem), Holder(home), release)
    assert precomputed is not None
    return precomputed


class Holder:
    """Holds the current snapshot."""

    def __init__(self, home: Home) -> None:
        self.snapshot = current_snapshot(home)


def asked(user: int, *items: int) -> RankRequest:
    return RankRequest(user, np.array(items, np.int64), "mobile")


def test_the_rule_of_batch(made: Made, small_design: Design, problem: Problem) -> None:
    home, release, _, done = made
    table, now = Table.load(done.folder), clock.now()
    user = int(table.ids[7])
    design = in_mode(small_design, "batch")
    precomputed = look(design, made, problem)
    record = table.find(user)
    assert record is not None
    best = table.items[record["places"][:TOP]]

    whole = precomputed.look_up(asked(user), now)
    assert whole.answer is not None
    assert whole.answer.item_ids.tolist() == best.tolist() == whole.request.candidates.tolist()
    assert whole.answer.scores.tobytes() == record["scores"].tobytes()
    assert whole.answer.ages_s["batch"] == (now - table.meta.written_at).total_seconds()
    assert {"user", "item"} <= whole.answer.ages_s.keys()

    some = precomputed.look_up(asked(user, *best[[9, 2, 5]].tolist()), now)
    assert some.answer is not None
    assert some.answer.item_ids.tolist() == best[[2, 5, 9]].tolist()
    assert some.answer.scores.tolist() == record["scores"][[2, 5, 9]].tolist()

    strange = precomputed.look_up(asked(user, int(best[0]), NOBODY), now)
    assert (strange.answer, strange.reasons) == (None, ["batch_items"])
    assert strange.request.candidates.tolist() == [int(best[0]), NOBODY]

    unknown = precomputed.look_up(asked(NOBODY), now)
    assert (unknown.answer, unknown.reasons) == (None, ["batch_user"])
    assert unknown.request.candidates.tolist() == table.items[:POOL].tolist()

    late = precomputed.look_up(asked(user), table.meta.written_at + timedelta(hours=design.batch.max_age_h, seconds=1))
    assert (late.answer, late.reasons) == (None, ["batch_stale"])
    assert len(late.request.candidates) == POOL

    other = PrecomputedRankings.of(
        Context.of(design, home, problem), Holder(home), release.model_copy(update={"model_digest": "0" * 64})
    )
    assert other is not None
    assert other.look_up(asked(user, 1, 2), now).reasons == ["batch_missing"]


def test_the_rule_of_hybrid(made: Made, small_design: Design, problem: Problem) -> None:
    table, now = Table.load(made[3].folder), clock.now()
    user = int(table.ids[7])
    precomputed = look(in_mode(small_design, "hybrid"), made, problem)
    record = table.find(user)
    assert record is not None
    named, unnamed, unknown = (
        precomputed.look_up(each, now) for each in (asked(user, 5, 6), asked(user), asked(NOBODY))
    )
    assert named == type(named)(named.request)
    assert named.request.candidates.tolist() == [5, 6]
    assert (unnamed.answer, unnamed.reasons) == (None, [])
    assert unnamed.request.candidates.tolist() == table.items[record["places"]].tolist()
    assert len(unnamed.request.candidates) == POOL
    assert unknown.reasons == ["batch_user"]
    assert (
        PrecomputedRankings.of(Context.of(in_mode(small_design, "online"), made[0], problem), Holder(made[0]), made[1])
        is None
    )


def test_a_newer_run_is_taken_up_and_a_damaged_one_is_not(
    made: Made, small_design: Design, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, release, bundle, done = made
    design, user = in_mode(small_design, "batch"), int(Table.load(done.folder).ids[0])
    folder = model_folder(home, release.model_version, release.model_digest)

    def younger_than(precomputed: PrecomputedRankings, moment: datetime) -> bool:
        answer = precomputed.look_up(asked(user), clock.now()).answer
        assert answer is not None
        return answer.ages_s["batch"] <= (clock.now() - moment).total_seconds() + 0.001

    with monkeypatch.context() as patch:
        patch.setattr(module, "POLL_S", 3600.0)  # looks when it is told to
        told = look(design, made, problem)
    damaged = folder / "99990101-damaged"
    shutil.copytree(done.folder, damaged)
    (damaged / "users.bin").write_bytes((done.folder / "users.bin").read_bytes()[:-1])
    (folder / "current").write_text(damaged.name)
    with pytest.raises(UserError, match="run `mlsd batch` again"):
        told._look()
    assert younger_than(told, Table.load(done.folder).meta.written_at)
    (folder / "current").write_text(done.folder.name)
    shutil.rmtree(damaged)
    watching = look(design, made, problem)
    again = write(Context.of(design, home, problem), Model(1, bundle), current_snapshot(home), clock.now())
    written_at = Table.load(again.folder).meta.written_at
    assert not younger_than(told, written_at)
    told._look()
    assert younger_than(told, written_at)
    assert within(60, lambda: younger_than(watching, written_at))
    third = write(Context.of(design, home, problem), Model(1, bundle), current_snapshot(home), clock.now())
    assert current(home, 1, bundle.digest) == third.folder
    left = {path.name for path in folder.iterdir()}
    assert left == {"current", again.folder.name, third.folder.name}
