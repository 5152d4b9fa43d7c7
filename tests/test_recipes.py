"""docs/recipes.md, followed to the letter in a baked copy: what each recipe touches, and that it works."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import ROOT, Bake
from test_pages import small

PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(?:python|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def recipe(title: str) -> list[tuple[str, str]]:
    """(the sentence before it, the block) of each block of a section."""
    section = PAGE.partition(f"## {title}\n")[2].partition("\n## ")[0]
    parts, start = [], 0
    for found in BLOCK.finditer(section):
        parts.append((section[start : found.start()], found[1]))
        start = found.end()
    return parts


def follow(project: Path, title: str) -> set[str]:
    """Do what each sentence says; returns the files that were touched."""
    touched: list[str] = []
    for sentence, block in recipe(title):
        named = re.findall(r"`((?:mlsd/)?[\w/]+\.(?:py|yaml))`", sentence)
        name = named[-1] if named else touched[-1]
        path = project / ("vendor/mlsd/src" if name.startswith("mlsd/") else "") / name
        touched.append(name)
        anchor = re.search(r"after\s+(?:the line )?`([^`]+)`", sentence)
        if "new module" in sentence:
            assert not path.exists()
            path.write_text(block, encoding="utf-8")
        elif anchor:
            text = path.read_text(encoding="utf-8")
            assert text.count(anchor[1]) == 1, (name, anchor[1])
            end = text.index("\n", text.index(anchor[1])) + 1
            path.write_text(text[:end] + block + text[end:], encoding="utf-8")
        else:
            assert "at the end of" in sentence
            path.write_text(path.read_text(encoding="utf-8") + block, encoding="utf-8")
    return set(touched)


def run(project: Path, program: str) -> None:
    source = os.pathsep.join(str(project / part) for part in ("src", "vendor/mlsd/src"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLSD_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        env=inherited | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr


GATE = """
import sys
sys.path.insert(0, "tests")
from test_gates import at_the_limit, missed
from mlsd.design.design import load_design
design = load_design()
assert design.training.gates.min_recall == 0.05
assert missed(design, at_the_limit(design, recall10=0.06)) == []
assert missed(design, at_the_limit(design, recall10=0.04)) == ["recall@10"]
"""

FAMILY = """
from datetime import UTC, datetime
from pathlib import Path
import numpy as np
from mlsd.design.components import MODEL_FAMILIES
from mlsd.design.design import load_design
from mlsd.evaluation.calibration import Calibration
from mlsd.models.bundle import Manifest, save_bundle, sha256
from mlsd.models.scoring import load_bundle, load_scorer
from mlsd.training.families import every_fit, training_family
from mlsd.training.onnx_export import export
from mlsd.training.rows import Rows

assert next(iter(MODEL_FAMILIES)) == "one_feature"
design = load_design()
assert len(every_fit(design, ("a",))) == 4
rng = np.random.default_rng(1)
matrix = rng.normal(size=(3000, 4)).astype(np.float32)
label = (matrix[:, 2] + rng.normal(0, 0.3, 3000) < 0).astype(np.int8)
at = datetime(2026, 1, 1, tzinfo=UTC)
request = np.repeat(np.arange(300), 10)
rows = Rows(matrix, label, request, np.zeros(3000), {}, at, at)
fitted = training_family("one_feature").candidates(design, ("a", "b", "c", "d"))[0](rows)
engine = load_scorer(fitted.family, fitted.text)
assert np.corrcoef(engine.raw(matrix), -matrix[:, 2])[0, 1] > 0.999
manifest = Manifest(
    family=fitted.family, objective="pointwise", feature_names=list("abcd"), feature_service="s",
    user_columns=[], item_columns=[], model_file="one_feature.json",
    model_sha256=sha256(fitted.text.encode()), calibration=Calibration(), created_at=at, train_window=(at, at),
    tables_digest="t", design_digest="d", code_version="c",
    metrics={}, reference={},
)
digest = save_bundle(Path("bundle"), manifest, fitted.text)
again = load_bundle(Path("bundle"), digest)
assert again.engine == "linear"
assert np.array_equal(again.scorer.raw(matrix), engine.raw(matrix))
assert "model.onnx" in export("one_feature", fitted.text)
"""


@pytest.mark.parametrize(
    ("title", "most", "program"), [("A gate for candidates", 3, GATE), ("A model family", 3, FAMILY)]
)
def test_a_newcomer_follows_the_page(template: Path, bake: Bake, title: str, most: int, program: str) -> None:
    project = bake(template)
    touched = follow(project, title)
    assert len(touched) <= most, touched
    yaml.safe_load((project / "design.yaml").read_text(encoding="utf-8"))
    run(project, program)


def mlsd(project: Path, command: str, address: Path | None) -> subprocess.CompletedProcess[str]:
    source = os.pathsep.join(str(project / part) for part in ("src", "vendor/mlsd/src"))
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLSD_")}
    named = {} if address is None else {"MLSD_STORE_FILE": str(address)}
    return subprocess.run(
        [sys.executable, "-m", "mlsd.commands.cli", command],
        cwd=project,
        env=inherited | {"PYTHONPATH": source} | named,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def name_store(project: Path, name: str) -> None:
    path = project / "design.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["features"]["online_store"] = name
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def test_a_newcomer_adds_an_online_store(template: Path, bake: Bake, tmp_path: Path) -> None:
    """Filled by Feast, read as the server reads it: `mlsd features` compares the two to the bit."""
    project = bake(template)
    assert len(follow(project, "An online store")) <= 2
    small(project)
    name_store(project, "shared_fil")
    refused = mlsd(project, "plan", tmp_path / "online.db")
    assert refused.returncode == 2
    assert (
        "features.online_store: found 'shared_fil', expected: one of shared_file, sqlite, redis, nearest 'shared_file'"
        in refused.stderr
    )
    name_store(project, "shared_file")
    assert mlsd(project, "plan", None).returncode == 0
    assert mlsd(project, "data", None).returncode == 0
    unnamed = mlsd(project, "features", None)
    assert unnamed.returncode == 2
    assert "MLSD_STORE_FILE: found '', expected a file in a folder that exists" in unnamed.stderr
    filled = mlsd(project, "features", tmp_path / "online.db")
    assert filled.returncode == 0, filled.stdout + filled.stderr
    assert "online equals offline" in filled.stdout
    assert (tmp_path / "online.db").stat().st_size > 0
    assert not (project / ".mlsd" / "feast" / "online.db").exists()
    (tmp_path / "online.db").write_bytes(b"damaged" * 1000)
    again = mlsd(project, "features", tmp_path / "online.db")
    assert again.returncode == 0, again.stdout + again.stderr
