"""Registry and model files when they are damaged, forged, slow or gone."""

import json
import pickle
import random
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from boosters import boosted, bundled, rows
from gameday import Seen
from miniature import first_free_port
from model_server import Server, candidates, running, store_items, store_users, train

from mlsd.bundle import MAX_BYTES, ModelRefused, read_bundle, sha256
from mlsd.delivery.models import RegistryModels
from mlsd.design import Design
from mlsd.engines.select import compile_engine, load_engine, load_now
from mlsd.features.snapshot import current
from mlsd.home import Home
from mlsd.local import processes, stack
from mlsd.local.plane import local_plane
from mlsd.local.ports import find_ports
from mlsd.problem import Problem
from mlsd.scoring import load_bundle
from mlsd.serving.feature_log import read_records
from mlsd.serving.keeping import Keeper
from mlsd.serving.release import Release
from mlsd.training import fetch

CORRUPTED = 200
FILES = ("manifest.json", "model.txt", "model.onnx")


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    """A good bundle, its digest, and another good bundle of the same kind."""
    folder = tmp_path_factory.mktemp("bundles")
    digest = bundled(folder / "one", boosted())
    bundled(folder / "two", boosted(seed=1, learning_rate=0.2))
    return folder / "one", digest, folder / "two"


def truncate(path: Path, rng: random.Random, _: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content))])


def flip(path: Path, rng: random.Random, _: Path) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def swap(path: Path, _: random.Random, other: Path) -> None:
    shutil.copy(other / path.name, path)


def empty(path: Path, _: random.Random, __: Path) -> None:
    path.write_bytes(b"")


def remove(path: Path, _: random.Random, __: Path) -> None:
    path.unlink()


def grow(path: Path, rng: random.Random, _: Path) -> None:
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.randrange(1, 2000)))


