"""Small LightGBM models with the traits that engines differ in, and bundles around them."""

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from mlsd.core.home import Home
from mlsd.evaluation.calibration import Calibration
from mlsd.models.bundle import Manifest, save_bundle, sha256
from mlsd.training.onnx_export import export

AT = datetime(2025, 3, 1, tzinfo=UTC)
WIDTH = 6
Model = tuple[Path, str, Home]  # a bundle's folder, its digest, and the state folder it lies in


def rows(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Values on both sides of 0, whole numbers, and holes: [count, 6]."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(count, WIDTH)).astype(np.float32)
    matrix[:, 1] = np.round(matrix[:, 1] * 3)
    matrix[:, 2] = np.maximum(matrix[:, 2], 0)
    matrix[random.random(matrix.shape) < 0.05] = np.nan
    return matrix


def boosted(trees: int = 12, objective: Any = "binary", seed: int = 0, **params: Any) -> str:
    """The text of a model fitted to 1,500 rows."""
    matrix = rows(1500, seed)
    filled = np.nan_to_num(matrix)
    label = (filled[:, 0] * filled[:, 2] + 0.4 * filled[:, 1] > 0.3).astype(int)
    settings = {"objective": objective, "num_leaves": 15, "verbose": -1, "num_threads": 1, **params}
    categories = settings.pop("categorical_feature", "auto")
    if categories != "auto":
        matrix[:, categories] = np.abs(np.nan_to_num(matrix[:, categories]))
    data = lightgbm.Dataset(matrix, label, group=[15] * 100, params=settings, categorical_feature=categories)
    return str(lightgbm.train(settings, data, trees).model_to_string())


def bundled(folder: Path, text: str, family: str = "boosted_trees", **changes: Any) -> str:
    """Write a bundle with its ONNX graphs; returns its digest."""
    names = changes.pop("feature_names", [f"f{k}" for k in range(WIDTH)])
    exports = export(family, text) if changes.pop("graphs", True) else {}
    content = {
        "family": family,
        "objective": "pointwise",
        "feature_names": names,
        "feature_service": "ranking_v1",
        "user_columns": names[:2],
        "item_columns": names[2:],
        "model_file": "model.txt" if family == "boosted_trees" else "weights.json",
        "model_sha256": sha256(text.encode()),
        "exports": {name: sha256(graph) for name, graph in exports.items()},
        "calibration": Calibration(a=2.0, b=-1.0),
        "created_at": AT,
        "train_window": (AT, AT),
        "tables_digest": "t",
        "design_digest": "d",
        "code_version": "c",
        "metrics": {},
        "reference": {},
    }
    return save_bundle(folder, Manifest.model_validate(content | changes), text, exports)


def flip(path: Path, rng: random.Random, _: Path) -> None:
    content = bytearray(path.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
