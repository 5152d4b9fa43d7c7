"""The runbook: its commands are commands, its table has every reason and its list every metric there is."""

import ast
import re
import shlex

import pytest

from mlsd.commands.cli import _parser
from support.paths import PROJECT, SOURCE
from support.syntax import parsed

TEXT = (PROJECT / "docs" / "runbook.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
REASON = re.compile(
    r"features_(timeout|error|breaker)|(inference|post)_timeout|model_(error|unavailable)|batch_[a-z]+|cold_start"
)


def _strings(*places: str) -> set[str]:
    """Every string constant in these modules and packages."""
    files = [file for place in places for file in sorted((SOURCE / "mlsd" / place).rglob("*.py"))]
    trees = [ast.walk(parsed(file.read_text(encoding="utf-8"))) for file in files]
    return {str(n.value) for nodes in trees for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


@pytest.mark.parametrize("line", LINES)
def test_command_exists(line: str) -> None:
    program, *arguments = shlex.split(line)
    if program == "make":
        assert re.search(rf"^{arguments[0]}:", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    else:
        assert program == "mlsd"
        assert _parser().parse_args(arguments).command == arguments[0]


def test_every_reason_is_explained() -> None:
    shown = set(re.findall(r"`([a-z_<>]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", TEXT, re.MULTILINE))))
    used = {text for text in _strings("serving", "tasks", "features") if REASON.fullmatch(text)}
    assert len(used) >= 10
    assert used <= shown
    assert {"pruned", "cached", "unknown_user", "stale_<view>", "future_<view>"} <= shown


def test_every_metric_is_named() -> None:
    exported = {text for text in _strings("serving") if re.fullmatch(r"mlsd_[a-z_]+", text)}
    named = {re.sub(r"_total$", "", name) for name in re.findall(r"\b(mlsd_[a-z_]+)", TEXT)}
    assert exported
    assert exported <= named
