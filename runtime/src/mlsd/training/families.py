"""What a model family brings to training: how it is fitted, and the graph of a fitted model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mlsd.design import components
from mlsd.design.design import Design
from mlsd.training.rows import Rows


@dataclass(frozen=True)
class Fitted:
    """A model as text, before calibration."""

    family: str
    objective: str
    text: str


Fit = Callable[[Rows], Fitted]
"""The same rows, the same seed, the same text."""


@dataclass(frozen=True)
class TrainingFamily:
    """One family; `mlsd.design.components` names it.

    candidates: from the design and the names of the matrix columns to what is to be fitted, plainest first.
    graph: a fitted model's text as ONNX, input and output as in `mlsd.models.engines.onnx`.
    engines: names of the engines to measure beside the native one.
    left_out: engines that make no sense for it, with the reason.
    mlflow_flavour: of the tracked model, if MLflow has one.
    """

    candidates: Callable[[Design, tuple[str, ...]], list[Fit]]
    graph: Callable[[str], Any]
    engines: tuple[str, ...] = ("onnx", "onnx_int8")
    left_out: Mapping[str, str] = field(default_factory=dict)
    mlflow_flavour: str | None = None


def training_family(name: str) -> TrainingFamily:
    """The family of a fitted model.

    Raises:
        UserError: there is none of that name.
    """
    found: TrainingFamily = components.load(components.family(name).training)
    return found


def every_fit(design: Design, features: tuple[str, ...]) -> list[Fit]:
    """What to fit: every family's candidates, from the plainest family on."""
    return [fit for name in components.MODEL_FAMILIES for fit in training_family(name).candidates(design, features)]
