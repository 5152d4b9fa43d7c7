"""The bundle's digests, what is refused, and the scores themselves."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import lightgbm
import numpy as np
import pytest

from mlsd.evaluation.calibration import Calibration
from mlsd.models.bundle import Manifest, ModelRefused, save_bundle, sha256
from mlsd.models.engines.linear import Linear
from mlsd.models.scoring import load_bundle

NAMES = ["a", "b", "c"]
AT = datetime(2025, 3, 1, tzinfo=UTC)
LINEAR = Linear(mean=[1.0, 0.0, 0.0], scale=[2.0, 1.0, 1.0], coefficients=[1.0, -0.5, 0.0], intercept=0.25)


def manifest(text: str, family: str = "logistic_regression", **changes: object) -> Manifest:
    content = {
        "family": family,
        "objective": "pointwise",
        "feature_names": NAMES,
        "feature_service": "ranking_v1",
        "user_columns": ["a"],
        "item_columns": ["b"],
        "model_file": "model.txt" if family == "boosted_trees" else "weights.json",
        "model_sha256": sha256(text.encode()),
        "calibration": Calibration(a=2.0, b=-1.0),
        "created_at": AT,
        "train_window": (AT, AT),
        "tables_digest": "t",
        "design_digest": "d",
        "code_version": "c",
        "metrics": {"ndcg10": 0.5},
        "reference": {},
    }
    return Manifest.model_validate({**content, **changes})


@pytest.fixture
def linear(tmp_path: Path) -> tuple[Path, str]:
    text = LINEAR.model_dump_json()
    return tmp_path, save_bundle(tmp_path, manifest(text), text)


@pytest.fixture(scope="module")
def trees_text() -> str:
    random = np.random.default_rng(0)
    matrix = random.normal(size=(400, 3)).astype(np.float32)
    label = (matrix[:, 0] + matrix[:, 1] ** 2 > 0.5).astype(int)
    params = {"objective": "binary", "verbose": -1, "num_threads": 1}
    return str(lightgbm.train(params, lightgbm.Dataset(matrix, label), 20).model_to_string())


def test_a_linear_score_is_what_the_formula_gives(linear: tuple[Path, str]) -> None:
    """3.18: the feature service and the columns travel with the model."""
    bundle = load_bundle(*linear)
    matrix = np.array([[3.0, 2.0, 9.0], [np.nan, np.inf, 0.0]], dtype=np.float32)
    raw = np.array([1.0 - 1.0 + 0.25, 0.25])
    assert np.allclose(bundle.score(matrix), 1 / (1 + np.exp(-(2.0 * raw - 1.0))))
    assert bundle.manifest.feature_service == "ranking_v1"


def test_trees_score_as_lightgbm_does_and_alone_as_in_a_batch(tmp_path: Path, trees_text: str) -> None:
    digest = save_bundle(tmp_path, manifest(trees_text, "boosted_trees"), trees_text)
    bundle = load_bundle(tmp_path, digest)
    matrix = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
    matrix[::7, 1] = np.nan
    scores = bundle.score(matrix)
    raw = lightgbm.Booster(model_str=trees_text).predict(matrix, raw_score=True)
    assert np.array_equal(scores, 1 / (1 + np.exp(-(2.0 * np.asarray(raw) - 1.0))))
    assert np.array_equal(scores, np.concatenate([bundle.score(matrix[i : i + 1]) for i in range(500)]))


def test_linear_rows_score_alone_as_in_a_batch(linear: tuple[Path, str]) -> None:
    bundle = load_bundle(*linear)
    matrix = np.random.default_rng(1).normal(size=(500, 3)).astype(np.float32)
    assert np.array_equal(bundle.score(matrix), np.concatenate([bundle.score(matrix[i : i + 1]) for i in range(500)]))


@pytest.mark.parametrize("file", ["manifest.json", "weights.json"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
def test_a_damaged_file_is_refused_before_it_is_parsed(linear: tuple[Path, str], file: str, damage: str) -> None:
    folder, digest = linear
    content = (folder / file).read_bytes()
    (folder / file).unlink()
    if damage == "truncate":
        (folder / file).write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        (folder / file).write_bytes(content.replace(b"0.25", b"0.35").replace(b'"d"', b'"e"'))
    with pytest.raises(ModelRefused, match=file):
        load_bundle(folder, digest)


def test_a_truncated_tree_model_does_not_reach_lightgbm(tmp_path: Path, trees_text: str) -> None:
    """LightGBM aborts the whole process on such a text."""
    digest = save_bundle(tmp_path, manifest(trees_text, "boosted_trees"), trees_text)
    (tmp_path / "model.txt").write_text(trees_text[: len(trees_text) // 2])
    with pytest.raises(ModelRefused, match="damaged or altered"):
        load_bundle(tmp_path, digest)


@pytest.mark.parametrize(
    ("field", "value"),
    [("family", "pickle"), ("model_file", "../../etc/passwd"), ("model_file", "model.pkl"), ("code", "import os")],
)
def test_unknown_kinds_and_files_are_refused(tmp_path: Path, field: str, value: str) -> None:
    text = LINEAR.model_dump_json()
    save_bundle(tmp_path, manifest(text), text)
    content = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**content, field: value}))
    with pytest.raises(ModelRefused, match=r"manifest\.json"):
        load_bundle(tmp_path, None)


def test_a_model_of_another_width_is_refused(tmp_path: Path) -> None:
    text = LINEAR.model_dump_json()
    digest = save_bundle(tmp_path, manifest(text, feature_names=["a", "b"]), text)
    with pytest.raises(ModelRefused, match="3 features, its manifest 2"):
        load_bundle(tmp_path, digest)


def test_a_matrix_of_another_width_is_refused_and_an_empty_one_is_not(linear: tuple[Path, str]) -> None:
    bundle = load_bundle(*linear)
    with pytest.raises(ModelRefused, match="expected"):
        bundle.score(np.zeros((4, 2), dtype=np.float32))
    assert bundle.score(np.zeros((0, 3), dtype=np.float32)).shape == (0,)


def test_scores_stay_finite_and_within_bounds(linear: tuple[Path, str]) -> None:
    """2.04: the score is a probability."""
    matrix = np.full((3, 3), np.finfo(np.float32).max, dtype=np.float32) * np.array([[1], [-1], [0]], dtype=np.float32)
    scores = load_bundle(*linear).score(matrix)
    assert np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1


def test_a_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    text = Linear(mean=[0] * 3, scale=[1e-300] * 3, coefficients=[1e300, -1e300, 0.0], intercept=0.0).model_dump_json()
    digest = save_bundle(tmp_path, manifest(text), text)
    with np.errstate(all="ignore"), pytest.raises(ModelRefused, match="not finite"):
        load_bundle(tmp_path, digest).score(np.ones((2, 3), dtype=np.float32))


def test_loading_trees_does_not_import_what_a_server_does_without(tmp_path: Path, trees_text: str) -> None:
    digest = save_bundle(tmp_path, manifest(trees_text, "boosted_trees"), trees_text)
    code = f"""
import pathlib, sys
from mlsd.models.scoring import load_bundle
load_bundle(pathlib.Path({str(tmp_path)!r}), {digest!r})
print([name for name in ("pandas", "sklearn", "mlflow", "feast") if name in sys.modules])
import pandas
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert done.stdout.strip() == "[]"
