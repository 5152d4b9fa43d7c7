"""From a model matrix to calibrated scores: the one code path for training, serving and replay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlsd.design import components
from mlsd.evaluation.calibration import Calibration
from mlsd.models.bundle import Manifest, ModelRefused, read_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from mlsd.models.engines.base import Engine


def sigmoid(raw: NDArray[np.float64], calibration: Calibration) -> NDArray[np.float64]:
    """Calibrated probability in (0, 1), [n] from [n]; exponents are bounded, so no overflow."""
    exponent = np.clip(calibration.a * raw + calibration.b, -36.0, 36.0)
    return 1.0 / (1.0 + np.exp(-exponent))


@dataclass(frozen=True)
class Bundle:
    """A loaded model."""

    manifest: Manifest
    digest: str
    scorer: Engine

    @property
    def engine(self) -> str:
        """Name of what scores, as the prediction record has it."""
        return self.scorer.name

    def score(self, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
        """Calibrated scores in [0, 1], [n] from [n, F]; an infinite input counts as missing.

        Raises:
            ModelRefused: the matrix has another width than the model, or a score is not a finite number.
        """
        if matrix.ndim != 2 or matrix.shape[1] != self.scorer.width:
            raise ModelRefused(f"matrix: found shape {matrix.shape}, expected (rows, {self.scorer.width})")
        if matrix.shape[0] == 0:
            return np.zeros(0)
        infinite = np.isinf(matrix)
        if infinite.any():
            matrix = np.where(infinite, np.float32(np.nan), matrix)
        scores = sigmoid(self.scorer.raw(matrix), self.manifest.calibration)
        if not np.isfinite(scores).all():
            raise ModelRefused(
                f"model {self.digest[:12]}: {np.count_nonzero(~np.isfinite(scores))} scores are not finite"
            )
        return scores


def load_scorer(family: str, text: str, *, threads: int = 1) -> Engine:
    """Parse a model's text, which must come from a verified file or from the fit itself.

    Raises:
        ModelRefused: not the text of such a model.
        UserError: no such family.
    """
    engine: Engine = components.load(components.family(family).parse)(text, threads)
    return engine


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
    return fitted(folder, Bundle(manifest, found, load_scorer(manifest.family, text, threads=threads)))


def fitted(folder: Path, bundle: Bundle) -> Bundle:
    """The bundle, if its engine takes as many features as its manifest names.

    Raises:
        ModelRefused: it does not.
    """
    width, named = bundle.scorer.width, len(bundle.manifest.feature_names)
    if width != named:
        raise ModelRefused(f"{folder}: the model has {width} features, its manifest {named}")
    return bundle
