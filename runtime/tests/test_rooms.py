"""Rooms in one order: the contract holds, is seen to fail, and documentation, contract and folders say the same."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.paths import PROJECT, RUNTIME, SOURCE

CONTRACTS = tomllib.loads((RUNTIME / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
ORDER = list(reversed(CONTRACTS[0]["layers"]))
"""From the ground up."""


def lint(source: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    command += [str(RUNTIME / "pyproject.toml")]
    env = {"PYTHONPATH": str(source), "PATH": ""}
    return subprocess.run(command, cwd=source, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(SOURCE, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "src"


def plant(source: Path, module: str, line: str) -> None:
    path = source / "mlsd" / module
    path.write_text(path.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")


def test_the_rooms_are_in_order() -> None:
    done = lint(SOURCE)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("features/values.py", "import mlsd.serving.app", "rooms in one order"),
        (
            "design/design.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mlsd.local.ports import Ports",
            "rooms in one order",
        ),
        ("serving/http/openapi.py", "import mlsd.serving.handling.responder", "no circle inside a room"),
        (
            "models/engines/base.py",
            "def late() -> None:\n    import mlsd.models.engines.onnx",
            "no circle inside a room",
        ),
    ],
    ids=["upward", "upward for types", "circle of folders", "circle in a function"],
)
def test_a_planted_import_is_seen(copy: Path, module: str, line: str, broken: str) -> None:
    plant(copy, module, line)
    done = lint(copy)
    assert done.returncode == 1, done.stdout
    assert re.search(rf"^{broken} BROKEN$", done.stdout, re.MULTILINE), done.stdout


def test_contract_folders_and_documentation_say_the_same_order() -> None:
    folders = {path.parent.name for path in (SOURCE / "mlsd").glob("*/__init__.py")}
    assert folders == set(ORDER)
    assert [path.name for path in (SOURCE / "mlsd").glob("*.py")] == ["__init__.py"]
    page = (PROJECT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.partition("| room |")[2]
    assert re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE) == ORDER
