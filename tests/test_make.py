"""The template's own commands: where the data is, what the exit code is, nothing written into the project."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from conftest import PROJECT, ROOT

STUB = 'export DATA\ndemo:\n\t@echo "data=[$$DATA]"; exit $${RC:-0}\n'


@pytest.fixture
def clone(template: Path, tmp_path: Path) -> Path:
    """A clone whose project only says what it was asked for; the installed environment is shared."""
    copy = tmp_path / "clone"
    shutil.copytree(template, copy)
    (copy / PROJECT.name / "Makefile").write_text(STUB, encoding="utf-8")
    if (ROOT / ".venv").exists():
        (copy / ".venv").symlink_to(ROOT / ".venv")
    return copy


def demo(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "DATA"))}
    inherited |= {"HOME": str(folder)} | variables
    command = ["make", "demo", *arguments]
    return subprocess.run(command, cwd=folder, env=inherited, capture_output=True, text=True, check=False)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """What the project's `demo` said; an installation may speak before it."""
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_data_is_found_from_where_the_user_is(clone: Path) -> None:
    assert last_line(demo(clone)) == "data=[]"
    assert last_line(demo(clone, "DATA=my data/ml")) == f"data=[{clone}/my data/ml]"
    assert last_line(demo(clone, DATA="relative")) == f"data=[{clone}/relative]"
    assert last_line(demo(clone, "DATA=/abs/x y")) == "data=[/abs/x y]"


def test_a_failed_demo_fails(clone: Path) -> None:
    assert demo(clone, RC="1").returncode != 0
    assert demo(clone, RC="0").returncode == 0


def test_a_second_bake_brings_new_code_and_keeps_the_state(clone: Path) -> None:
    assert demo(clone).returncode == 0
    project = clone / ".demo" / "feed-ranker"
    (project / ".mlsd").mkdir()
    (project / ".mlsd" / "kept").write_text("state", encoding="utf-8")
    (project / "vendor" / "mlsd" / "src" / "mlsd" / "gone.py").write_text("old = True\n", encoding="utf-8")
    assert demo(clone).returncode == 0
    assert (project / ".mlsd" / "kept").exists()
    assert not (project / "vendor" / "mlsd" / "src" / "mlsd" / "gone.py").exists()


@pytest.mark.parametrize("wanted", ["1", None])
def test_processes_of_the_loop_share_bytecode_and_leave_none_where_none_is_wanted(
    tmp_path: Path, wanted: str | None
) -> None:
    shown = 'shown:\n\t@echo "$$PYTHONDONTWRITEBYTECODE|$$PYTHONPYCACHEPREFIX"\n'
    text = (PROJECT / "Makefile").read_text(encoding="utf-8")
    (tmp_path / "Makefile").write_text(f"{text}\n{shown}", encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "PYTHON"))}
    environment = inherited | ({"PYTHONDONTWRITEBYTECODE": wanted} if wanted else {})
    done = subprocess.run(["make", "shown"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (f"|{tmp_path}/.venv/pycache" if wanted else "|")
