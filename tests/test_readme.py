"""The first screen of each README: true, and every command on it exists."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from conftest import PROJECT, ROOT, tracked

READMES = [ROOT / "README.md", PROJECT / "README.md"]
LINE = re.compile(r"^(pass|FAIL)  (\w+) +(\S.*): (.+?)  \(design (.+)\) +\d+\.\d s$")


def blocks(text: str) -> list[str]:
    return re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def steps_shown() -> list[str]:
    """Names of the steps in the output that the root README shows."""
    shown = next(block for block in blocks(READMES[0].read_text(encoding="utf-8")) if block.startswith("pass"))
    matches = [LINE.match(line) for line in shown.splitlines()]
    assert all(matches), "a line is not as `mlsd demo` prints it"
    return [match[2] for match in matches if match and match[1] == "pass"]


@pytest.mark.parametrize("readme", READMES, ids=["template", "project"])
def test_first_screen(readme: Path) -> None:
    lines = readme.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert any("make demo" in line for line in lines[:12])


def test_real_output_by_line_25() -> None:
    lines = READMES[0].read_text(encoding="utf-8").splitlines()
    assert next(number for number, line in enumerate(lines, 1) if LINE.match(line)) <= 25
    assert len(steps_shown()) >= 8
    assert any("docs/report.png" in line for line in lines[:60])


@pytest.mark.parametrize("readme", READMES, ids=["template", "project"])
def test_commands_exist(readme: Path) -> None:
    text = readme.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (readme.parent / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", "\n".join(blocks(text)) + "\n".join(re.findall(r"`[^`\n]+`", text))))
    assert named
    assert named <= targets
    commands = set(import_module("mlsd.commands.cli").HELP)
    assert set(re.findall(r"\bmlsd ([a-z]+)\b", "\n".join(re.findall(r"`[^`\n]+`", text)))) <= commands


def test_help_lists_every_target() -> None:
    for makefile in (ROOT / "Makefile", PROJECT / "Makefile"):
        text = makefile.read_text(encoding="utf-8")
        shown = set(re.findall(r"@echo 'make ([a-z-]+)", text))
        assert shown <= set(re.findall(r"^([a-z-]+):", text, re.MULTILINE))
        assert {"demo", "test", "lint", "down", "clean"} <= shown


def test_links_resolve() -> None:
    pages = [ROOT / name for name in tracked() if name.suffix == ".md"]
    assert pages
    for page in pages:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page}: {link}"
