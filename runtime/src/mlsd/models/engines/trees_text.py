"""LightGBM's text format: is it whole, how other engines must read it, rows that would show a difference."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from mlsd.models.bundle import ModelRefused
from mlsd.models.engines.base import EngineUnavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray

END = "end of trees\n"
NEARLY_ZERO = np.float32(1e-35)
"""LightGBM reads what is no larger than this as 0; its own thresholds around 0 are this number with either sign."""


def _trees(text: str) -> tuple[str, list[str]]:
    """Header and one block per tree."""
    head, _, rest = text.partition("\nTree=")
    body, end, _ = rest.partition(END)
    if not head.startswith("tree\n") or not end:
        raise ModelRefused("not a whole LightGBM model: its text starts with `tree` and has a line `end of trees`")
    return head.rstrip("\n") + "\n", re.split(r"(?<=\n)(?=Tree=)", f"Tree={body}")


def check(text: str) -> None:
    """Refuse a text that is cut or spliced: its header says how many bytes each tree has.

    Raises:
        ModelRefused: not a whole model.
    """
    head, blocks = _trees(text)
    tail = text.rpartition(END)[2]
    if ("\nparameters:" in tail) != ("\nend of parameters\n" in tail) or not re.search(
        r"\npandas_categorical:.*\n$", tail
    ):
        raise ModelRefused("not a whole LightGBM model: what follows its trees is cut off")
    sizes = re.search(r"\ntree_sizes=([\d ]+)\n", head)
    found = [len(block.encode()) for block in blocks]
    if sizes is None or [int(size) for size in sizes[1].split()] != found:
        raise ModelRefused(f"not a whole LightGBM model: {len(found)} trees do not have the sizes its header gives")


def _thresholds(block: str) -> NDArray[np.float64]:
    found = re.search(r"\nthreshold=([^\n]*)", block)
    return np.array(found[1].split() if found else [], np.float64)


def _floor(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above each value, [n]; below LightGBM's own -1e-35 instead of at it."""
    rounded = values.astype(np.float32)
    lower = np.nextafter(rounded, np.float32(-np.inf))
    floor = np.where(rounded.astype(np.float64) > values, lower, rounded)
    return np.where(floor == -NEARLY_ZERO, np.nextafter(-NEARLY_ZERO, np.float32(-1.0)), floor)


def plain(text: str) -> str:
    """The same trees as other engines must be told them, so that each row of float32 reaches the same leaves.

    Thresholds are float64 and an engine may round them up to float32; `x <= t` and `x <= floor(t)` are one for each
    float32 x. LightGBM takes -1e-35 itself for 0, others do not. The objective becomes the plain sum: we calibrate.

    Raises:
        ModelRefused: not a whole model.
        EngineUnavailable: trees with categories, zeros as missing values, linear leaves or several classes.
    """
    head, blocks = _trees(text)
    body = "\n".join(blocks)
    for what, pattern, where in (
        ("categories", r"\nnum_cat=[1-9]", body),
        ("zeros as missing values", r"\ndecision_type=(?:\d+ )*[4-7]\b", body),
        ("linear leaves", r"\nis_linear=1", body),
        ("several classes", r"\nnum_tree_per_iteration=(?!1\n)", head),
        ("averaged trees", r"\naverage_output", head),
    ):
        if re.search(pattern, where):
            raise EngineUnavailable(f"trees with {what} are scored by LightGBM only")
    head = re.sub(r"(?m)^(objective|tree_sizes)=.*\n", "", head)
    told = [
        re.sub(r"\nthreshold=[^\n]*", f"\nthreshold={' '.join(map(repr, _floor(_thresholds(block)).tolist()))}", block)
        for block in blocks
    ]
    sizes = " ".join(str(len(block.encode())) for block in told)
    return f"{head}objective=regression\ntree_sizes={sizes}\n\n{''.join(told)}{END}\npandas_categorical:null\n"


def probe(text: str, rows: int = 2048, missing: float = 0.05) -> NDArray[np.float32]:
    """Rows at the very thresholds of the trees, just above and just below, with some missing: [rows, F].

    Rows drawn from data never show what an engine does there: one off by a whole leaf was equal on every data row.
    """
    head, blocks = _trees(text)
    width = int(re.findall(r"\nmax_feature_idx=(\d+)", head)[0]) + 1
    at: list[list[float]] = [[0.0] for _ in range(width)]
    for block in blocks:
        features = re.search(r"\nsplit_feature=([^\n]*)", block)
        for feature, threshold in zip(features[1].split() if features else [], _thresholds(block), strict=True):
            at[int(feature)].append(float(threshold))
    random = np.random.default_rng(0)
    columns = []
    for values in at:
        column = np.array(values, np.float32)[random.integers(len(values), size=rows)]
        way = np.array([-np.inf, np.inf], np.float32)[random.integers(2, size=rows)]
        column = np.where(random.random(rows) < 0.5, np.nextafter(column, way), column)
        columns.append(np.where(random.random(rows) < missing, np.float32(np.nan), column))
    return np.ascontiguousarray(np.stack(columns, axis=1))
