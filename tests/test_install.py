"""`install.sh` on machines that lack something: one clear sentence, a failing exit code, nothing half made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import PROJECT

SCRIPT = PROJECT / "requirements" / "install.sh"
OLD = '[ "$1" = --version ] && echo "Python 3.9.1"; [ "$1" = --version ]'
NO_ENSUREPIP = f'case "$2" in *ensurepip*) exit 1;; esac; exec {sys.executable} "$@"'


def install(folder: Path, python: str | None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script with only the tools it may expect, and `python3` as given."""
    tools = folder / "bin"
    tools.mkdir()
    for tool in ("sh", "dirname", "sed", "tail"):
        found = next(Path(place, tool) for place in ("/usr/bin", "/bin") if Path(place, tool).exists())
        (tools / tool).symlink_to(found)
    if python:
        (tools / "python3").write_text(f"#!/bin/sh\n{python}\n", encoding="utf-8")
        (tools / "python3").chmod(0o755)
    environment = {"PATH": str(tools), "HOME": str(folder)} | variables
    command = [str(tools / "sh"), str(SCRIPT), str(folder / "venv"), str(SCRIPT.parent / "dev.txt")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("python", "message"),
    [
        (OLD, "Python 3.11, 3.12 or 3.13 is needed: found Python 3.9.1"),
        (None, "Python 3.11, 3.12 or 3.13 is needed"),
        (NO_ENSUREPIP, "apt-get install python3-venv"),
    ],
    ids=["too old", "absent", "without venv"],
)
def test_what_is_missing_is_named(tmp_path: Path, python: str | None, message: str) -> None:
    done = install(tmp_path, python)
    assert done.returncode != 0
    assert message in done.stderr
    assert not (tmp_path / "venv").exists()


def test_an_index_that_cannot_be_reached_fails(tmp_path: Path) -> None:
    """The index that is set for pip is the one that is asked."""
    index = "http://127.0.0.1:9/simple"
    done = install(tmp_path, f'exec {sys.executable} "$@"', PIP_INDEX_URL=index, PIP_RETRIES="0", PIP_TIMEOUT="1")
    assert done.returncode != 0
    assert "uv" in done.stderr


def test_the_scripts_are_plain_shell() -> None:
    for script in (SCRIPT, *SCRIPT.parents[2].glob(".ci/run")):
        shell = "bash" if script.name == "run" else "sh"
        assert subprocess.run([shell, "-n", str(script)], env=dict(os.environ), check=False).returncode == 0
