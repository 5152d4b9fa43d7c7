"""Each number of `training.gates` in this project's design fires on a model that misses it, and on nothing else."""

import pytest

from mlsd.design.design import Design
from mlsd.training.candidate import Candidate, SliceRow
from mlsd.training.gating import gates

BIT = 1e-3


def at_the_limit(design: Design, **changes: object) -> Candidate:
    """A model that keeps every number of the design by a bit."""
    limits, rate = design.training.gates, design.latency.hops_ms.inference
    content: dict[str, object] = {
        "name": "boosted_trees/pointwise",
        "family": "boosted_trees",
        "objective": "pointwise",
        "requests": 500,
        "ndcg10": 0.4,
        "ndcg10_ci": (0.38, 0.42),
        "lift": limits.min_lift + 0.05,
        "lift_ci": (limits.min_lift + BIT, limits.min_lift + 0.1),
        "precision10": 0.1,
        "recall10": 0.5,
        "auc": limits.min_auc + BIT,
        "log_loss": 0.2,
        "ece": limits.max_calibration_error - BIT,
        "p50_ms": rate / 2,
        "p99_ms": rate - BIT,
        "slices": {"weekend": _slice(design, requests=limits.min_slice_requests)},
        "reliability": {},
    }
    return Candidate.model_validate(content | changes)


def _slice(design: Design, *, requests: int, lost: float = 0.0) -> SliceRow:
    difference = -design.training.gates.max_slice_loss + BIT - lost
    return SliceRow(
        requests=requests, ndcg10=0.4, difference=difference, difference_ci=(difference - BIT / 2, difference + BIT / 2)
    )


def missed(design: Design, candidate: Candidate) -> list[str]:
    return [check.name for check in gates.judge(design, candidate) if not check.passed]


def test_a_model_that_keeps_every_number_passes(design: Design) -> None:
    assert missed(design, at_the_limit(design)) == []


@pytest.mark.parametrize(
    "gate", ["min_lift", "min_auc", "max_auc", "max_calibration_error", "max_slice_loss", "latency"]
)
def test_each_number_fires(design: Design, gate: str) -> None:
    limits = design.training.gates
    changes: dict[str, dict[str, object]] = {
        "min_lift": {"lift_ci": (limits.min_lift - BIT, limits.min_lift + 0.1)},
        "min_auc": {"auc": limits.min_auc - BIT},
        "max_auc": {"auc": limits.max_auc + BIT},
        "max_calibration_error": {"ece": limits.max_calibration_error + BIT},
        "max_slice_loss": {"slices": {"weekend": _slice(design, requests=limits.min_slice_requests, lost=2 * BIT)}},
        "latency": {"p99_ms": design.latency.hops_ms.inference + BIT},
    }
    assert len(missed(design, at_the_limit(design, **changes[gate]))) == 1


def test_a_slice_with_too_few_requests_is_not_judged(design: Design) -> None:
    few = _slice(design, requests=design.training.gates.min_slice_requests - 1, lost=0.2)
    assert missed(design, at_the_limit(design, slices={"weekend": few})) == []


def test_a_challenger_has_to_be_shown_not_worse_than_what_serves(design: Design) -> None:
    margin = design.training.gates.max_champion_loss
    assert gates.not_inferior("x", margin, difference=0.0, low=-margin + BIT, high=margin).passed
    assert not gates.not_inferior("x", margin, difference=0.0, low=-margin - BIT, high=margin).passed
