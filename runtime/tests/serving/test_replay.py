"""Training-serving skew: what a live process logged is computed again from the log, to the bit."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from mlsd.core import clock
from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.core.result import StepResult
from mlsd.design.design import Design
from mlsd.features.items import ItemStore
from mlsd.features.snapshot import current
from mlsd.models.release import Release
from mlsd.models.selection import compile_engine, load_engine
from mlsd.prediction_log.framing import ReadCount
from mlsd.prediction_log.record import Record
from mlsd.prediction_log.writer import FeatureLog, read_records
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.serving.inference import explain
from mlsd.serving.inference.cache import AnswerCache
from mlsd.serving.inference.ranker import Ranker
from mlsd.serving.inference.replay import matrix, replay, snapshots
from mlsd.serving.inference.user_stores import open_users
from mlsd.tasks.ranking import response as answer
from mlsd.tasks.ranking.ranking import Progress, Ranking
from mlsd.tasks.ranking.request import RankRequest
from support.model_server import ANSWER_S, candidates, running, train

pytestmark = pytest.mark.slow


REQUESTS = 1000
MODELS = {"lightgbm", "lleaves"}
Logged = dict[str, tuple[Record, dict[int, float]]]
Sent = tuple[Path, dict[str, dict[int, float]]]


@pytest.fixture
def of_today(served_home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process's clock is that of the served world."""
    monkeypatch.setenv("MLSD_HOME", str(served_home.root))
    clock.reread()
    yield
    clock.reread()


