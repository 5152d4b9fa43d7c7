"""The rows of one run: enough of them, split by time, without a leak."""

from pathlib import Path

import pandas as pd

from mlsd.design.design import Design
from mlsd.models.bundle import read_bundle
from mlsd.pipelines.run import Outcome, Run, refuse_if_missed
from mlsd.problem.problem import Problem
from mlsd.training.gating import gates
from mlsd.training.gating.winner import InService
from mlsd.training.leaderboard import Parts


def _split(design: Design, table: pd.DataFrame, held: InService | None) -> tuple[pd.DataFrame, ...]:
    """By shares of time; with a model in service the newest requests are the test, none of which it has learnt from."""
    from mlsd.data.split import split, split_newest

    shares = design.training
    if held is None:
        return split(table, shares.validation_share, shares.test_share)
    manifest, _, _ = read_bundle(Path(held.folder), held.digest)
    learnt_until = manifest.train_window[1]
    return split_newest(table, shares.validation_share, shares.retrain_test_requests, learnt_until)


def split_rows(
    run: Run, design: Design, problem: Problem, table: pd.DataFrame, outcome: Outcome, held: InService | None
) -> tuple[Parts, Outcome]:
    """The temporal split, if there is enough to learn from and nothing leaks.

    Raises:
        GateError: too few rows, labels of one class, or a feature that leaks.
    """
    from mlsd.training.rows import from_frame

    checks = gates.judge_amount(design, rows=len(table), positives=int(table["label"].sum()))
    outcome = outcome.model_copy(update={"checks": checks, "rows": {"all": len(table)}})
    refuse_if_missed(run, outcome)
    frames = _split(design, table, held)
    train, validation, test = (from_frame(part, problem.feature_names) for part in frames)
    named = {"train": train, "validation": validation, "test": test}
    checks = [
        *checks,
        *gates.judge_parts(design, named),
        *gates.judge_leaks(design, train, problem.feature_names),
    ]
    rows = {"all": len(table), **{name: len(part) for name, part in named.items()}}
    outcome = outcome.model_copy(update={"checks": checks, "rows": rows})
    refuse_if_missed(run, outcome)
    return Parts(train, validation, test), outcome
