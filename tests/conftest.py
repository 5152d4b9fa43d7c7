"""A clean copy of the template, and bakes of it that leave nothing in the user's own folders."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "{{cookiecutter.__project_slug.0}}"
RUNTIME = ROOT / "runtime"
RENDERED = {"design.yaml", "pyproject.toml", "README.md", "LICENSE"}
sys.path[:0] = [str(RUNTIME / "src"), str(PROJECT / "src")]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as for a job in the background; children would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

Bake = Callable[..., Path]


def tracked() -> list[Path]:
    """Every file that belongs to the template, relative to its root: what git holds or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    return sorted({Path(name) for name in names if name and ((ROOT / name).is_file() or (ROOT / name).is_symlink())})


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template as a fresh clone has it."""
    copy = tmp_path_factory.mktemp("template")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    return copy


@pytest.fixture(scope="session")
def thin_template(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without the files that are copied verbatim: for hundreds of bakes."""
    copy = tmp_path_factory.mktemp("thin")
    project = copy / PROJECT.name
    (project / "src" / "feed_ranking").mkdir(parents=True)
    (project / "vendor" / "mlsd" / "src" / "mlsd").mkdir(parents=True)
    shutil.copytree(template / "hooks", copy / "hooks")
    shutil.copy2(template / "cookiecutter.json", copy)
    for name in RENDERED:
        shutil.copy2(template / PROJECT.name / name, project)
    return copy


@pytest.fixture
def bake(tmp_path: Path) -> Bake:
    """Bake a template without questions; returns the project's folder."""
    config = tmp_path / "cookiecutter.yaml"
    config.write_text(f"replay_dir: {tmp_path}/replay\ncookiecutters_dir: {tmp_path}/cookiecutters\n", encoding="utf-8")

    def run(template: Path, *, no_input: bool = True, accept_hooks: bool = True, **answers: Any) -> Path:
        output = tmp_path / "output"
        output.mkdir(exist_ok=True)
        made = cookiecutter(
            str(template),
            no_input=no_input,
            accept_hooks=accept_hooks,
            extra_context=answers,
            output_dir=str(output),
            config_file=str(config),
        )
        return Path(made)

    return run
