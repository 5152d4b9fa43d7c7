"""What a contributor looks for is there at both levels, says what is true, and is wired to the same commands."""

import re
from pathlib import Path

import pytest
import yaml

from conftest import PROJECT, ROOT, tracked

LEVELS = pytest.mark.parametrize("level", [ROOT, PROJECT], ids=["template", "project"])
FILES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    ".pre-commit-config.yaml",
    ".github/CODEOWNERS",
    ".github/dependabot.yml",
    ".github/PULL_REQUEST_TEMPLATE.md",
    ".github/ISSUE_TEMPLATE/bug.md",
    ".github/ISSUE_TEMPLATE/idea.md",
)
RESERVED = {"con", "prn", "aux", "nul", *(f"{kind}{n}" for kind in ("com", "lpt") for n in range(1, 10))}


@LEVELS
@pytest.mark.parametrize("name", FILES)
def test_it_is_there(level: Path, name: str) -> None:
    assert len((level / name).read_text(encoding="utf-8").split()) >= 10


@LEVELS
def test_changelogs_keep_the_form(level: Path) -> None:
    text = (level / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "keepachangelog.com" in text
    assert "## [Unreleased]" in text
    assert set(re.findall(r"^### (\w+)", text, re.MULTILINE)) <= {
        "Added", "Changed", "Deprecated", "Removed", "Fixed", "Security",
    }  # fmt: skip


def test_the_version_of_the_runtime_is_in_its_changelog() -> None:
    text = (ROOT / "runtime" / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', text, re.MULTILINE)
    assert version
    assert f"## [{version[1]}]" in (ROOT / "runtime" / "CHANGELOG.md").read_text(encoding="utf-8")


@LEVELS
def test_owned_paths_exist(level: Path) -> None:
    lines = (level / ".github" / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]
    assert rules[0][0] == "*"
    for path, *owners in rules:
        assert owners and all(owner.startswith("@") for owner in owners)
        assert path == "*" or (level / path.strip("/")).exists(), path


@LEVELS
def test_updates_are_looked_for_where_pins_are(level: Path) -> None:
    found = yaml.safe_load((level / ".github" / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    folders = [folder for each in found for folder in each.get("directories", [each.get("directory")])]
    assert {each["package-ecosystem"] for each in found} == {"github-actions", "pip"}
    assert all((level / folder.strip("/")).is_dir() for folder in folders)


@LEVELS
def test_pre_commit_runs_what_make_lint_runs(level: Path) -> None:
    [repo] = yaml.safe_load((level / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repo["repo"] == "local"
    [hook] = repo["hooks"]
    assert hook["entry"].split()[0] == "make"
    assert hook["entry"].split()[-1] == "lint"
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", (level / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe
    assert all(tool in recipe[1] for tool in ('ruff" check' if level == ROOT else "ruff check", "mypy"))


@LEVELS
def test_commands_of_the_pages_are_targets(level: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (level / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(
        re.findall(r"(?:^|`)make ([a-z-]+)", (level / "CONTRIBUTING.md").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert named
    assert named <= targets


def wrong_names(names: list[str]) -> list[str]:
    """Those that Windows cannot check out, and those that differ by case only."""
    found = []
    for name in names:
        parts = Path(name).parts
        bad = any(re.search(r'[<>:"|?*\\\x00-\x1f]', part) or part[-1] in ". " for part in parts)
        reserved = any(part.split(".")[0].lower() in RESERVED for part in parts)
        found += [name] if bad or reserved or len(name) > 180 else []
    folded: dict[str, str] = {}
    for name in names:
        other = folded.setdefault(name.casefold(), name)
        found += [name] if other != name else []
    return found


def test_every_name_can_be_checked_out_anywhere() -> None:
    assert wrong_names([str(name) for name in tracked()]) == []


@pytest.mark.parametrize(
    "name", ["a|b/c.py", "docs/con.md", "x/trailing. ", "x/y.", 'q"uote', "a:b", "A.py", "long/" + "x" * 180]
)
def test_a_name_that_cannot_is_seen(name: str) -> None:
    assert name in wrong_names(["a.py", name])


def test_no_text_cites_a_file_that_is_not_in_the_repository() -> None:
    cited = re.compile(r"\b(?:MISSION|FAULTS|FIELD-NOTES|ARCHITECTURE|STYLE|SEAM)\.md\b|\.\./shared\b")
    for name in tracked():
        path = ROOT / name
        if path.is_symlink() or path.suffix not in {".py", ".md", ".toml", ".yaml", ".yml", ".lua", ".in", ""}:
            continue
        if path == Path(__file__):
            continue
        found = cited.search(path.read_text(encoding="utf-8"))
        assert not found, f"{name}: {found}"
