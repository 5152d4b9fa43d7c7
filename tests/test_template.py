"""What the template promises about itself, before any bake."""

import ast
import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from conftest import PROJECT, RENDERED, ROOT, tracked

ANSWERS = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
QUESTIONS = [name for name in ANSWERS if not name.startswith("_")]
SECRET_OR_LOCAL = re.compile(
    r"(?<![\w.~])/(?:root|work|home)/\w"  # a folder of the machine it was written on
    r"|\b(?:pypi|pythonhosted|npmjs|crates|maven)\.(?:org|io|com)\b"  # the registry a dependency came from
    r"|BEGIN [A-Z ]*PRIVATE KEY"
)


def texts() -> list[tuple[Path, str]]:
    found = []
    for name in tracked():
        if (ROOT / name).is_symlink():  # what it points to is listed itself
            continue
        try:
            found.append((name, (ROOT / name).read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            assert name.suffix in {".png"}, f"{name} is not text"
    return found


def test_at_most_eight_questions_in_the_order_of_an_interview() -> None:
    """1.01: the problem and its scale before anything that could be called a model."""
    assert QUESTIONS == [
        "project_slug",
        "problem",
        "peak_rps",
        "p99_ms",
        "business_metric",
        "metric_because",
        "cloud",
    ]
    assert set(ANSWERS["__prompts__"]) == set(QUESTIONS)


def test_the_name_is_the_folder_name() -> None:
    """The folder renders to the one choice of a private list: rendered, never asked, and no override is taken."""
    assert PROJECT.name == "{{cookiecutter.__project_slug.0}}"
    assert len(ANSWERS["__project_slug"]) == 1


def test_python_parses_as_it_lies() -> None:
    parsed = [ast.parse(text, str(name)) for name, text in texts() if name.suffix == ".py"]
    assert len(parsed) > 20


def test_jinja_only_where_it_is_allowed() -> None:
    verbatim = ANSWERS["_copy_without_render"]
    assert not [name for name in RENDERED for pattern in verbatim if fnmatch(name, pattern)]
    for name, text in texts():
        if name.parts[0] == PROJECT.name:
            inside = Path(*name.parts[1:])
            if str(inside) not in RENDERED:
                assert any(fnmatch(inside.parts[0], pattern) for pattern in verbatim), f"{inside} would be rendered"
                assert "cookiecutter." not in text, f"{inside} holds template markup"
        elif name.parts[0] == "hooks":
            assert "{{" not in text
            assert "{%" not in text


def test_the_hook_needs_nothing() -> None:
    """Offline, no shell, no git: it can only match, list, delete and print."""
    (hook,) = (ROOT / "hooks").iterdir()
    tree = ast.parse(hook.read_text(encoding="utf-8"))
    modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    modules |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert modules == {"re", "shutil", "sys", "pathlib"}


def test_nothing_of_the_machine_it_was_made_on() -> None:
    for name, text in texts():
        found = SECRET_OR_LOCAL.search(text)
        assert not found, f"{name}: {found}"


@pytest.mark.parametrize("planted", ["see /ro" + "ot/x", "cert = /ho" + "me/me/a", "files.python" + "hosted.org"])
def test_the_machine_check_fires(planted: str) -> None:
    assert SECRET_OR_LOCAL.search(planted)


def test_pins_agree_and_have_hashes() -> None:
    folder = PROJECT / "requirements"
    every = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.txt")}
    every["template.txt"] = (ROOT / "requirements" / "template.txt").read_text(encoding="utf-8")
    assert set(every) == {"bootstrap.txt", "dev.txt", "pipeline.txt", "serving.txt", "template.txt"}
    pins = {name: set(re.findall(r"^([a-z0-9][\w.-]*==\S+)", text, re.MULTILINE)) for name, text in every.items()}
    for name in ("pipeline.txt", "serving.txt"):
        assert pins[name] <= pins["dev.txt"]
    for pin in pins["template.txt"]:
        package = pin.split("==")[0] + "=="
        assert pin in pins["dev.txt"] or not any(other.startswith(package) for other in pins["dev.txt"])
    for name, text in every.items():
        blocks = re.split(r"^(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)
        assert all("--hash=sha256:" in block for block in blocks if block.strip()), name


def test_the_serving_set_is_lean() -> None:
    pinned = (PROJECT / "requirements" / "serving.txt").read_text(encoding="utf-8")
    for heavy in ("feast", "mlflow", "kfp", "pandas", "scikit-learn", "duckdb", "pyarrow", "locust", "matplotlib"):
        assert not re.search(rf"^{heavy}==", pinned, re.MULTILINE), heavy


def test_workflows_have_few_rights_and_pinned_actions() -> None:
    for name, text in texts():
        if "workflows" in name.parts:
            assert yaml.safe_load(text)["permissions"] == {"contents": "read"}
            for used in re.findall(r"uses: (\S+)", text):
                assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", used), used
