"""The families of the ladder: each fit turns rows into the text of a model. Same rows, same seed, same text."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlsd.design.design import Design
from mlsd.models.bundle import Family
from mlsd.models.engines.linear import Linear
from mlsd.training.pairwise import Pairs
from mlsd.training.rows import Rows

# One thread: the sums inside a tree depend on the number, and two threads that wait for each other on a busy machine
# took three times as long as one (3.1 s against 9 s for 190,000 rows x 58 features).
THREADS = 1
# Engagements are rare (5 % of rows), small leaves learn noise: NDCG@10 +0.01 on the synthetic world and on MovieLens.
SHAPE = {"min_data_in_leaf": 100, "feature_fraction": 0.5, "max_bin": 63, "lambda_l2": 20.0}
TRUNCATION = 30  # ranks that lambdarank pushes on; a little above the cut of NDCG@10 (LightGBM's default)


@dataclass(frozen=True)
class Fitted:
    """A model as text, before calibration."""

    family: Family
    objective: str
    text: str


def fit_logistic(rows: Rows) -> Fitted:
    """Logistic regression on standardised features; a missing value counts as the mean."""
    from sklearn.linear_model import LogisticRegression

    matrix = np.where(np.isfinite(rows.matrix), rows.matrix, np.float32(np.nan))
    known = np.isfinite(matrix).any(axis=0)
    mean, scale = np.zeros(matrix.shape[1]), np.ones(matrix.shape[1])
    mean[known] = np.nanmean(matrix[:, known], axis=0, dtype=np.float64)
    scale[known] = np.nanstd(matrix[:, known], axis=0, dtype=np.float64)
    scale[scale < 1e-12] = 1.0
    standard = ((matrix - mean) / scale).astype(np.float32)  # half the time of float64 for the same model
    model = LogisticRegression(max_iter=300).fit(np.nan_to_num(standard, copy=False), rows.label)
    linear = Linear(
        mean=mean.tolist(),
        scale=scale.tolist(),
        coefficients=model.coef_[0].tolist(),
        intercept=float(model.intercept_[0]),
    )
    return Fitted("logistic_regression", "pointwise", json.dumps(linear.model_dump(), indent=1) + "\n")


def _objective(objective: str, rows: Rows, seed: int) -> dict[str, Any]:
    if objective == "listwise":
        return {"objective": "lambdarank", "lambdarank_truncation_level": TRUNCATION}
    if objective == "pairwise":
        return {"objective": Pairs.drawn(rows, seed).gradient}
    return {"objective": "binary"}


def fit_trees(rows: Rows, design: Design, features: tuple[str, ...], objective: str, *, leaves: int) -> Fitted:
    """Gradient-boosted trees.

    Args:
        rows: what to learn from.
        design: number of trees, learning rate, seed.
        features: names of the matrix columns.
        objective: pointwise (log loss), pairwise (RankNet) or listwise (LambdaRank).
        leaves: per tree.
    """
    import lightgbm

    params = _objective(objective, rows, design.data.seed) | {
        **SHAPE,
        "learning_rate": design.training.learning_rate,
        "num_leaves": leaves,
        "seed": design.data.seed,
        "num_threads": THREADS,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    data = lightgbm.Dataset(rows.matrix, rows.label, group=rows.sizes, feature_name=list(features), params=params)
    booster = lightgbm.train(params, data, num_boost_round=design.training.trees)
    return Fitted("boosted_trees", objective, booster.model_to_string())
