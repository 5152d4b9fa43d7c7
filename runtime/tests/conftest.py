"""Fixtures shared by the project's tests."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from mlsd.core.clock import _offset
from mlsd.core.home import Home, find_home
from mlsd.data import ingest as data_step
from mlsd.design.design import Design, load_design
from mlsd.features import build as features_step
from mlsd.local import processes
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem, load_problem
from mlsd.problem.tables import Tables
from support.miniature import Miniature, first_free_port
from support.paths import PYTHONPATH
from support.ratings import write_ratings

if TYPE_CHECKING:
    from support.batch_run import Made
    from support.boosters import Model
    from support.model_server import Server

pytest_plugins = ["support.gameday"]
os.environ["PYTHONPATH"] = PYTHONPATH  # for every process that a test starts

# The same examples on every machine, however slow it is.
settings.register_profile(
    "steady", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("steady")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for a job in the background; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def design() -> Design:
    """The project's own design."""
    return load_design()


@pytest.fixture(scope="session")
def small_design(design: Design) -> Design:
    """The same design on a small world."""
    content = design.model_dump(mode="json")
    content["data"]["synthetic"] |= {"users": 300, "items": 400, "days": 21, "requests_per_day": 80}
    content["data"]["min_rows"] = 500
    return Design.model_validate(content)


@pytest.fixture(scope="session")
def problem(design: Design) -> Problem:
    """The pack that the design names."""
    return load_problem(design.problem)


@pytest.fixture(scope="session")
def world(small_design: Design, problem: Problem) -> Tables:
    """The tables of the small world; it ends at `WORLD_END`. Tests that change a table change a copy."""
    return problem.synthesise(small_design)


@pytest.fixture(scope="session")
def featured_home(tmp_path_factory: pytest.TempPathFactory, small_design: Design, problem: Problem) -> Home:
    """A state folder after `mlsd data` and `mlsd features` on the small world. Tests leave it as it is."""
    home = Home(tmp_path_factory.mktemp("featured") / "mlsd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSD_HOME", str(home.root))
        _offset.cache_clear()
        for result in (
            data_step.run(Context.of(small_design, home, problem)),
            features_step.run(Context.of(small_design, home, problem)),
        ):
            assert result.passed, result
            result.save(home)
    _offset.cache_clear()
    return home


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty state folder."""
    monkeypatch.setenv("MLSD_HOME", str(tmp_path / "mlsd"))
    _offset.cache_clear()
    return find_home()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder of ratings in the layout of MovieLens."""
    return write_ratings(tmp_path / "files")


@pytest.fixture
def free_port(monkeypatch: pytest.MonkeyPatch) -> int:
    """The first of five free ports in a row; MLSD_PORT says so."""
    first = first_free_port()
    monkeypatch.setenv("MLSD_PORT", str(first))
    return first


@pytest.fixture(scope="session")
def patient_design(small_design: Design) -> Design:
    """The small design with budgets that a busy test machine keeps too."""
    content = small_design.model_dump(mode="json")
    hops = content["latency"]["hops_ms"] | {"features": 1000, "inference": 2000, "post": 1000}
    content["latency"] = {"p99_ms": 5000, "hops_ms": hops}
    content["serving"]["admission"] |= {"prune_queue_ms": 2000, "max_queue_ms": 4000}
    return Design.model_validate(content)


@pytest.fixture(scope="session")
def served_home(tmp_path_factory: pytest.TempPathFactory, small_design: Design, problem: Problem) -> Home:
    """A state folder that a model server can answer from: 300 stored users, a snapshot of 400 items."""
    from support.model_server import store_items, store_users

    home = Home(tmp_path_factory.mktemp("served") / "mlsd")
    moment = datetime.now(UTC)
    store_users(home, small_design, problem, 300, moment)
    store_items(home, problem, 400, moment)
    return home


@pytest.fixture(scope="session")
def attacked(tmp_path_factory: pytest.TempPathFactory, patient_design: Design, problem: Problem) -> Iterator["Server"]:
    """A model server of its own for tests that attack it: few connections, its feature log on a small disk."""
    from support import small_disk
    from support.model_server import running, store_items, store_users, train

    home, moment = Home(tmp_path_factory.mktemp("attacked") / "mlsd"), datetime.now(UTC)
    content = patient_design.model_dump(mode="json")
    content["serving"] |= {"max_connections": 200, "engine": "lightgbm"}  # nothing is swapped in meanwhile
    content["serving"]["popular_cache"]["entries"] = 50  # full at once: what grows later is kept for nothing
    design = Design.model_validate(content)
    store_users(home, design, problem, 100, moment)
    store_items(home, problem, 600, moment)
    with running(home, design, train(home, design, problem), under=small_disk.under(home.feature_log)) as server:
        yield server


@pytest.fixture(scope="session")
def quick_design(design: Design) -> Design:
    """The project's design with rollouts that need few answers, and budgets that a busy test machine keeps too."""
    content = design.model_dump(mode="json")
    hops = {"retrieval": 250, "edge": 50, "features": 50, "inference": 250, "post": 50}
    content["latency"] = {"p99_ms": 1000, "hops_ms": hops}
    content["delivery"] |= {"step_timeout_s": 40}
    content["delivery"]["shadow"]["min_requests"] = 40
    content["delivery"]["canary"]["min_requests"] = 12
    return Design.model_validate(content)


@pytest.fixture
def miniature(quick_design: Design, home: Home, free_port: int) -> Iterator[Miniature]:
    """A stack around a small model server, not started yet."""
    yield Miniature(quick_design, home)
    processes.stop_all(home, grace_s=1.0)


@pytest.fixture(scope="module")
def standing(quick_design: Design, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Miniature]:
    """One running stack for all tests of a file: release 1, model 1, is champion in slot a."""
    home = Home(tmp_path_factory.mktemp("standing") / "mlsd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLSD_HOME", str(home.root))
        patch.setenv("MLSD_PORT", str(first_free_port()))
        small = Miniature(quick_design, home)
        small.up()
        yield small
        processes.stop_all(home, grace_s=1.0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> "Model":
    """A compiled bundle, its digest and its home; tests that spoil the object compile it again."""
    from mlsd.models.selection import compile_engine
    from support.boosters import boosted, bundled

    home = Home(tmp_path_factory.mktemp("home"))
    folder = home.models / "1"
    digest = bundled(folder, boosted())
    compile_engine(folder, digest, home)
    return folder, digest, home


@pytest.fixture(scope="module")
def made(
    featured_home: Home, small_design: Design, problem: Problem, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[Made]":
    """A copy of the small world with a model and one run of `mlsd batch`."""
    from support.batch_run import runs

    yield from runs(featured_home, small_design, problem, tmp_path_factory.mktemp("batch"))
