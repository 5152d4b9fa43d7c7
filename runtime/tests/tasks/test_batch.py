"""Precomputed rankings: the same scores as the service's, for every user, whole or not at all."""

import shutil
from dataclasses import replace
from datetime import datetime, timedelta

import duckdb
import numpy as np
import pytest

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home, write_json
from mlsd.delivery import precompute
from mlsd.design.design import Design
from mlsd.features.items import item_rows
from mlsd.features.online_stores.sqlite import UserReader
from mlsd.features.snapshot import current as current_snapshot
from mlsd.features.user_values import fill
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.tasks.ranking.batch.run import Model, write
from mlsd.tasks.ranking.batch.table import Table, model_folder, run_name
from mlsd.tasks.ranking.batch.users import newest
from mlsd.tasks.ranking.ranking import popular
from support.batch_run import ITEMS, POOL, TOP, Made, in_mode
from support.trained import trained

pytestmark = pytest.mark.slow


def test_every_user_scores_as_the_request_path_would(made: Made, small_design: Design, problem: Problem) -> None:
    """3.14: the user's row from the online store, a request of the best items only: equal to the bit."""
    home, _, bundle, done = made
    table, snapshot = Table.load(done.folder), current_snapshot(home)
    reader = UserReader(home.online_store, small_design.name, problem.user_views, timeout_s=5)
    context = np.array([table.meta.context], np.float32)
    by_model = 0
    for user in table.ids.tolist():
        record = table.find(user)
        row = reader.read(user)
        assert record is not None
        assert row is not None
        values, _ = fill(row, problem, small_design.max_age_h, table.meta.written_at)
        assert values.tobytes() == record["row"].tobytes()
        rows, known = item_rows(snapshot, table.items[record["places"][:TOP]], problem)
        assert known
        few = problem.interactions(values) < small_design.serving.cold_start.min_interactions
        matrix = problem.assemble(values[None, :], rows, context)
        again = popular(problem, rows, values) if few else bundle.score(matrix)
        assert bool(record["popular"]) == few
        assert again.tobytes() == record["scores"].tobytes()
        everything = problem.assemble(values[None, :], item_rows(snapshot, table.items, problem)[0], context)
        assert few or record["scores"][0] == bundle.score(everything).max()
        by_model += not few
    assert done.users == len(table.ids) >= 290
    assert done.scores == by_model * ITEMS > 0


def test_the_lists_lie_as_parquet_with_what_made_them(made: Made) -> None:
    _, release, _, done = made
    table, lists = Table.load(done.folder), str(done.folder / "lists.parquet")
    facts = "count(*), count(DISTINCT user_id), min(rank), max(rank), any_value(model_version), any_value(written_at)"
    (found,) = duckdb.sql(f"SELECT {facts} FROM read_parquet('{lists}')").df().itertuples(index=False)
    rows, users, first, last, version, at = found
    assert (rows, users, first, last) == (done.users * TOP, done.users, 1, TOP)
    assert version == release.model_version
    assert at.to_pydatetime() == table.meta.written_at
    engines = duckdb.sql(f"SELECT DISTINCT engine, snapshot_version FROM read_parquet('{lists}')").fetchall()
    assert set(engines) <= {(name, table.meta.snapshot_version) for name in ("lightgbm", "popularity")}
    query = f"SELECT item_id, score FROM read_parquet('{lists}') WHERE user_id = {table.ids[3]} ORDER BY rank"
    items, scores = zip(*duckdb.sql(query).fetchall(), strict=True)
    record = table.find(int(table.ids[3]))
    assert record is not None
    assert list(items) == table.items[record["places"][:TOP]].tolist()
    assert list(scores) == record["scores"].tolist() == sorted(scores, reverse=True)


def test_users_come_with_their_newest_values_only_up_to_now(made: Made, problem: Problem) -> None:
    """A later row is not seen; a user whom only one view knows is there."""
    home, _, _, done = made
    now = Table.load(done.folder).meta.written_at
    earlier = now - timedelta(days=10)
    all_now = list(newest(home, problem, now, threads=1, memory_mib=64))
    before = list(newest(home, problem, earlier, threads=1, memory_mib=64))
    ids = np.concatenate([chunk.ids for chunk in all_now])
    assert (np.diff(ids) > 0).all()
    latest = (earlier - datetime(1970, 1, 1, tzinfo=earlier.tzinfo)) // timedelta(microseconds=1)
    assert max(chunk.written_us["user"].max() for chunk in before) <= latest
    assert max(chunk.written_us["user"].max() for chunk in all_now) > latest
    assert any((chunk.written_us["interaction"] < 0).any() for chunk in before)


def test_runs_of_a_model_too_old_to_be_served_are_deleted(made: Made, small_design: Design, problem: Problem) -> None:
    home, _, bundle, done = made
    recent, old = home.batch / "7-aaaaaaaaaaaa", home.batch / "8-bbbbbbbbbbbb"
    limit = in_mode(small_design, "batch").batch.max_age_h
    for folder, hours in ((recent, limit - 1), (old, limit + 1)):
        name = run_name(clock.now() - timedelta(hours=hours), "x")
        write_json(folder / name / "meta.json", {})
    write(
        Context.of(in_mode(small_design, "batch"), home, problem), Model(1, bundle), current_snapshot(home), clock.now()
    )
    assert recent.exists()
    assert not old.exists()
    assert done.folder.parent.exists()


def test_a_run_that_fails_leaves_nothing(made: Made, small_design: Design, problem: Problem) -> None:
    home, release, bundle, _ = made
    folder = model_folder(home, release.model_version, release.model_digest)
    before = sorted(folder.iterdir()), (folder / "current").read_text()
    lost = Home(home.root / "elsewhere")
    with pytest.raises(UserError, match=r"user\.parquet: not found; run `mlsd features` first"):
        write(Context.of(small_design, lost, problem), Model(1, bundle), current_snapshot(home), clock.now())

    class Broken:
        """Scores its first users, then no more."""

        name, width, remote, left = "lightgbm", bundle.scorer.width, False, 20

        def raw(self, matrix: np.ndarray) -> np.ndarray:
            self.left -= 1
            if self.left < 0:
                raise OSError("gone")
            return bundle.scorer.raw(matrix)

    broken = Model(1, replace(bundle, scorer=Broken()))
    with pytest.raises(OSError, match="gone"):
        write(Context.of(in_mode(small_design, "batch"), home, problem), broken, current_snapshot(home), clock.now())
    assert (sorted(folder.iterdir()), (folder / "current").read_text()) == before


def test_the_command_scores_the_champion_and_up_runs_it_when_needed(
    made: Made, small_design: Design, problem: Problem
) -> None:
    home, release, _, _ = made
    trained(home, release.model_version)
    design = in_mode(small_design, "hybrid")
    shutil.rmtree(home.batch)
    assert precompute.ensure(Context.of(in_mode(small_design, "online"), home, problem)) is None
    result = precompute.ensure(Context.of(design, home, problem))
    assert result is not None
    assert result.passed, result.checks
    assert result.details["model_digest"] == release.model_digest
    assert "scores in" in result.summary
    assert precompute.ensure(Context.of(design, home, problem)) is None
    assert precompute.ensure(Context.of(in_mode(small_design, "batch", max_age_h=1e-6), home, problem)) is not None


def test_a_design_that_keeps_more_than_it_scores_is_refused(small_design: Design) -> None:
    with pytest.raises(ValueError, match=f"top {POOL + 1}, pool {POOL} and items {ITEMS} must not fall"):
        in_mode(small_design, "batch", top=POOL + 1)
