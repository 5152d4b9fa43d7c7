"""Fixtures that the project's tests share."""

import os
from pathlib import Path

import pytest

from mlsd.core import clock
from mlsd.core.home import Home, find_home
from mlsd.design.design import Design, load_design
from mlsd.problem.problem import Problem, load_problem
from mlsd.problem.tables import Tables

PROJECT = Path(__file__).resolve().parents[1]
SOURCES = [PROJECT / "src", PROJECT / "vendor" / "mlsd" / "src"]
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, SOURCES))  # for every process that a test starts


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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty state folder."""
    monkeypatch.setenv("MLSD_HOME", str(tmp_path / "mlsd"))
    clock.reread()
    return find_home()
