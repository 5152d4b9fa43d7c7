"""Bakes: complete, verbatim where nothing is rendered, the same without hooks, every pair of choices valid."""

import itertools
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from cookiecutter.exceptions import FailedHookException

from conftest import PROJECT, RENDERED, RUNTIME, Bake

from render_defaults import render
from test_template import ANSWERS

CHOICES = {name: values for name, values in ANSWERS.items() if isinstance(values, list) and not name.startswith("_")}
load_design = import_module("mlsd.design.design").load_design


def files(folder: Path) -> dict[str, bytes]:
    """Contents by name below the folder, links followed."""
    every = (Path(place, name) for place, _, names in os.walk(folder, followlinks=True) for name in names)
    return {str(path.relative_to(folder)): path.read_bytes() for path in every if "__pycache__" not in path.parts}


def test_a_bake_changes_no_file_that_is_not_rendered(template: Path, bake: Bake) -> None:
    """Code, tests, charts, workflows and pins come out byte for byte as they lie here."""
    before, after = files(template / PROJECT.name), files(bake(template))
    assert set(before) == set(after)
    assert {name for name in before if before[name] != after[name]} <= RENDERED
    assert not any(b"cookiecutter." in content for content in after.values())


def test_in_place_design_is_the_baked_one(thin_template: Path, bake: Bake) -> None:
    assert (bake(thin_template) / "design.yaml").read_text(encoding="utf-8").rstrip() == render("design.yaml").rstrip()


def test_default_answers(thin_template: Path, bake: Bake, capfd: pytest.CaptureFixture[str]) -> None:
    project = bake(thin_template)
    design = load_design(project / "design.yaml")
    assert project.name == design.name == "feed-ranker"
    assert (design.scale.peak_rps, design.latency.p99_ms, design.success.metric) == (10_000, 200, "ctr")
    printed = capfd.readouterr().out
    assert "cd feed-ranker && make demo" in printed
    assert "make test" in printed