@pytest.fixture(scope="module")
def sent(served_home: Home, patient_design: Design, problem: Problem, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    """A thousand requests sent to a model server over eight connections: a folder of its own log, and the answers."""
    release = train(served_home, patient_design, problem, version=5)
    snapshot = current(served_home)
    with (
        running(served_home, patient_design, release) as server,
        httpx.Client(base_url=server.url, timeout=ANSWER_S) as client,
    ):
        own = f"b-{server.worker.pid}-*.log"

        def send(k: int) -> tuple[str, dict[int, float]]:
            body = {"user_id": k % 320 + 1, "candidates": candidates(snapshot, 20 + k % 300, k)}
            content = json.dumps(body if k % 3 else body | {"device": "desktop"})
            response = client.post("/rank", content=content, headers={"x-request-id": f"replay-{k}"})
            assert response.status_code == 200
            return f"replay-{k}", {item["item_id"]: item["score"] for item in response.json()["items"]}

        with ThreadPoolExecutor(8) as pool:
            answers = dict(pool.map(send, range(REQUESTS)))
    folder = tmp_path_factory.mktemp("log")  # another server of this home may have been killed
    for path in served_home.feature_log.glob(own):
        (folder / path.name).symlink_to(path)
    return folder, answers


@pytest.fixture(scope="module")
def logged(sent: Sent) -> Logged:
    """The record and the answer of each request."""
    folder, answers = sent
    records = {record.request_id: record for record in read_records(folder)}
    return {name: (records[name], scores) for name, scores in answers.items()}


def test_a_thousand_requests_replay_to_the_bit(logged: Logged, served_home: Home, problem: Problem) -> None:
    """3.14, 5.32: same functions, same snapshot, same model; nothing is lost on the way into the log and out of it."""
    load = snapshots(served_home)
    engines = set()
    for record, scores in logged.values():
        again = replay(served_home, problem, record, load)
        assert again.tobytes() == record.scores.tobytes()
        assert dict(zip(record.item_ids.tolist(), again.tolist(), strict=True)) == scores
        engines.add(record.engine)
    assert len(logged) == REQUESTS
    assert {"popularity"} < engines <= {"lightgbm", "lleaves", "popularity"}


def test_a_share_of_the_log_holds_every_feature_and_they_are_the_same(
    logged: Logged, served_home: Home, problem: Problem
) -> None:
    """3.15: skew between what was fed and what is computed today would show here."""
    load = snapshots(served_home)
    full = [record for record, _ in logged.values() if record.features is not None]
    assert 0 < len(full) < REQUESTS / 10
    for record in full:
        assert record.features is not None
        assert matrix(record, problem, load).tobytes() == record.features.tobytes()


def test_explain_replays_one_request_and_shows_its_features(
    logged: Logged, served_home: Home, problem: Problem
) -> None:
    name, (record, scores) = next((name, pair) for name, pair in logged.items() if pair[0].engine in MODELS)
    result = explain.run(served_home, problem, name)
    assert result.passed
    best = result.details["best"]
    assert isinstance(best, list)
    assert isinstance(best[0], dict)
    assert best[0]["score"] == max(scores.values()) == record.scores.max()
    assert set(best[0]["features"]) == set(problem.feature_names)  # type: ignore[arg-type]
    assert json.dumps(result.model_dump(mode="json"), allow_nan=False)
    with pytest.raises(UserError, match=r"no record of request 'nobody' in \d+ files"):
        explain.run(served_home, problem, "nobody")


def test_one_bit_of_difference_is_seen(logged: Logged, served_home: Home, problem: Problem) -> None:
    record = next(record for record, _ in logged.values() if record.engine in MODELS)
    user = record.user_row.copy()
    user[problem.user_columns.index("user_ctr")] += np.float32(0.5)
    load = snapshots(served_home)
    assert not np.array_equal(matrix(replace(record, user_row=user), problem, load), matrix(record, problem, load))
    scores = record.scores.copy()
    scores[0] = np.nextafter(scores[0], 1)
    assert replay(served_home, problem, record, load).tobytes() != scores.tobytes()


def test_nothing_of_the_log_was_torn(sent: Sent) -> None:
    folder, answers = sent
    count = ReadCount()
    assert sum(1 for _ in read_records(folder, count=count)) == len(answers) == REQUESTS
    assert count.torn == 0


def _explained(home: Home, problem: Problem, request: RankRequest, ranking: Ranking, release: Release) -> StepResult:
    """Log an answer and explain it."""
    name = f"explained-{ranking.degraded}"
    log = FeatureLog(home.feature_log, "c", size=9, retention_days=30)
    log.append(answer.record(request, ranking, name, release, "live", 1.0, full=False))
    log.close()
    return explain.run(home, problem, name)


@pytest.mark.usefixtures("of_today")
def test_pruned_and_cached_answers_say_so_and_replay(
    served_home: Home, patient_design: Design, problem: Problem
) -> None:
    """What was left out is in the record; what was kept from before is replayed as it was then."""
    release = train(served_home, patient_design, problem, version=6)
    bundle = load_engine("lightgbm", Path(release.model_dir), release.model_digest, served_home)
    users, items = open_users(Context.of(patient_design, served_home, problem)), ItemStore(served_home, problem)
    ranker = Ranker(patient_design, problem, users, items, bundle)
    request = RankRequest(17, np.array(candidates(current(served_home), 60), np.int64), "mobile")

    pruned = _explained(served_home, problem, request, ranker.rank(request, Progress(), keep=20), release)
    assert pruned.passed
    assert pruned.checks[0].measured == "20 of 20"
    assert "20 of 60 candidates" in pruned.summary
    assert "pruned (under pressure" in pruned.summary
    left_out = pruned.details["left_out"]
    assert isinstance(left_out, list)
    assert len(left_out) == 40
    assert set(left_out) < set(request.candidates.tolist())

    cache = AnswerCache(patient_design.serving.popular_cache)
    key = cache.key(request, ranker.snapshot_version)
    cache.keep(key, ranker.rank(request, Progress()), b"[]")
    found = cache.find(key)
    assert found is not None
    cached = _explained(served_home, problem, request, found[0], release)
    assert cached.passed
    assert cached.checks[0].measured == "60 of 60"
    assert "cached (the answer was kept" in cached.summary
    assert "cache 0 s" in cached.summary
    user = cached.details["user"]
    assert isinstance(user, dict)
    assert {view: set(part) for view, part in user.items()} == {  # type: ignore[arg-type]
        view: {"age_s", "values"} for view in problem.user_views
    }


@pytest.mark.usefixtures("of_today")
def test_the_engine_that_answered_replays(served_home: Home, patient_design: Design, problem: Problem) -> None:
    """Compiled trees may differ from LightGBM in the last bit, so the record's engine decides."""
    release = train(served_home, patient_design, problem, version=7)
    folder = Path(release.model_dir)
    users, items = open_users(Context.of(patient_design, served_home, problem)), ItemStore(served_home, problem)
    request = RankRequest(17, np.array(candidates(current(served_home), 300), np.int64), "mobile")
    for bundle in (
        load_engine("lightgbm", folder, release.model_digest, served_home),
        compile_engine(folder, release.model_digest, served_home),
    ):
        ranking = Ranker(patient_design, problem, users, items, bundle).rank(request, Progress())
        record = answer.record(request, ranking, "engine", release, "live", 1.0, full=False)
        assert record.engine == bundle.engine
        assert replay(served_home, problem, record).tobytes() == record.scores.tobytes()
    with pytest.raises(UserError, match="engine 'triton'"):
        replay(served_home, problem, replace(record, engine="triton"))
