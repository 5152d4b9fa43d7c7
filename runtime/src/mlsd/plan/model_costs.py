"""Model families and what one request costs each of them: the first thing a latency budget decides."""

import math
from dataclasses import dataclass

from mlsd.design.design import Design

ROWS = 500
REQUEST_MS = 0.8
"""CPU of a request around the model: framework 0.3, one user row 0.4, item rows 0.1 ms."""


@dataclass(frozen=True)
class Family:
    """One family and its CPU milliseconds for 500 candidates of 40 features on one core."""

    name: str
    ms: float


@dataclass(frozen=True)
class Fit:
    """A family against this design."""

    family: str
    ms: float
    fits: bool
    replicas: int
    why: str


def boosted_trees_ms(trees: int, leaves: int) -> float:
    """LightGBM, one thread: the line through 1.63 ms (100 trees x 31 leaves) and 7.0 ms (500); other sizes by depth."""
    return 0.29 + 0.01343 * trees * math.log2(leaves) / math.log2(31)


def families(design: Design) -> list[Family]:
    """Cheapest first: medians on one core of a 2-core x86-64 server (LightGBM 4.7, lleaves 1.3, NumPy 2.4).

    The two attention models count their matrix products only, which is a floor.
    """
    trees, leaves = design.training.trees, design.training.leaves
    ours = boosted_trees_ms(trees, leaves)
    return [
        Family("popularity", 0.01),
        Family("logistic regression", 0.01),
        Family(f"boosted trees {trees} x {leaves}, compiled", ours * 0.19),
        Family("multilayer perceptron 256-128", 0.8),
        Family(f"boosted trees {trees} x {leaves}", ours),
        Family("attention over 50 events per candidate", 94.0),
        Family("text cross-encoder, 6 layers x 384", 3300.0),
    ]


def cpu_replicas(design: Design, model_ms: float) -> int:
    """Replicas whose cores carry the peak: rps x CPU seconds / (cores x load)."""
    cpu_s = (model_ms + REQUEST_MS) / 1000
    return math.ceil(design.scale.peak_rps * cpu_s / (design.capacity.replica_cpu * design.capacity.load))


def fit(design: Design, family: Family) -> Fit:
    """Judge one family by the inference budget; also say how many replicas its CPU needs."""
    ms = family.ms * design.scale.candidates / ROWS
    budget = design.latency.hops_ms.inference
    shown = f"{ms:,.0f}" if ms >= 10 else f"{ms:.2g}"
    why = f"{shown} of {budget:g} ms" if ms <= budget else f"{shown} ms is over the budget of {budget:g} ms"
    return Fit(family.name, ms, ms <= budget, cpu_replicas(design, ms), why)
