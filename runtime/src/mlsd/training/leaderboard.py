"""The leaderboard: popularity, logistic regression, boosted trees, and the challenger with the ranking objective."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mlsd.design.design import Design
from mlsd.models.scoring import Bundle
from mlsd.problem.problem import Problem
from mlsd.training import latency
from mlsd.training.bundling import Fits, Lineage, build_bundle, calibrated_popularity, save_candidate
from mlsd.training.candidate import BASELINE, Candidate, Scored, measure
from mlsd.training.families import Fitted, every_fit
from mlsd.training.gating import gates
from mlsd.training.rows import Rows, joined

LOG = logging.getLogger("mlsd")
LOGISTIC = "logistic_regression/pointwise"


@dataclass(frozen=True)
class Parts:
    """The temporal split: each part lies wholly before the next."""

    train: Rows
    validation: Rows
    test: Rows


def _fits(parts: Parts, design: Design, features: tuple[str, ...], begin: Callable[[Fitted], None]) -> list[Fits]:
    """From plain to complex, fitted two at a time."""
    models = list(reversed(every_fit(design, features)))  # the slowest first, so that the pool is never half idle
    everything = joined(parts.train, parts.validation)
    with ThreadPoolExecutor(2) as pool:
        futures = [(pool.submit(fit, everything), pool.submit(fit, parts.train)) for fit in models]
        for final, _ in futures:
            final.add_done_callback(lambda done: begin(done.result()) if not done.exception() else None)
        return [Fits(trial=trial.result(), final=final.result()) for final, trial in reversed(futures)]


def _judged(design: Design, candidate: Candidate, bundle: Bundle, test: Rows) -> Candidate:
    """With the time that a request's rows take, and what the gates say."""
    taken = latency.measure(bundle, test.matrix, design.scale.candidates)
    timed = candidate.model_copy(update={"p50_ms": taken.p50_ms, "p99_ms": taken.p99_ms})
    return timed.model_copy(update={"checks": gates.judge(design, timed)})


def run_leaderboard(
    design: Design,
    problem: Problem,
    parts: Parts,
    lineage: Lineage,
    folder: Path,
    begin: Callable[[Fitted], None] = lambda _: None,
) -> list[Candidate]:
    """Fit, calibrate, measure and judge every candidate; a bundle of each model is left in `folder`.

    Args:
        design: what to fit and how to judge it.
        problem: names the columns.
        parts: rows to fit, to calibrate and to judge on.
        lineage: digests of data and code.
        folder: for the bundles.
        begin: told of each final fit as soon as there is one, for work that can go on beside the measuring.

    Returns:
        The candidates in order; the first is the baseline, which is measured but is no candidate.
    """
    rounds, seed = design.training.bootstrap_rounds, design.data.seed
    test = parts.test
    baseline = Scored.of(test, calibrated_popularity(parts.validation, test))
    candidates = [measure(BASELINE, test, baseline, baseline, None, rounds=rounds, seed=seed)]
    logistic: Scored | None = None
    for fits in _fits(parts, design, problem.feature_names, begin):
        fitted = fits.final
        name = f"{fitted.family}/{fitted.objective}"
        name += "/large" if any(other.name == name for other in candidates) else ""
        bundle = build_bundle(fits, (parts.train, parts.validation), design, problem, lineage)
        model = Scored.of(test, bundle.score(test.matrix))
        candidate = measure(name, test, model, baseline, logistic, rounds=rounds, seed=seed)
        candidate = _judged(design, candidate, bundle, test)
        place = folder / name.replace("/", "-")
        digest = save_candidate(place, bundle, fitted, candidate.plain)
        candidates.append(candidate.model_copy(update={"bundle": str(place), "digest": digest}))
        LOG.info("%s: NDCG@10 %.3f, over popularity %+.3f", name, candidate.ndcg10, candidate.lift)
        logistic = model if name == LOGISTIC else logistic
    return candidates
