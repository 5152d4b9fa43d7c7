"""A release's model, verified before it may answer: digests first, then its features, then one real batch."""

from pathlib import Path

import numpy as np

from mlsd.design.design import Design
from mlsd.features.snapshot import Snapshot
from mlsd.models.bundle import Manifest, ModelRefused
from mlsd.models.engines.base import EngineUnavailable
from mlsd.models.engines.deadline import RemoteError
from mlsd.models.release import Release
from mlsd.models.scoring import Bundle
from mlsd.models.selection import load_now
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem
from mlsd.serving.dispatch.worker_pool import share_of_cores


def _check_fit(manifest: Manifest, problem: Problem, service: str) -> None:
    pairs = {
        "feature_service": (manifest.feature_service, service),
        "feature_names": (tuple(manifest.feature_names), tuple(problem.feature_names)),
        "user_columns": (tuple(manifest.user_columns), tuple(problem.user_columns)),
        "item_columns": (tuple(manifest.item_columns), tuple(problem.item_columns)),
    }
    for name, (found, expected) in pairs.items():
        if found != expected:
            shown = (
                f"{found!r}, expected {expected!r}" if isinstance(found, str) else "another list than this service's"
            )
            raise ModelRefused(
                f"manifest.json: {name}: found {shown}; trained for other features, not served: release a model that "
                "was trained with this pack, or bring that pack's sources back"
            )


def check(bundle: Bundle, design: Design, problem: Problem, snapshot: Snapshot) -> Bundle:
    """The bundle, once it fits this service and has scored one batch.

    Raises:
        ModelRefused: made for other features, or without finite scores.
        EngineUnavailable: its engine answers from elsewhere, and did not.
    """
    _check_fit(bundle.manifest, problem, design.features.service)
    rows, _ = snapshot.rows(snapshot.ids[: design.scale.candidates])
    context = problem.context(np.zeros(1, "datetime64[us]"), np.array([""]))
    matrix = problem.assemble(problem.user_defaults[None, :], rows, context)
    try:
        bundle.score(matrix)
    except (RemoteError, TimeoutError) as error:
        raise EngineUnavailable(f"engine {bundle.engine}: {error}") from None
    return bundle


def load_model(release: Release, context: Context, snapshot: Snapshot) -> Bundle:
    """Load a release's model with the engine of choice and score one batch with it.

    Raises:
        ModelRefused: damaged, altered, of an unknown kind, made for other features, or without finite scores.
        EngineUnavailable: the one engine that the design asks for cannot be had.
    """
    design, home, problem = context.design, context.home, context.problem
    deadline_s = design.latency.hops_ms.inference / 1e3
    folder, digest, cores = Path(release.model_dir), release.model_digest, share_of_cores(design.serving.workers)
    bundle = load_now(design.serving, folder, digest, home, deadline_s, threads=cores)
    return check(bundle, design, problem, snapshot)
