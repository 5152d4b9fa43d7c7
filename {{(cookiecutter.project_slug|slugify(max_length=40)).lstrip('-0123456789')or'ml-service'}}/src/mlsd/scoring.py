"""From a model matrix to calibrated scores: the one code path for training, serving and replay."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from mlsd.bundle import Calibration, Family, Finite, Manifest, ModelRefused, read_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

# lightgbm imports these when it finds them (2.5 s instead of 0.5 s); scoring needs none of them.
NOT_NEEDED = ("pandas", "sklearn", "pyarrow", "matplotlib", "graphviz", "dask", "polars")


class Scorer(Protocol):
    """Raw scores of a model, before calibration."""

    @property
    def width(self) -> int:
        """Number of features it expects."""

    def raw(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """One number per row, [n] from [n, F]; NaN in the matrix stands for a missing value."""


class Linear(BaseModel):
    """A weighted sum of standardised features; a missing value counts as the mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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


@contextmanager
def _hidden(modules: tuple[str, ...]) -> Iterator[None]:
    """Make the imports of modules that are not loaded yet fail at once."""
    absent = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent, None))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


class Trees:
    """A LightGBM model read from its text format."""

    def __init__(self, text: str, threads: int) -> None:
        if "lightgbm" not in sys.modules:
            with _hidden(NOT_NEEDED):
                import lightgbm  # noqa: F401
        from lightgbm import Booster

        self._booster: Any = Booster(model_str=text)
        self._threads = threads

    @property
    def width(self) -> int:
        """Number of features it expects."""
        return int(self._booster.num_feature())

    def raw(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Sum of the leaves, [n]."""
        raw: NDArray[np.float64] = self._booster.predict(
            np.ascontiguousarray(matrix), raw_score=True, num_threads=self._threads
        )
        return raw


def sigmoid(raw: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """Calibrated probability in (0, 1), [n] from [n]; exponents are bounded, so no overflow."""
    exponent = np.clip(calibration.a * raw + calibration.b, -36.0, 36.0)
    return 1.0 / (1.0 + np.exp(-exponent))


@dataclass(frozen=True)
class Bundle:
    """A loaded model."""

    manifest: Manifest
    digest: str
    scorer: Scorer

    def score(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated scores in [0, 1], [n] from [n, F]; an infinite input counts as missing.

        Raises:
            ModelRefused: the matrix has another width than the model, or a score is not a finite number.
        """
        if matrix.ndim != 2 or matrix.shape[1] != self.scorer.width:
            raise ModelRefused(f"matrix: found shape {matrix.shape}, expected (rows, {self.scorer.width})")
        if matrix.shape[0] == 0:
            return np.zeros(0)
        scores = sigmoid(
            self.scorer.raw(np.where(np.isinf(matrix), np.float32(np.nan), matrix)), self.manifest.calibration
        )
        if not np.isfinite(scores).all():
            raise ModelRefused(
                f"model {self.digest[:12]}: {np.count_nonzero(~np.isfinite(scores))} scores are not finite"
            )
        return scores


def load_scorer(family: Family, text: str, *, threads: int = 1) -> Scorer:
    """Parse a model's text, which must come from a verified file or from the fit itself.

    Raises:
        ModelRefused: the text of a linear model is not one. (LightGBM aborts the process on a damaged text.)
    """
    if family == "boosted_trees":
        return Trees(text, threads)
    try:
        return Linear.model_validate(json.loads(text))
    except ValueError as error:
        raise ModelRefused(f"not a linear model: {' '.join(str(error).split())[:200]}") from None


def load_bundle(folder: Path, digest: str | None, *, threads: int = 1) -> Bundle:
    """Load a model for scoring.

    Args:
        folder: the bundle.
        digest: sha256 of its manifest, 64 digits; None only for a bundle this process has just written.
        threads: threads of one call; a server scales by processes instead.

    Raises:
        ModelRefused: a digest differs (found out before parsing: LightGBM aborts the process on a truncated text),
            the kind is unknown, or the model has another number of features than its manifest.
    """
    manifest, text, found = read_bundle(folder, digest)
    scorer = load_scorer(manifest.family, text, threads=threads)
    if scorer.width != len(manifest.feature_names):
        raise ModelRefused(
            f"{folder}: the model has {scorer.width} features, its manifest {len(manifest.feature_names)}"
        )
    return Bundle(manifest, found, scorer)
