"""Gradient-boosted trees (LightGBM): pointwise, pairwise or listwise."""

from typing import Any

from mlsd.design.design import Design
from mlsd.models.engines.onnx import INPUT, OUTPUT
from mlsd.models.engines.trees_text import plain
from mlsd.training.families import Fit, Fitted, TrainingFamily
from mlsd.training.pairwise import Pairs
from mlsd.training.rows import Rows

OPSET = 15  # the newest that onnxmltools writes
# One thread: the sums inside a tree depend on the number, and two threads that wait for each other on a busy machine
# took three times as long as one (3.1 s against 9 s for 190,000 rows x 58 features).
THREADS = 1
# Engagements are rare (5 % of rows), small leaves learn noise: NDCG@10 +0.01 on the synthetic world and on MovieLens.
SHAPE = {"min_data_in_leaf": 100, "feature_fraction": 0.5, "max_bin": 63, "lambda_l2": 20.0}
TRUNCATION = 30  # ranks that lambdarank pushes on; a little above the cut of NDCG@10 (LightGBM's default)


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


def candidates(design: Design, features: tuple[str, ...]) -> list[Fit]:
    """Pointwise trees, then those of the objective of the design; where that is pointwise too, larger ones."""
    leaves = design.training.leaves
    last = 2 * leaves if design.ranking == "pointwise" else leaves
    return [
        lambda rows: fit_trees(rows, design, features, "pointwise", leaves=leaves),
        lambda rows: fit_trees(rows, design, features, design.ranking, leaves=last),
    ]


def graph(text: str) -> Any:
    """The trees as ONNX, with plain names for input and output."""
    from lightgbm import Booster
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = Booster(model_str=plain(text))
    inputs = [(INPUT, FloatTensorType([None, booster.num_feature()]))]
    model = convert_lightgbm(booster, "trees", inputs, target_opset=OPSET, zipmap=False)
    found = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = [OUTPUT if name == found else name for name in node.output]
    model.graph.output[0].name = OUTPUT
    return model


FAMILY = TrainingFamily(
    candidates,
    graph,
    engines=("lleaves", "onnx"),
    left_out={"onnx_int8": "no operator of an ensemble of trees can be quantised"},
    mlflow_flavour="lightgbm",
)
