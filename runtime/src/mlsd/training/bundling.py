"""From a fitted model to a bundle that can be served: calibrated on the validation rows, with its reference bins."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mlsd.design import components
from mlsd.design.design import Design
from mlsd.evaluation.binning import reference
from mlsd.evaluation.calibration import platt
from mlsd.models.bundle import Manifest, save_bundle, sha256
from mlsd.models.scoring import Bundle, load_bundle, load_scorer, sigmoid
from mlsd.problem.problem import Problem
from mlsd.training.families import Fitted
from mlsd.training.rows import Rows


@dataclass(frozen=True)
class Lineage:
    """Where a model comes from."""

    tables_digest: str
    code_version: str
    created_at: datetime
    pack_sha256: str = ""


def _log_odds(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    bounded = np.clip(probability, 1e-6, 1.0 - 1e-6)
    odds: NDArray[np.float64] = np.log(bounded) - np.log1p(-bounded)
    return odds


def calibrated_popularity(validation: Rows, test: Rows) -> NDArray[np.float64]:
    """The baseline's scores on the test rows, [n], calibrated as the models are."""
    calibration = platt(_log_odds(validation.popularity), validation.label)
    return sigmoid(_log_odds(test.popularity), calibration)


@dataclass(frozen=True)
class Fits:
    """One model fitted twice: `trial` on the training rows, `final` on those and the validation rows."""

    trial: Fitted
    final: Fitted


def build_bundle(fits: Fits, parts: tuple[Rows, Rows], design: Design, problem: Problem, lineage: Lineage) -> Bundle:
    """The final fit, calibrated by the trial's scores of the validation rows, which the trial has not seen.

    The newest rows are worth the second fit: NDCG@10 +0.005 on MovieLens. The bundle lies nowhere yet, without metrics.

    Args:
        fits: the model.
        parts: training rows and validation rows.
        design: names the feature service.
        problem: names the columns.
        lineage: digests of data and code.
    """
    train, validation = parts
    fitted = fits.final
    raw = load_scorer(fits.trial.family, fits.trial.text).raw(validation.matrix)
    calibration = platt(raw, validation.label)
    manifest = Manifest(
        family=fitted.family,
        objective=fitted.objective,
        feature_names=list(problem.feature_names),
        feature_service=design.features.service,
        user_columns=list(problem.user_columns),
        item_columns=list(problem.item_columns),
        model_file=components.family(fitted.family).file,
        model_sha256=sha256(fitted.text.encode()),
        calibration=calibration,
        created_at=lineage.created_at,
        train_window=(train.start.to_pydatetime(), validation.end.to_pydatetime()),
        tables_digest=lineage.tables_digest,
        design_digest=design.digest,
        code_version=lineage.code_version,
        pack_sha256=lineage.pack_sha256,
        metrics={},
        reference=reference(validation.matrix, problem.feature_names, sigmoid(raw, calibration)),
    )
    return Bundle(manifest, "", load_scorer(fitted.family, fitted.text))


def save_candidate(folder: Path, bundle: Bundle, fitted: Fitted, metrics: dict[str, float]) -> str:
    """Write a draft with its metrics and read it back as a server does.

    Returns:
        The digest.

    Raises:
        ModelRefused: what was written does not load.
    """
    manifest = bundle.manifest.model_copy(update={"metrics": metrics})
    digest = save_bundle(folder, manifest, fitted.text)
    return load_bundle(folder, digest).digest
