"""A linear model in NumPy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from mlsd.models.bundle import Finite, ModelRefused

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Linear(BaseModel):
    """A weighted sum of standardised features; a missing value counts as the mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str] = "linear"
    remote: ClassVar[bool] = False

    kind: Literal["linear"] = "linear"
    mean: list[Finite]
    scale: list[Finite]
    coefficients: list[Finite]
    intercept: Finite

    @property
    def width(self) -> int:
        """Number of features it expects."""
        return len(self.coefficients)

    def raw(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Log odds, [n]. Summed row by row, so that a row scores the same alone and in a batch."""
        standard = (matrix.astype(np.float64) - self.mean) / self.scale
        terms = np.where(np.isnan(standard), 0.0, standard) * self.coefficients
        total: NDArray[np.float64] = np.add.reduce(np.ascontiguousarray(terms), axis=1) + self.intercept
        return total


def parse(text: str, _: int = 1) -> Linear:
    """The engine of a model's text.

    Raises:
        ModelRefused: not the text of a linear model.
    """
    try:
        return Linear.model_validate(json.loads(text))
    except ValueError as error:
        raise ModelRefused(f"not a linear model: {' '.join(str(error).split())[:200]}") from None
