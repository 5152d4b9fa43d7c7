"""The pipeline on this machine: any folder, a deadline, and a message with the line that matters (3.09)."""

import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.pipelines import local_run
from mlsd.pipelines.local_run import reason, run_pipeline

ARGUMENTS = ("home", "design", "folder", "tables_digest", "window_start", "window_end", "champion")


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("Running pipeline: train\n/bin/sh: 4: /srv/My: not found\n\n" + "-" * 80, "/bin/sh: 4: /srv/My: not found"),
        ("Traceback (most recent call last):\n  x\nMemoryError: full\nTask failed: FAILURE", "MemoryError: full"),
        ("INFO mlsd: fitted\nKilled\n====\nPipeline train finished with status FAILURE", "Killed"),
        ("-----\n\n", "no output"),
    ],
)  # fmt: skip
def test_the_line_that_matters_is_shown(log: str, expected: str) -> None:
    assert reason(log) == expected


def pipeline(home: Home, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    run_pipeline(home, folder, dict.fromkeys(ARGUMENTS, "x") | {"home": str(home.root), "folder": str(folder)})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["My Projects", "it's $HOME; `id`", "höhe & tiefe"])
def test_an_interpreter_in_a_folder_of_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step starts, and fails for the design that is none, in its own words."""
    folder = tmp_path / name
    folder.mkdir()
    wrapper = folder / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(wrapper))
    with pytest.raises(UserError, match=r"x: not found|design"):
        pipeline(Home(folder / "mlsd"), folder / "run")
    assert sys.executable == str(wrapper)


@pytest.mark.slow
def test_a_step_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text("#!/bin/sh\nsleep 300\n", encoding="utf-8")
    wrapper.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(wrapper))
    monkeypatch.setattr(local_run, "DEADLINE_S", 3.0)
    began = time.monotonic()
    with pytest.raises(UserError, match=r"no result within 3 s, ended; see .*train\.log"):
        pipeline(Home(tmp_path / "mlsd"), tmp_path / "run")
    assert time.monotonic() - began < 100


@pytest.mark.slow
def test_duckdb_spills_into_the_state_folder_within_a_bound(featured_home: Home) -> None:
    assert not Path(".tmp").exists()
    import ibis

    from mlsd.features.repository.duckdb_bounds import bind, memory_mib

    bind(featured_home)
    found = dict(
        ibis.get_backend()
        .con.execute(
            "SELECT name, value FROM duckdb_settings() WHERE name IN ('temp_directory', 'memory_limit', 'threads')"
        )
        .fetchall()
    )
    assert found["temp_directory"] == str(featured_home.feast / "spill")
    assert 1 <= int(found["threads"]) <= (os.cpu_count() or 1)
    assert memory_mib() * 2**20 < os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert found["memory_limit"].endswith(("MiB", "GiB"))
