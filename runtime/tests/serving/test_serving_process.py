"""A serving process from its start, also with a model that it must refuse, to its end."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.snapshot import current
from mlsd.models.bundle import ModelRefused
from mlsd.models.release import RELEASE, Release, release_from_env
from mlsd.prediction_log.writer import read_records
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.serving.launch import environment
from mlsd.serving.loading.bundle_loading import load_model
from support.connection import ClientConnection, request
from support.model_server import ANSWER_S, Server, asked, faults, running, train
from support.waiting import within

pytestmark = pytest.mark.slow


def test_the_serving_process_carries_no_training_stack(
    served_home: Home, patient_design: Design, problem: Problem
) -> None:
    """ARCHITECTURE: it imports neither Feast nor MLflow, nor what these and LightGBM would drag in."""
    release = train(served_home, patient_design, problem, version=8)  # not compiled by another test's server
    code = (
        "import sys; from feed_ranking import service; service.SERVICE.inner();"
        "assert service.APP.ready; print(*sys.modules)"
    )
    env = os.environ | environment(served_home, "b", release)
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True, timeout=200
    )
    loaded = set(done.stdout.split())
    assert "lightgbm" in loaded
    assert not loaded & {"feast", "mlflow", "pandas", "sklearn", "pyarrow", "kfp", "sqlalchemy", "matplotlib"}
    assert "opentelemetry.exporter.otlp.proto.http.trace_exporter" not in loaded


def test_a_damaged_model_never_becomes_ready(served_home: Home, patient_design: Design, problem: Problem) -> None:
    """One flipped digit, which LightGBM itself would load without a word; faults cannot be planted here either."""
    release = train(served_home, patient_design, problem, version=2)
    model = Path(release.model_dir) / "model.txt"
    text = model.read_text()
    at = next(k for k in range(len(text) // 2, len(text)) if text[k].isdigit())
    model.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    with running(served_home, patient_design, release) as server:
        assert httpx.get(f"{server.url}/readyz", timeout=ANSWER_S).status_code == 503
        assert "model refused" in server.log.read_text()
        assert "Traceback" not in server.log.read_text()
        answer = server.rank(asked(server, 1))
        assert answer.status_code == 200
        assert answer.json()["degraded"][-1] in {"model_unavailable", "cold_start"}
        assert httpx.get(f"{server.url}/readyz", timeout=ANSWER_S).status_code == 503
        assert httpx.put(f"{server.url}/faults", json={}, timeout=ANSWER_S).status_code == 404


def test_a_model_for_other_features_is_refused(served_home: Home, patient_design: Design, problem: Problem) -> None:
    """3.18: the feature service, the features and their order are part of the model."""
    context, snapshot = Context.of(patient_design, served_home, problem), current(served_home)
    names = list(problem.feature_names)
    changes = [
        ({"feature_names": [*names[1:], names[0]]}, "feature_names"),
        ({"feature_service": "ranking_v0"}, "feature_service"),
        ({"user_columns": list(problem.user_columns)[:-1]}, "user_columns"),
        ({"item_columns": list(problem.item_columns)[:-1]}, "item_columns"),
    ]
    for change, named in changes:
        release = train(served_home, patient_design, problem, version=3, **change)
        with pytest.raises(ModelRefused, match=named):
            load_model(release, context, snapshot)
    release = train(served_home, patient_design, problem, version=3)
    load_model(release, context, snapshot)
    with pytest.raises(ModelRefused, match="sha256"):
        load_model(release.model_copy(update={"model_digest": "0" * 64}), context, snapshot)
    model = Path(release.model_dir) / "model.txt"
    model.write_bytes(model.read_bytes()[:-1000])
    with pytest.raises(ModelRefused, match="sha256"):
        load_model(release, context, snapshot)


def test_a_process_that_was_told_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("", "{", "{}", '{"release_id": 1}'):
        monkeypatch.setenv(RELEASE, text)
        with pytest.raises(UserError, match=RELEASE):
            release_from_env()
    release = Release(release_id=1, model_version=2, model_dir="x", model_digest="y")
    monkeypatch.setenv(RELEASE, release.model_dump_json())
    assert release_from_env() == release


class Told:
    """What /readyz said, asked without a pause over one connection until the server listens no more."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.texts: set[str] = set()

    def ask(self, server: Server) -> None:
        with suppress(httpx.HTTPError), httpx.Client(base_url=server.url, timeout=ANSWER_S) as client:
            while True:
                answer = client.get("/readyz")
                self.texts.add(answer.text)
                self.codes.append(answer.status_code)

    def more(self) -> bool:
        """Whether the server reads what comes now: a few answers on."""
        count = len(self.codes) + 10
        return within(60, lambda: len(self.codes) >= count)


def test_sigterm_takes_readiness_away_then_finishes_what_is_in_flight_and_keeps_its_records(
    served_home: Home, patient_design: Design, problem: Problem
) -> None:
    release = train(served_home, patient_design, problem, version=4)
    told = Told()
    with running(served_home, patient_design, release, faults=True) as server, ThreadPoolExecutor(1) as caller:
        assert within(200, lambda: httpx.get(f"{server.url}/readyz", timeout=ANSWER_S).status_code == 200)
        assert faults(server, slow_ms=3000) == 200
        body = json.dumps(asked(server, 39, count=10)).encode()
        with ClientConnection(int(server.url.rpartition(":")[2]), ANSWER_S) as connection:
            polling = caller.submit(told.ask, server)
            connection.send(request(body, "x-request-id: last"))
            assert told.more()  # so the request before is in flight
            server.process.terminate()
            answer = connection.answer()
        polling.result(60)
        assert answer is not None and answer.status == 200
        assert set(told.codes) - {200} == {503}
        assert any("shutting down" in text for text in told.texts)
        server.process.wait(60)
    assert "last" in {record.request_id for record in read_records(served_home.feature_log)}
