"""1.12: every number of the design is read by code that acts on it; one that nothing reads fails here.

The type checker finds the readers: in a copy of the source the fields are taken out of the sections, and every place
that needs one becomes an error that names section and field.
"""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import PROJECT, RUNTIME, SOURCE
from support.syntax import parsed

pytestmark = pytest.mark.slow


SECTIONS = ("design/sections.py", "design/online_sections.py", "design/design.py")
PLANTED = "    planted_and_read: Count\n    planted_and_forgotten: Count\n"
PROSE = {"board_line", "sentence"}
"""Functions of plan/plan.py that only say a number: no use of it."""
REASONS = {("Success", "because")}
"""Fields that are prose themselves."""
READER = """
from mlsd.design.design import Design

def use(design: Design) -> int:
    return design.scale.planted_and_read
"""

Field = tuple[str, str]


def _is_validator(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and any("validator" in ast.unparse(d) for d in node.decorator_list)


def without_fields(source: str, sections: set[str]) -> tuple[str, set[Field]]:
    """Take every field that is not itself a section, and the validators, out of the classes of a module."""
    module, fields = parsed(source), set()
    for section in (node for node in module.body if isinstance(node, ast.ClassDef)):
        kept: list[ast.stmt] = [ast.Pass()]
        for node in section.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if not {n.id for n in ast.walk(node.annotation) if isinstance(n, ast.Name)} & sections:
                    fields.add((section.name, node.target.id))
                    continue
            elif _is_validator(node):
                continue
            kept.append(node)
        section.body = kept
    return ast.unparse(module), fields


def without_prose(source: str) -> str:
    """Empty the functions that only print the design."""
    module = parsed(source)
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name in PROSE:
            node.body = [parsed("raise NotImplementedError").body[0]]
    return ast.unparse(module)


def unused_fields(source: Path) -> set[Field]:
    """Fields of the design that no code in `source` reads; the files of the sections are changed."""
    package = source / "mlsd"
    texts = {name: (package / name).read_text(encoding="utf-8") for name in SECTIONS}
    sections = {n.name for text in texts.values() for n in parsed(text).body if isinstance(n, ast.ClassDef)}
    fields: set[Field] = set()
    for name, text in texts.items():
        changed, found = without_fields(text, sections)
        (package / name).write_text(changed, encoding="utf-8")
        fields |= found
    (package / "design" / "rules.py").write_text("", encoding="utf-8")  # comparing two numbers is no use of them
    plan = package / "plan" / "plan.py"
    plan.write_text(without_prose(plan.read_text(encoding="utf-8")), encoding="utf-8")
    options = [
        "--config-file",
        str(RUNTIME / "pyproject.toml"),
        "--cache-dir",
        str(source / ".cache"),
        "-p",
        "mlsd",
        "-p",
        "feed_ranking",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options], cwd=source.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return fields - set(re.findall(r'"(\w+)"(?: of "[^"]*")? has no attribute "(\w+)"', done.stdout))


@pytest.fixture(scope="module")
def unused(tmp_path_factory: pytest.TempPathFactory) -> set[Field]:
    """Unused fields of the project with two more planted in one section, of which one is read."""
    source = tmp_path_factory.mktemp("used") / "src"
    for folder in (SOURCE, PROJECT / "src"):
        shutil.copytree(folder, source, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    sections = source / "mlsd" / "design" / "sections.py"
    text = sections.read_text(encoding="utf-8")
    assert text.count("    peak_rps: ") == 1
    sections.write_text(text.replace("    peak_rps: ", PLANTED + "    peak_rps: "), encoding="utf-8")
    (source / "mlsd" / "reader.py").write_text(READER, encoding="utf-8")
    return unused_fields(source)


def test_every_number_is_used(unused: set[Field]) -> None:
    """1.12"""
    forgotten = sorted(".".join(field) for field in unused - REASONS - {("Scale", "planted_and_forgotten")})
    assert not forgotten, f"no code reads {', '.join(forgotten)}"


def test_a_forgotten_number_is_found(unused: set[Field]) -> None:
    assert ("Scale", "planted_and_forgotten") in unused
    assert ("Scale", "planted_and_read") not in unused
