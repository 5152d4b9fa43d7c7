"""Platt's scaling: turns a raw score into a probability without changing the order."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

SLOPE_FLOOR = 1e-6  # a falling slope would turn the order round; such a model fails its gates instead


class Calibration(BaseModel):
    """Platt's scaling: score = sigmoid(a * raw + b). `a` is positive, so it never changes an order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    a: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    b: Annotated[float, Field(allow_inf_nan=False)] = 0.0


def platt(raw: NDArray[np.float64], label: NDArray[np.int8], rounds: int = 50) -> Calibration:
    """Fit sigmoid(a * raw + b) by Newton's method on Platt's smoothed targets (Platt 1999; Lin, Lin and Weng 2007).

    Args:
        raw: [n] raw scores of rows the model was not fitted on.
        label: [n] 0 or 1.
        rounds: upper bound of Newton steps; it takes about ten.
    """
    positives = float(np.count_nonzero(label))
    negatives = len(label) - positives
    target = np.where(label > 0, (positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0))
    centre, spread = float(raw.mean()), float(raw.std())
    if spread < 1e-9 * max(1.0, abs(centre)):  # a constant
        spread = 1.0
    design = np.stack([(raw - centre) / spread, np.ones(len(raw))], axis=1)
    weights = np.array([0.0, np.log((positives + 1.0) / (negatives + 1.0))])
    for _ in range(rounds):
        probability = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -36.0, 36.0)))
        gradient = design.T @ (probability - target)
        curvature = (design * (probability * (1.0 - probability))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        step *= min(1.0, 4.0 / float(np.abs(step).max() or 1.0))  # far out the sigmoid is flat and Newton overshoots
        weights = weights - step
        if float(np.abs(step).max()) < 1e-9:
            break
    a = max(float(weights[0]), SLOPE_FLOOR) / spread
    return Calibration(a=a, b=float(weights[1]) - a * centre)
