"""Fixtures shared by the project's tests."""

import random
from pathlib import Path

import pytest

from mlsd.clock import _offset
from mlsd.design import Design, load_design
from mlsd.errors import UserError
from mlsd.home import Home, find_home
from mlsd.local.ports import COUNT, require_free


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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty state folder."""
    monkeypatch.setenv("MLSD_HOME", str(tmp_path / "mlsd"))
    _offset.cache_clear()
    return find_home()


@pytest.fixture
def free_port(monkeypatch: pytest.MonkeyPatch) -> int:
    """The first of five free ports in a row, below the range that the system hands out; MLSD_PORT says so."""
    for first in random.sample(range(20_000, 32_000, COUNT), 100):
        try:
            for port in range(first, first + COUNT):
                require_free(port, "test")
        except UserError:
            continue
        monkeypatch.setenv("MLSD_PORT", str(first))
        return first
    raise AssertionError("no five free ports in a row")
