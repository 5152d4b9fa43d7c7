"""Registry and served model when they are damaged, slow or gone."""

import random
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from mlsd.core.home import Home
from mlsd.delivery.releases.models import RegistryModels
from mlsd.design.design import Design
from mlsd.features.snapshot import current
from mlsd.local import processes, stack, status
from mlsd.local.ports import find_ports
from mlsd.local.target import local_target
from mlsd.prediction_log.writer import read_records
from mlsd.problem.problem import Problem
from mlsd.registry import fetch
from support.boosters import boosted, bundled, flip
from support.gameday import Seen
from support.miniature import first_free_port
from support.model_server import ANSWER_S, Server, candidates, running, store_items, store_users, train
from support.trained import trained
from support.waiting import within


@contextmanager
def silent_registry() -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that accepts connections and never answers: its address, and who is connected."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    held.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", held
        for connection in held:
            connection.close()


@pytest.mark.slow
@pytest.mark.fault("Registry slow/half-open", "the deadline holds; the verified local copy is used without asking")
def test_a_registry_that_never_answers_is_given_up(
    home: Home, design: Design, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    with silent_registry() as (url, _):
        monkeypatch.setenv("MLSD_MLFLOW_URL", url)
        started = time.monotonic()
        with pytest.raises(Exception, match="no result within 2 s"):
            fetch.fetch_bundle(1, "0" * 64, 2.0)
        gave_up = time.monotonic() - started
    digest = bundled(home.models / "new", boosted())
    (home.models / "new").rename(home.models / f"1-{digest[:12]}")
    with silent_registry() as (url, held):
        monkeypatch.setenv("MLSD_MLFLOW_URL", url)
        started = time.monotonic()
        found = RegistryModels(design, home).describe(1)
        asked = time.monotonic() - started
        with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
            assert within(10, lambda: bool(held))
        assert len(held) == 1  # this one; whoever had connected before it would be held, too
    seen(f"fetch given up after {gave_up:.1f} s of 2, local copy described in {asked:.2f} s")
    assert gave_up < 30
    assert found.digest == digest


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, patient_design: Design, problem: Problem) -> Home:
    """Users and items to answer from, of this file alone: models come and go."""
    home = Home(tmp_path_factory.mktemp("faulty") / "mlsd")
    moment = datetime.now(UTC)
    store_users(home, patient_design, problem, 60, moment)
    store_items(home, problem, 200, moment)
    return home


def ask(server: Server, user: int = 39) -> dict[str, Any]:
    answer = server.rank({"user_id": user, "candidates": candidates(current(server.home), 20)})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ready(server: Server) -> bool:
    return httpx.get(f"{server.url}/readyz", timeout=ANSWER_S).status_code == 200


@pytest.mark.slow
@pytest.mark.fault("Corrupt model (bit flip)", "a new server never gets ready and says why; it heals with the file")
def test_a_corrupt_model_never_gets_ready_and_heals(
    served: Home, patient_design: Design, problem: Problem, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    monkeypatch.setenv("MLSD_MLFLOW_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    release = train(served, patient_design, problem, 2)
    path = Path(release.model_dir) / "model.txt"
    whole = path.read_bytes()
    flip(path, random.Random(0), path)
    with running(served, patient_design, release) as server:
        answered = [ask(server)["degraded"] for _ in range(20)]
        refused = httpx.get(f"{server.url}/readyz", timeout=ANSWER_S)
        assert refused.status_code == 503
        assert "model refused" in refused.text and "model.txt" in refused.text and str(served.root) not in refused.text
        assert all("model_unavailable" in str(degraded) for degraded in answered)
        assert "damaged or altered" in server.log.read_text()
        path.write_bytes(whole)
        assert within(200, lambda: ready(server)), server.log.read_text()
        assert ask(server)["degraded"] == []
    seen("20 of 20 answers popular and flagged, /readyz 503; ready by itself once the file was good again")


def engines(home: Home) -> list[str]:
    """What scored the answers of model 3, in order."""
    return [record.engine for record in read_records(home.feature_log) if record.model_version == 3]


@pytest.mark.slow
def test_the_compiled_engine_is_swapped_in_without_dropping_a_request(
    served: Home, patient_design: Design, problem: Problem
) -> None:
    """5.11: native while the compiler works beside it, then compiled; nobody notices but the clock."""
    release = train(served, patient_design, problem, 3)
    shutil.rmtree(served.engines, ignore_errors=True)
    with running(served, patient_design, release) as server:
        assert within(90, lambda: ready(server))
        answers = []

        def swapped() -> bool:
            answers.append(ask(server))
            return "lleaves" in engines(served)

        assert within(200, swapped), server.log.read_text()
        answers += [ask(server) for _ in range(5)]
    assert list(dict.fromkeys(engines(served))) == ["lightgbm", "lleaves"]
    assert all(answer["degraded"] == [] for answer in answers)
    scores = [{entry["item_id"]: entry["score"] for entry in answer["items"]} for answer in answers]
    assert all(found == pytest.approx(scores[0], abs=1e-9) for found in scores)


@pytest.mark.slow
@pytest.mark.fault("Registry down at start", "the last verified local copy serves, ready within 30 s")
@pytest.mark.fault("Registry down, no local copy", "fallback only, readiness says so")
def test_the_stack_comes_up_without_a_registry(
    served: Home, patient_design: Design, problem: Problem, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """And without a local copy: popular items, flagged, and `mlsd up` says so."""
    release = train(served, patient_design, problem, 5)
    trained(served, 5)
    described = served.root / "design.json"
    described.write_text(patient_design.model_dump_json(), encoding="utf-8")
    with silent_registry() as (url, _):
        monkeypatch.setenv("MLSD_HOME", str(served.root))
        monkeypatch.setenv("MLSD_DESIGN", str(described))
        monkeypatch.setenv("MLSD_MLFLOW_URL", url)
        monkeypatch.setenv("MLSD_PORT", str(first_free_port()))
        monkeypatch.setattr("mlsd.delivery.releases.models.FETCH_S", 2.0)
        monkeypatch.setattr("mlsd.local.target.READY_S", 100.0)
        monkeypatch.setattr("mlsd.local.stack.EDGE_S", 60.0)
        ports = find_ports()
        body = {"user_id": 39, "candidates": candidates(current(served), 20)}
        try:
            started = time.monotonic()
            up = stack.start(patient_design, served, *local_target(patient_design, served, ports), [])
            took = time.monotonic() - started
            assert up.passed
            assert httpx.post(f"{ports.edge_url}/rank", json=body, timeout=ANSWER_S).json()["degraded"] == []
            stack.down(served)
            shutil.rmtree(release.model_dir)
            up = stack.start(patient_design, served, *local_target(patient_design, served, ports), [])
            answer = httpx.post(f"{ports.edge_url}/rank", json=body, timeout=ANSWER_S)
            assert not up.passed and "popular items only" in up.checks[0].measured
            assert answer.status_code == 200 and "model_unavailable" in answer.json()["degraded"]
            assert httpx.get(f"{ports.edge_url}/readyz", timeout=ANSWER_S).status_code == 503
            said = {check.name: check for check in status.status(patient_design, served).checks}
            assert said["envoy"].passed and not said["slot-a"].passed and not said["through the edge"].passed
            assert "not ready: 503 model refused" in said["slot-a"].measured
        finally:
            processes.stop_all(served, grace_s=1.0)
    seen(f"ready in {took:.1f} s with a silent registry; without a copy popular items, /readyz 503")
    assert took < 90  # of a busy machine; MLflow by its own defaults waits for 260 s