@pytest.mark.parametrize("accept_hooks", [True, False])
def test_packs_that_were_not_chosen(template: Path, bake: Bake, tmp_path: Path, *, accept_hooks: bool) -> None:
    """The hook deletes other packs and nothing else; without it the project holds them and works."""
    copy = tmp_path / "template"
    shutil.copytree(template, copy)
    other = copy / PROJECT.name / "src" / "other_problem"
    other.mkdir()
    (other / "problem.py").write_text("PROBLEM = None\n", encoding="utf-8")
    plain = set(files(bake(template, accept_hooks=False, project_slug="plain")))
    project = bake(copy, accept_hooks=accept_hooks)
    extra = set() if accept_hooks else {"src/other_problem/problem.py"}
    assert set(files(project)) == plain | extra
    environment = os.environ | {"PYTHONPATH": "src:vendor/mlsd/src", "MLSD_HOME": str(tmp_path / "home")}
    environment.pop("MLSD_DESIGN", None)
    command = [sys.executable, "-m", "mlsd.commands.cli", "plan"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Scale: 10K RPS, Latency: <200ms p99, Metric: CTR" in done.stdout


PAIRS = [
    dict(zip(pair, values, strict=True))
    for pair in itertools.combinations(CHOICES, 2)
    for values in itertools.product(*(CHOICES[name] for name in pair))
]


@pytest.mark.parametrize("answers", PAIRS, ids=["-".join(pair.values()) for pair in PAIRS])
def test_every_pair_of_choices(thin_template: Path, bake: Bake, answers: dict[str, str]) -> None:
    """C.01"""
    design = load_design(bake(thin_template, **answers) / "design.yaml")
    found = {"problem": design.problem, "business_metric": design.success.metric, "cloud": design.cloud}
    assert answers.items() <= found.items()


def planned(design: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """`mlsd plan` on a design, with the code as it lies in the template."""
    told = {"PYTHONPATH": f"{RUNTIME}/src:{PROJECT}/src", "MLSD_DESIGN": str(design), "MLSD_HOME": str(home)}
    command = [sys.executable, "-m", "mlsd.commands.cli", "plan"]
    return subprocess.run(
        command, cwd=home.parent, env=os.environ | told, capture_output=True, text=True, check=False, timeout=120
    )


TARGETS = {
    "ctr": ("CTR", 0.03, "clicks"),
    "watch_time": ("Watch time", 2.0, "seconds watched"),
    "engagement_rate": ("Engagement rate", 0.02, "engagements"),
}


@pytest.mark.parametrize("metric", CHOICES["business_metric"])
def test_every_business_metric_is_planned_with_a_target_in_its_unit(
    thin_template: Path, bake: Bake, tmp_path: Path, metric: str
) -> None:
    path = bake(thin_template, business_metric=metric) / "design.yaml"
    title, target, unit = TARGETS[metric]
    assert load_design(path).success.target == target
    assert f"# {unit} " in path.read_text(encoding="utf-8")
    done = planned(path, tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Metric: {title}" in done.stdout


@pytest.mark.parametrize("answer", [1, 2, 30, 45, 99, 1000, 60_000])
def test_every_number_of_milliseconds_is_one_design(
    thin_template: Path, bake: Bake, tmp_path: Path, answer: int
) -> None:
    """Hops and the queue's bounds follow the answer; whether a ranker can keep them is for the plan to say."""
    path = bake(thin_template, p99_ms=str(answer)) / "design.yaml"
    design = load_design(path)
    latency, admission = design.latency, design.serving.admission
    assert admission.max_queue_ms < latency.service_ms - latency.hops_ms.edge
    assert planned(path, tmp_path / "home").returncode == (0 if answer >= 30 else 1)


@pytest.mark.parametrize("answer", [1, 7, 20, 80])
def test_a_small_service_has_the_time_that_its_rollouts_need(
    thin_template: Path, bake: Bake, tmp_path: Path, answer: int
) -> None:
    path = bake(thin_template, peak_rps=str(answer)) / "design.yaml"
    done = planned(path, tmp_path / "home")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", CHOICES)
def test_an_unknown_choice_makes_nothing(thin_template: Path, bake: Bake, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="choices are"):
        bake(thin_template, **{name: "$(id)"})
    assert not list((tmp_path / "output").iterdir())


def test_an_existing_folder_is_not_overwritten(thin_template: Path, bake: Bake) -> None:
    project = bake(thin_template)
    (project / "design.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(Exception, match="already exists"):
        bake(thin_template)
    assert (project / "design.yaml").read_text(encoding="utf-8") == "mine"


def test_the_runtime_is_a_real_copy(template: Path, bake: Bake) -> None:
    """The links of the template come out as folders and files of the project's own."""
    project = bake(template)
    vendored = project / "vendor" / "mlsd"
    assert not any(path.is_symlink() for path in project.rglob("*"))
    assert files(vendored / "src") == files(template / "runtime" / "src")
    assert (vendored / "pyproject.toml").read_bytes() == (template / "runtime" / "pyproject.toml").read_bytes()


@pytest.mark.parametrize("accept_hooks", [True, False])
def test_a_checkout_without_links(
    template: Path, bake: Bake, tmp_path: Path, capfd: pytest.CaptureFixture[str], *, accept_hooks: bool
) -> None:
    """Where git wrote a link as a text file the bake says so and makes nothing; without hooks `make` says it."""
    copy = tmp_path / "template"
    shutil.copytree(template, copy, symlinks=True)
    link = copy / PROJECT.name / "vendor" / "mlsd" / "src"
    target = link.readlink()
    link.unlink()
    link.write_text(str(target), encoding="utf-8")
    if accept_hooks:
        with pytest.raises(FailedHookException):
            bake(copy)
        assert "core.symlinks true" in capfd.readouterr().err
        assert not list((tmp_path / "output").iterdir())
        return
    script = bake(copy, accept_hooks=False) / "requirements" / "install-mlsd.sh"
    done = subprocess.run(["sh", str(script), "venv"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "core.symlinks true" in done.stderr


def test_the_folder_name_cannot_be_overridden(thin_template: Path, bake: Bake, tmp_path: Path) -> None:
    """`__project_slug` is a choice of one: extra context that names another value makes nothing."""
    with pytest.raises(ValueError, match="__project_slug"):
        bake(thin_template, __project_slug="../outside")
    assert not list(tmp_path.rglob("*outside*"))
