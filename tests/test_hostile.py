"""Answers that try to break out: nothing is executed, nothing lies outside the output folder, errors name the field."""

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from cookiecutter import prompt
from cookiecutter.main import cookiecutter

from conftest import Bake

load_design = import_module("mlsd.design.design").load_design
UserError = import_module("mlsd.core.errors").UserError

WORDS = ["x", "../x", "Feed Ranker", "touch hacked", "feed_ranking", "ранжирование", "排序", "é", "🚀", "9lives", "-rf"]
FRAMES = [
    "{}", "../../{}", "../../../../../../{}", "/{}", "./{}", "~/{}", "{}/../..", "..\\..\\{}", "C:\\{}", "\\\\host\\{}",
    "$({})", "`{}`", "; {};", "| {}", "&& {}", "> {}", "'{}'", '"{}"', "'; {} #", '"; {} #', "\n{}\n", "\r\n{}", "\t{}",
    "\x00{}", "\x1b[31m{}", "{}\u202e", "%s{}%n", "--{}", "-{}", "--output-dir={}", ".{}", "{}.", "..{}", " {} ",
    "<{}>",    "{{{{ {} }}}}", "{{% {} %}}", "{{# {} #}}", "${{{}}}", "*{}*", "?{}", "[{}]", "name: {}", "{}: &a [*a]",
    "!!python/{}",
]  # fmt: skip
SINGLE = [
    "", " ", "\n", ".", "..", "/", "\\", "-", "--", "_", "0", "007", "-1", "1e9", "~", "null", "true", "no", "{}", "[]",
    "{{ 7 * 7 }}", "{{ cookiecutter }}", "{{ self.__init__.__globals__ }}", "{% for x in y %}", "{% raw %}", "{{", "}}",
    "{{ cycler.__init__.__globals__.os.system('touch hacked') }}", "__import__('os').system('touch hacked')",
    "con", "CON", "nul", "aux", "prn", "com1", "lpt1", "con.txt", "src", "mlsd", "numpy", "design.yaml", ".git",
    ".mlsd",
    "a" * 41, "a" * 255, "a" * 5000, "a-" * 200, "1" * 300, "é" * 300, "/" * 300, "../" * 300, "a" * 39 + "-b",
    "\ud800", "a\udcffb", "\ufeffbom", "\u200b", "a\u0301", "ﬁ", "İ", "ß", "A\u00a0B", "a\u2028b",
    "Robert'); DROP TABLE releases;--", "<script>alert(1)</script>", "${jndi:ldap://127.0.0.1/a}", "%2e%2e%2f",
    "a\x7fb",
]  # fmt: skip
NAMES = SINGLE + [frame.format(word) for frame in FRAMES for word in WORDS]


def answer(monkeypatch: pytest.MonkeyPatch, **answers: str) -> None:
    """Answer the questions at the prompt, where text reaches the template as it was typed."""

    def typed(name: str, default: Any, *_: Any) -> Any:
        return answers.get(name, default)

    monkeypatch.setattr(prompt, "read_user_variable", typed)
    monkeypatch.setattr(prompt, "read_user_choice", lambda name, options, *_: answers.get(name, options[0]))


def test_enough_names() -> None:
    assert len(set(NAMES)) >= 200


