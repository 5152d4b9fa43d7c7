"""Small enough to be read: modules, functions and folders."""

import ast
from pathlib import Path
from statistics import median

from support.paths import PROJECT, SOURCE
from support.syntax import parsed

MAX_MODULE, MAX_MEDIAN, MAX_FUNCTION, MAX_FOLDER = 250, 80, 40, 12


def modules(*roots: Path) -> list[Path]:
    return [path for root in roots for path in sorted(root.rglob("*.py"))]


def length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_modules_are_short() -> None:
    assert median(length(path) for path in modules(SOURCE) if path.name != "__init__.py") <= MAX_MEDIAN
    every = modules(SOURCE, PROJECT / "src", PROJECT / "loadtests")
    assert [(path.name, length(path)) for path in every if length(path) > MAX_MODULE] == []


def test_functions_are_short() -> None:
    long = []
    for path in modules(SOURCE, PROJECT / "src", PROJECT / "loadtests"):
        for node in ast.walk(parsed(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION:
                    long.append(f"{path.name}: {node.name}: {lines}")
    assert long == []


def test_folders_hold_a_dozen_modules() -> None:
    folders = {path.parent for path in modules(SOURCE, PROJECT / "src")}
    counted = {folder.name: sum(path.name != "__init__.py" for path in folder.glob("*.py")) for folder in folders}
    assert {name: count for name, count in counted.items() if count > MAX_FOLDER} == {}
