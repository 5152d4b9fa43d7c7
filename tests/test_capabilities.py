"""The list of capabilities: every number that a test cites is in it, and every row is shown by the tests it names."""

import ast
import re
from collections import defaultdict

from conftest import PROJECT, ROOT

NUMBER = re.compile(r"(?<![\d.,:+\-])\b(?:[1-6C]\.\d\d|P\.\d\d)\b(?! ?(?:%|s\b|ms|\]|,\s*[+\d]))")
ROW = re.compile(r"^\| (\w\.\d\d) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def cited() -> dict[str, set[str]]:
    """Test files by the number that their docstrings cite."""
    found = defaultdict(set)
    folders = (ROOT / "runtime" / "tests", ROOT / "tests", PROJECT / "tests")
    for path in (path for folder in folders for path in folder.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef):
                for number in NUMBER.findall(ast.get_docstring(node) or ""):
                    found[number].add(path.name)
    return found


def test_page_and_docstrings_say_the_same() -> None:
    page = (ROOT / "docs" / "capabilities.md").read_text(encoding="utf-8")
    listed = {number: set(re.findall(r"`(test_\w+\.py)`", tests)) for number, _, tests in ROW.findall(page)}
    assert len(listed) > 50
    assert listed == cited()


def test_a_measured_number_is_no_capability() -> None:
    assert NUMBER.findall("4.22: cost beside accuracy") == ["4.22"]
    assert NUMBER.findall("3.12 ms, 5.00 s, 1.01 %, [2.03, 4.05], -0.004, 14.22") == []