def make_huge(path: Path, _: random.Random, __: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(MAX_BYTES * 100)  # sparse: it takes no room on the disk, and would take it all in memory


def make_a_device(path: Path, _: random.Random, __: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def make_a_folder(path: Path, _: random.Random, __: Path) -> None:
    path.unlink()
    path.mkdir()


def make_noise(path: Path, rng: random.Random, _: Path) -> None:
    path.write_bytes(rng.randbytes(5000))


def make_a_pickle(path: Path, _: random.Random, __: Path) -> None:
    path.write_bytes(pickle.dumps(Payload(path.parent / "executed")))


def exchange(path: Path, _: random.Random, __: Path) -> None:
    """The right contents under each other's names."""
    path.rename(path.with_name("away"))
    other = path.with_name("model.txt" if path.name != "model.txt" else "model.onnx")
    other.rename(path)
    path.with_name("away").rename(other)


CORRUPTIONS: tuple[Callable[[Path, random.Random, Path], None], ...] = (
    truncate,
    flip,
    swap,
    empty,
    remove,
    grow,
    make_huge,
    make_a_device,
    make_a_folder,
    make_noise,
    make_a_pickle,
    exchange,
)


@pytest.mark.fault("Corrupt model (truncated)", "refused by its digest; the old model keeps serving")
@pytest.mark.fault("Corrupt or wrong model file", "refused before it is parsed; the old model keeps serving")
def test_200_corrupted_bundles_are_refused_while_the_old_model_scores(
    bundles: tuple[Path, str, Path], tmp_path: Path, design: Design, seen: Seen
) -> None:
    """LightGBM aborts the process on a cut text, and loads a flipped digit without a word."""
    good, digest, other = bundles
    home = Home(tmp_path)
    old, matrix = load_bundle(good, digest), rows(50)
    before, refused = old.score(matrix), 0
    for number in range(CORRUPTED):
        rng, folder = random.Random(number), tmp_path / "bad"
        shutil.copytree(good, folder)
        corrupt, name = CORRUPTIONS[number % len(CORRUPTIONS)], FILES[number // len(CORRUPTIONS) % len(FILES)]
        corrupt(folder / name, rng, other)
        for engine in ("lightgbm", "lleaves", "onnx"):
            needed = {"lightgbm": FILES[:2], "lleaves": FILES[:2], "onnx": FILES}[engine]
            if name in needed or corrupt is exchange:
                settings = design.serving.model_copy(update={"engine": engine})
                with pytest.raises(ModelRefused):
                    load_now(settings, folder, digest, home, 1.0)
                refused += engine == "onnx"
        assert not (folder / "executed").exists()
        shutil.rmtree(folder)
        assert np.array_equal(old.score(matrix), before)
    seen(f"{refused} of {CORRUPTED} corrupted bundles refused, every answer of the old model the same to the bit")
    assert refused == CORRUPTED


@pytest.mark.fault("Malicious artefact", "never unpickled; refused by the list of known formats")
def test_a_pickle_with_good_digests_is_refused_and_does_nothing(tmp_path: Path, seen: Seen) -> None:
    """Whoever can register a model can make its digests right; a model is text or a graph all the same."""
    folder, executed = tmp_path / "1", tmp_path / "executed"
    bundled(folder, boosted())
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        evil = pickle.dumps(Payload(executed), protocol)
        (folder / "model.txt").write_bytes(evil)
        (folder / "model.onnx").write_bytes(evil)
        content = json.loads((folder / "manifest.json").read_text())
        content |= {"model_sha256": sha256(evil), "exports": {"model.onnx": sha256(evil)}}
        (folder / "manifest.json").write_text(json.dumps(content))
        for engine in ("lightgbm", "onnx"):
            with pytest.raises(ModelRefused):
                load_engine(engine, folder, sha256((folder / "manifest.json").read_bytes()), Home(tmp_path))
        for name in ("model.pkl", "model.joblib", "../model.txt"):
            (folder / "manifest.json").write_text(json.dumps(content | {"model_file": name}))
            with pytest.raises(ModelRefused, match="model_file"):
                read_bundle(folder, None)
    pickle.loads(evil)
    assert executed.exists(), "it would have"
    seen("pickles of 6 protocols refused, nothing executed")


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9, 0.99, 0.9999])
def test_a_cut_text_with_good_digests_is_refused_not_an_abort(tmp_path: Path, share: float) -> None:
    text = boosted()
    cut = text[: int(len(text) * share)]
    head, _, tail = text.partition("\nTree=3")
    for bad in (cut, "", head + "\nTree=3" + tail.replace("leaf_value=", "leaf_value=0", 1)):
        digest = bundled(tmp_path, bad, graphs=False)
        with pytest.raises(ModelRefused, match="not a whole LightGBM model"):
            load_bundle(tmp_path, digest)


@contextmanager
def silent_registry() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        held: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    held.append(server.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for connection in held:
            connection.close()


@pytest.mark.slow
@pytest.mark.fault("Registry slow/half-open", "the deadline holds; the verified local copy is used without asking")
def test_a_registry_that_never_answers_is_given_up(
    home: Home, design: Design, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    with silent_registry() as url:
        monkeypatch.setenv("MLSD_MLFLOW_URL", url)
        started = time.monotonic()
        with pytest.raises(Exception, match="no result within 2 s"):
            fetch.bring(1, "0" * 64, 2.0)
        gave_up = time.monotonic() - started
        digest = bundled(home.models / "new", boosted())
        (home.models / "new").rename(home.models / f"1-{digest[:12]}")
        started = time.monotonic()
        found = RegistryModels(design, home).describe(1)
        asked = time.monotonic() - started
    seen(f"fetch given up after {gave_up:.1f} s of 2, local copy described in {asked:.2f} s")
    assert gave_up < 4
    assert found.digest == digest and asked < 1.5


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
    return httpx.get(f"{server.url}/readyz", timeout=5).status_code == 200


def within(seconds: float, fact: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if fact():
            return True
        time.sleep(0.1)
    return False


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
        assert not ready(server)
        assert all("model_unavailable" in str(degraded) for degraded in answered)
        assert "damaged or altered" in server.log.read_text()
        path.write_bytes(whole)
        assert within(60, lambda: ready(server)), server.log.read_text()
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
        assert within(30, lambda: ready(server))
        answers = []

        def swapped() -> bool:
            answers.append(ask(server))
            return "lleaves" in engines(served)

        assert within(90, swapped), server.log.read_text()
        answers += [ask(server) for _ in range(5)]
    assert list(dict.fromkeys(engines(served))) == ["lightgbm", "lleaves"]
    assert all(answer["degraded"] == [] for answer in answers)
    scores = [{entry["item_id"]: entry["score"] for entry in answer["items"]} for answer in answers]
    assert all(found == pytest.approx(scores[0], abs=1e-9) for found in scores)


def keep(home: Home, design: Design, problem: Problem, release: Release) -> tuple[Keeper, list[str]]:
    put: list[str] = []
    return Keeper(release, design, problem, current(home), home, lambda bundle: put.append(bundle.engine)), put


def test_a_server_starts_compiled_when_training_has_left_the_object(
    served: Home, patient_design: Design, problem: Problem
) -> None:
    release = train(served, patient_design, problem, 4)
    compile_engine(Path(release.model_dir), release.model_digest, served)
    keeper, put = keep(served, patient_design, problem, release)
    keeper.stop()
    assert (put, keeper.why) == (["lleaves"], "")


@pytest.mark.fault("Wrong model (feature list, schema, metric)", "refused by its signature, never ready")
def test_a_model_of_another_project_is_refused(
    served: Home, patient_design: Design, problem: Problem, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    monkeypatch.setattr("mlsd.serving.keeping.bring", lambda *_: None)
    folder = served.models / "foreign"
    digest = bundled(folder, boosted())
    release = Release(release_id=1, model_version=9, model_dir=str(folder), model_digest=digest)
    keeper, put = keep(served, patient_design, problem, release)
    keeper.stop()
    seen(keeper.why)
    assert put == [] and "trained for other features" in keeper.why


@pytest.mark.slow
@pytest.mark.fault("Registry down at start", "the last verified local copy serves, ready within 30 s")
@pytest.mark.fault("Registry down, no local copy", "fallback only, readiness says so")
def test_the_stack_comes_up_without_a_registry(
    served: Home, patient_design: Design, problem: Problem, monkeypatch: pytest.MonkeyPatch, seen: Seen
) -> None:
    """And without a local copy: popular items, flagged, and `mlsd up` says so."""
    release = train(served, patient_design, problem, 5)
    (served.results).mkdir(exist_ok=True)
    (served.results / "train.json").write_text(json.dumps({"details": {"champion": 5}}))
    described = served.root / "design.json"
    described.write_text(patient_design.model_dump_json(), encoding="utf-8")
    with silent_registry() as url:
        for name, value in {
            "MLSD_HOME": str(served.root),
            "MLSD_DESIGN": str(described),
            "MLSD_MLFLOW_URL": url,
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("MLSD_PORT", str(first_free_port()))
        monkeypatch.setattr("mlsd.delivery.models.FETCH_S", 2.0)
        ports = find_ports()
        body = {"user_id": 39, "candidates": candidates(current(served), 20)}
        try:
            started = time.monotonic()
            up = stack.start(patient_design, served, *local_plane(patient_design, served, ports), [])
            took = time.monotonic() - started
            assert up.passed
            assert httpx.post(f"{ports.edge_url}/rank", json=body, timeout=10).json()["degraded"] == []
            stack.down(served)
            shutil.rmtree(release.model_dir)
            up = stack.start(patient_design, served, *local_plane(patient_design, served, ports), [])
            answer = httpx.post(f"{ports.edge_url}/rank", json=body, timeout=10)
            assert not up.passed and "popular items only" in up.checks[0].measured
            assert answer.status_code == 200 and "model_unavailable" in answer.json()["degraded"]
            assert httpx.get(f"{ports.edge_url}/readyz", timeout=10).status_code == 503
        finally:
            processes.stop_all(served, grace_s=1.0)
    seen(f"ready in {took:.1f} s with a silent registry; without a copy popular items, /readyz 503")
    assert took < 30
