"""Batch and hybrid as a caller sees them: real model servers answer from a real run."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlsd.core import clock
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.snapshot import current as current_snapshot
from mlsd.models.release import Release
from mlsd.models.selection import load_engine
from mlsd.prediction_log.record import Record
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.serving.inference import explain
from mlsd.serving.inference.replay import replay
from mlsd.tasks.ranking.batch.run import Model, write
from mlsd.tasks.ranking.batch.table import Table
from support.batch_run import NOBODY, POOL, TOP, in_mode
from support.feature_log_wait import logged
from support.model_server import Server, running, train

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class World:
    """The small world with a model and one run of it."""

    home: Home
    design: Design
    release: Release
    table: Table

    def user(self, *, popular: bool = False) -> int:
        """A user with enough interactions, or with too few."""
        return int(self.table.ids[np.flatnonzero(self.table.users["popular"] == popular)[0]])

    def record(self, user: int) -> Any:
        found = self.table.find(user)
        assert found is not None
        return found

    def best(self, user: int) -> list[int]:
        found: list[int] = self.table.items[self.record(user)["places"]].tolist()
        return found


@pytest.fixture(scope="module")
def world(
    featured_home: Home, patient_design: Design, problem: Problem, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    home = Home(tmp_path_factory.mktemp("hybrid") / "mlsd")
    shutil.copytree(featured_home.root, home.root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSD_HOME", str(home.root))
        clock.reread()
        release = train(home, patient_design, problem)
        bundle = load_engine("lightgbm", Path(release.model_dir), release.model_digest, home)
        design = in_mode(patient_design, "batch")
        done = write(Context.of(design, home, problem), Model(1, bundle), current_snapshot(home), clock.now())
        yield World(home, design, release, Table.load(done.folder))
    clock.reread()


Ask = Callable[..., tuple[dict[str, Any], Record]]


def asking(server: Server) -> Ask:
    """Send a request; the answer and its record in the feature log."""

    def ask(name: str, **content: Any) -> tuple[dict[str, Any], Record]:
        response = server.rank(content, x_request_id=name)
        assert response.status_code == 200, response.text
        return json.loads(response.content), logged(server.home, name)

    return ask


def listed(answer: dict[str, Any]) -> tuple[list[int], list[float]]:
    return [item["item_id"] for item in answer["items"]], [item["score"] for item in answer["items"]]


def test_batch_serves_the_lists_made_ahead(world: World, problem: Problem) -> None:
    """Equal to the bit to what is replayed from the record; the rule for everything else, and its reasons."""
    user, cold = world.user(), world.user(popular=True)
    with running(world.home, world.design, world.release) as server:
        ask = asking(server)
        for name, each in (("known", user), ("cold", cold)):
            answer, record = ask(name, user_id=each, device="mobile")
            made = world.record(each)
            assert listed(answer) == (world.best(each)[:TOP], made["scores"].tolist())
            assert record.engine == ("lightgbm" if each == user else "popularity")
            assert record.snapshot_version == world.table.meta.snapshot_version
            assert replay(world.home, problem, record).tobytes() == record.scores.tobytes()
            assert "batch" in record.ages_s
            assert explain.run(world.home, problem, name).passed
            assert answer["degraded"] == ([] if each == user else ["cold_start"])

        some = world.best(user)[3:6]
        answer, _ = ask("some", user_id=user, candidates=some[::-1])
        assert listed(answer) == (some, world.record(user)["scores"][3:6].tolist())

        answer, record = ask("more", user_id=user, candidates=[*some, NOBODY])
        assert answer["degraded"][0] == "batch_items"
        assert sorted(listed(answer)[0]) == sorted([*some, NOBODY])
        at_that_moment = replace(record, context=np.array(world.table.meta.context, np.float32))
        now = dict(zip(record.item_ids.tolist(), replay(world.home, problem, at_that_moment).tolist(), strict=True))
        assert [now[item] for item in some] == world.record(user)["scores"][3:6].tolist()

        answer, record = ask("nobody", user_id=NOBODY)
        assert {"batch_user", "unknown_user"} <= set(answer["degraded"])
        assert record.engine == "popularity"
        assert len(answer["items"]) == POOL


def test_hybrid_scores_the_candidates_picked_ahead(world: World, problem: Problem) -> None:
    """The same model and the same user row: at the run's moment the scores are the run's, to the bit."""
    user = world.user()
    with running(world.home, in_mode(world.design, "hybrid"), world.release) as server:
        ask = asking(server)
        answer, record = ask("hybrid", user_id=user, device="mobile")
        assert sorted(listed(answer)[0]) == sorted(world.best(user))
        assert answer["degraded"] == []
        assert record.item_ids.tolist() == world.best(user)
        assert replay(world.home, problem, record).tobytes() == record.scores.tobytes()
        assert record.context.tolist() != world.table.meta.context
        made = world.record(user)
        assert record.user_row.tobytes() == made["row"].tobytes()
        at_that_moment = replace(record, context=np.array(world.table.meta.context, np.float32))
        assert replay(world.home, problem, at_that_moment)[:TOP].tobytes() == made["scores"].tobytes()

        answer, _ = ask("named", user_id=user, candidates=world.best(user)[:5])
        assert sorted(listed(answer)[0]) == sorted(world.best(user)[:5])
        answer, _ = ask("stranger", user_id=NOBODY)
        assert "batch_user" in answer["degraded"]
        assert len(answer["items"]) == POOL
