"""The gates: pure functions from the design and the measurements to checks. A missed one refuses the candidate."""

import numpy as np

from mlsd.core.result import Check
from mlsd.design.design import Design
from mlsd.evaluation.ranking_metrics import auc
from mlsd.training.candidate import Candidate
from mlsd.training.rows import Rows


def _lift(design: Design, candidate: Candidate) -> Check:
    least = design.training.gates.min_lift
    low, high = candidate.lift_ci
    return Check(
        name="NDCG@10 over popularity",
        designed=f"low end > {least:+.3f}",
        measured=f"{candidate.lift:+.3f} [{low:+.3f}, {high:+.3f}]",
        passed=low > least,
    )


def _logistic(candidate: Candidate) -> list[Check]:
    """More parts than a logistic regression must not rank worse than one, beyond noise."""
    if candidate.versus_logistic is None or candidate.versus_logistic_ci is None:
        return []
    low, high = candidate.versus_logistic_ci
    return [
        Check(
            name="NDCG@10 over logistic regression",
            designed="not below 0 beyond noise",
            measured=f"{candidate.versus_logistic:+.3f} [{low:+.3f}, {high:+.3f}]",
            passed=high >= 0,
        )
    ]


def _probability(design: Design, candidate: Candidate) -> list[Check]:
    gates = design.training.gates
    return [
        Check(
            name="AUC",
            designed=f"{gates.min_auc:g} to {gates.max_auc:g}",
            measured=f"{candidate.auc:.3f}" + (" (too good: a leak?)" if candidate.auc > gates.max_auc else ""),
            passed=gates.min_auc <= candidate.auc <= gates.max_auc,
        ),
        Check(
            name="calibration error",
            designed=f"<= {gates.max_calibration_error:g}",
            measured=f"{candidate.ece:.4f}",
            passed=candidate.ece <= gates.max_calibration_error,
        ),
    ]


def _slices(design: Design, candidate: Candidate) -> list[Check]:
    """A slice is lost if it is worse than the baseline by more than the design allows, and beyond noise."""
    gates = design.training.gates
    checks = []
    for name, row in candidate.slices.items():
        if row.difference is None or row.difference_ci is None or row.requests < gates.min_slice_requests:
            continue
        checks.append(
            Check(
                name=f"slice {name}: NDCG@10 over popularity",
                designed=f"loses at most {gates.max_slice_loss:g}",
                measured=f"{row.difference:+.3f} (n {row.requests})",
                passed=row.difference >= -gates.max_slice_loss or row.difference_ci[1] >= 0,
            )
        )
    return checks


def _latency(design: Design, candidate: Candidate) -> Check:
    budget = design.latency.hops_ms.inference
    return Check(
        name=f"scoring {design.scale.candidates} candidates, p99",
        designed=f"<= {budget:g} ms",
        measured="not measured" if candidate.p99_ms is None else f"{candidate.p99_ms:.2f} ms",
        passed=candidate.p99_ms is not None and candidate.p99_ms <= budget,
    )


def judge(design: Design, candidate: Candidate) -> list[Check]:
    """Every gate of one candidate; however accurate, one that is too slow is refused."""
    return [
        _lift(design, candidate),
        *_logistic(candidate),
        *_probability(design, candidate),
        *_slices(design, candidate),
        _latency(design, candidate),
    ]


def judge_amount(design: Design, *, rows: int, positives: int) -> list[Check]:
    """Whether there is enough to learn from: rows, and labels of both classes."""
    labels = f"{positives} positive of {rows}"
    if rows and positives == 0:
        labels += f"; a label outage, or none older than {design.label.maturity_h:g} h"
    return [
        Check(
            name="labelled rows",
            designed=f">= {design.data.min_rows}",
            measured=str(rows),
            passed=rows >= design.data.min_rows,
        ),
        Check(name="labels of both classes", designed="both", measured=labels, passed=0 < positives < rows),
    ]


def judge_parts(design: Design, parts: dict[str, Rows]) -> list[Check]:
    """Whether each part of the split can be learned from or judged on."""
    least = design.training.gates.min_slice_requests
    checks = []
    for name, rows in parts.items():
        some = len(np.unique(rows.request[rows.label > 0]))
        checks.append(
            Check(
                name=f"{name}: requests with a positive",
                designed=f">= {least}",
                measured=str(some),
                passed=some >= least,
            )
        )
    return checks


def judge_leaks(design: Design, rows: Rows, features: tuple[str, ...]) -> list[Check]:
    """One feature that alone tells the label knows something that was not there at the time of the request."""
    most = design.training.gates.max_auc
    found = {}
    for place, name in enumerate(features):
        values = rows.matrix[:, place].astype(np.float64)
        values = np.where(np.isnan(values), -np.inf, values)
        area = auc(values, rows.label)
        found[name] = max(area, 1.0 - area)
    worst = max(found, key=lambda name: found[name])
    return [
        Check(
            name="AUC of the best single feature",
            designed=f"<= {most:g}, else it leaks",
            measured=f"{found[worst]:.3f} ({worst})",
            passed=found[worst] <= most,
        )
    ]


def not_inferior(name: str, margin: float, *, difference: float, low: float, high: float) -> Check:
    """A new model must be shown to rank the newest requests not worse by a margin than the one it would replace.

    The whole 95 % interval of the paired difference lies above -margin (non-inferiority: Piaggio et al., JAMA 2012), so
    a model that is worse by the margin passes once in 40 times, and one that loses less than matters is not refused
    because many requests make the loss certain.
    """
    return Check(
        name=f"NDCG@10 over {name}",
        designed=f"low end > {-margin:+.3f}",
        measured=f"{difference:+.3f} [{low:+.3f}, {high:+.3f}]",
        passed=low > -margin,
    )