@pytest.mark.parametrize("chunk", range(10))
def test_names_stay_inside(
    thin_template: Path, bake: Bake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    """The folder is one plain name inside the output folder; the design is valid; no command ran."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    for number, name in enumerate(NAMES[chunk::10]):
        output = tmp_path / str(number)
        output.mkdir()
        before = {path.name for path in tmp_path.iterdir()} | {"output", "replay", "cookiecutters"}
        answer(monkeypatch, project_slug=name)
        project = bake(thin_template, no_input=False, accept_hooks=number % 5 == 0)
        assert project.parent == tmp_path / "output", name
        assert re.fullmatch(r"[a-z][-a-z0-9]{0,39}", project.name), name
        assert load_design(project / "design.yaml").name == project.name, name
        assert {path.name for path in tmp_path.iterdir()} <= before, name
        assert not list(tmp_path.rglob("hacked*")), name
        assert [path.name for path in (tmp_path / "output").iterdir()] == [project.name], name
        (tmp_path / "output").rename(output / "done")


@pytest.mark.parametrize("name", ["../../x", "$(touch hacked)", "`touch hacked`", "", "é", "a" * 5000, "'\"", "-rf /"])
def test_names_given_as_arguments(
    thin_template: Path, bake: Bake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The other way in: `cookiecutter --no-input project_slug=...`."""
    monkeypatch.chdir(tmp_path)
    project = bake(thin_template, project_slug=name)
    assert project.parent == tmp_path / "output"
    assert load_design(project / "design.yaml").name == project.name
    assert not list(tmp_path.rglob("hacked*"))


NUMBERS = [
    "", " ", "abc", "-5", "0", "-0", "0.0", "1e400", "-1e400", "inf", "nan", "NaN", "1; rm -rf x", "$(touch hacked)",
    "null", "true", "[1]", "{a: 1}", "*a", "&a 1", "!!python/object/apply:os.system ['touch hacked']", "1\nname: other",
    '"', "'", "\\", "#", "# 1", "- 1", "|", ">", "%", "@", "`", "1: 2", "{{ 7 * 7 }}", "{% raw %}",
    "9" * 5000, "9" * 4000, "🚀",
    "\x00",
    "\ud800", "٣x", "0x10", "1_0_", "--1", "1e-9", "200ms", "10K",
]  # fmt: skip


@pytest.mark.parametrize("value", NUMBERS, ids=ascii)
@pytest.mark.parametrize("question", [("peak_rps", "scale.peak_rps"), ("p99_ms", "latency.")])
def test_a_wrong_number_is_named(
    thin_template: Path, bake: Bake, monkeypatch: pytest.MonkeyPatch, question: tuple[str, str], value: str
) -> None:
    name, field = question
    answer(monkeypatch, **{name: value})
    path = bake(thin_template, no_input=False, accept_hooks=False) / "design.yaml"
    with pytest.raises(UserError) as caught:
        load_design(path)
    message = str(caught.value)
    assert all(f": {field}" in line for line in message.splitlines()), message
    message.encode()
    assert not list(path.parents[2].rglob("hacked*"))


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (("peak_rps", "1e9"), 1_000_000_000),
        (("peak_rps", " 12_000 "), 12_000),
        (("peak_rps", "\u0661\u0660"), 10),
        (("p99_ms", "100"), 100),
        (("p99_ms", "1e3"), 1000),
    ],
)
def test_unusual_but_right_numbers(
    thin_template: Path, bake: Bake, monkeypatch: pytest.MonkeyPatch, typed: tuple[str, str], found: float
) -> None:
    question, value = typed
    answer(monkeypatch, **{question: value})
    design = load_design(bake(thin_template, no_input=False, accept_hooks=False) / "design.yaml")
    assert {"peak_rps": design.scale.peak_rps, "p99_ms": design.latency.p99_ms}[question] == found


@pytest.mark.parametrize("name", [n for n in NAMES if max(n, default="") >= "\ud800" or n in SINGLE], ids=ascii)
def test_any_reason_is_kept_or_refused_by_name(
    thin_template: Path, bake: Bake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Free text comes through as typed; too short or not text is an error that names `success.because`."""
    monkeypatch.chdir(tmp_path)
    answer(monkeypatch, metric_because=name)
    path = bake(thin_template, no_input=False, accept_hooks=False) / "design.yaml"
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["name"] == "feed-ranker"
    try:
        assert load_design(path).success.because == name
    except UserError as error:
        assert len(name) < 8 or "\ud800" <= max(name) <= "\udfff", error
        assert ": success.because: " in str(error)
        str(error).encode()
    assert not list(tmp_path.rglob("hacked*"))


def test_a_default_of_the_user_does_not_name_the_folder(thin_template: Path, tmp_path: Path) -> None:
    """`default_context` in a user's own configuration reaches every template that they bake."""
    config = tmp_path / "user.yaml"
    config.write_text(
        f"replay_dir: {tmp_path}/replay\ndefault_context:\n  __project_slug: ../outside\n  project_slug: mine\n",
        encoding="utf-8",
    )
    output = tmp_path / "output"
    output.mkdir()
    with pytest.warns(UserWarning, match=r"Invalid default received: \.\./outside provided for choice variable"):
        made = cookiecutter(str(thin_template), no_input=True, output_dir=str(output), config_file=str(config))
    assert Path(made).parent == output
    assert re.fullmatch(r"[a-z][-a-z0-9]{0,39}", Path(made).name)
    assert not list(tmp_path.rglob("outside*"))


def test_what_a_forged_replay_file_can_do(thin_template: Path, bake: Bake, tmp_path: Path) -> None:
    """It is trusted, as SECURITY.md says: it names the folder; the design that comes out is validated all the same."""
    bake(thin_template)
    [replayed] = (tmp_path / "replay").glob("*.json")
    content = json.loads(replayed.read_text(encoding="utf-8"))
    content["cookiecutter"] |= {"__project_slug": ["chosen-by-the-file"], "peak_rps": "$(touch hacked)"}
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(content), encoding="utf-8")
    config = tmp_path / "cookiecutter.yaml"
    made = cookiecutter(
        str(thin_template), replay=str(forged), output_dir=str(tmp_path / "forged"), config_file=str(config)
    )
    assert Path(made).name == "chosen-by-the-file"
    with pytest.raises(UserError, match=r"scale\.peak_rps: found '\$\(touch hacked\)'"):
        load_design(Path(made) / "design.yaml")
    assert not list(tmp_path.rglob("hacked*"))
