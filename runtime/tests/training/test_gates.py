"""Each gate fires on a measurement that breaks it and is silent on one that does not."""

import numpy as np
import pytest

from mlsd.core.result import Check
from mlsd.design.design import Design
from mlsd.training.candidate import Candidate, SliceRow
from mlsd.training.gating import gates
from mlsd.training.rows import from_frame
from support.frames import training_frame

FEATURES = ("a", "b", "c", "d", "e")


def slice_row(requests: int = 100, difference: float = 0.1, high: float = 0.15) -> SliceRow:
    return SliceRow(requests=requests, ndcg10=0.4, difference=difference, difference_ci=(difference - 0.05, high))


GOOD = Candidate(
    name="boosted_trees/pointwise",
    family="boosted_trees",
    objective="pointwise",
    requests=500,
    ndcg10=0.42,
    ndcg10_ci=(0.40, 0.44),
    lift=0.13,
    lift_ci=(0.10, 0.16),
    versus_logistic=0.03,
    versus_logistic_ci=(0.01, 0.05),
    precision10=0.1,
    recall10=0.5,
    auc=0.8,
    log_loss=0.2,
    ece=0.01,
    p50_ms=2.0,
    p99_ms=3.0,
    slices={"weekend": slice_row()},
    reliability={},
)


def missed(design: Design, **changes: object) -> list[str]:
    return [check.name for check in gates.judge(design, GOOD.model_copy(update=changes)) if not check.passed]


def test_a_good_candidate_passes_every_gate(design: Design) -> None:
    assert missed(design) == []


def test_a_candidate_that_is_not_better_than_the_baseline_is_refused(design: Design) -> None:
    """4.02: the lower end of the interval decides, not the mean."""
    assert missed(design, lift=0.05, lift_ci=(-0.01, 0.11)) == ["NDCG@10 over popularity"]
    assert missed(design, lift=0.05, lift_ci=(0.001, 0.11)) == []


def test_the_lift_that_is_wanted_comes_from_the_design(design: Design) -> None:
    content = design.model_dump(mode="json")
    content["training"]["gates"]["min_lift"] = 0.2
    assert missed(Design.model_validate(content)) == ["NDCG@10 over popularity"]


def test_trees_that_rank_worse_than_logistic_regression_are_refused(design: Design) -> None:
    fired = missed(design, versus_logistic=-0.05, versus_logistic_ci=(-0.08, -0.02))
    assert fired == ["NDCG@10 over logistic regression"]
    assert missed(design, versus_logistic=-0.01, versus_logistic_ci=(-0.03, 0.01)) == []
    assert missed(design, versus_logistic=None, versus_logistic_ci=None) == []


@pytest.mark.parametrize(("auc", "fires"), [(0.59, True), (0.6, False), (0.98, False), (0.985, True)])
def test_auc_gates_on_both_sides(design: Design, auc: float, fires: bool) -> None:
    """2.12, 3.26: too low is no skill, too high is a leak."""
    assert missed(design, auc=auc) == (["AUC"] if fires else [])


@pytest.mark.parametrize(("ece", "fires"), [(0.051, True), (0.049, False), (float("nan"), True)])
def test_calibration_gates(design: Design, ece: float, fires: bool) -> None:
    """4.19."""
    assert missed(design, ece=ece) == (["calibration error"] if fires else [])


@pytest.mark.parametrize(
    ("row", "fires"),
    [
        (slice_row(difference=-0.05, high=-0.01), True),
        (slice_row(difference=-0.05, high=0.02), False),  # noise
        (slice_row(difference=-0.01, high=-0.005), False),  # within what the design allows
        (slice_row(requests=29, difference=-0.3, high=-0.2), False),  # too few to judge
    ],
)
def test_a_lost_slice_gates(design: Design, row: SliceRow, fires: bool) -> None:
    """4.20."""
    expected = ["slice weekend: NDCG@10 over popularity"] if fires else []
    assert missed(design, slices={"weekend": row}) == expected


def test_a_slow_candidate_is_refused_however_accurate(design: Design) -> None:
    """4.06, 1.03."""
    budget = design.latency.hops_ms.inference
    best = {"lift": 0.5, "lift_ci": (0.45, 0.55), "auc": 0.95, "ndcg10": 0.9}
    assert missed(design, **best, p99_ms=budget * 1.01) == [f"scoring {design.scale.candidates} candidates, p99"]
    assert missed(design, **best, p99_ms=budget) == []
    assert missed(design, **best, p99_ms=None) != []


def test_the_reason_names_the_gate_and_both_numbers(design: Design) -> None:
    slow = GOOD.model_copy(update={"p99_ms": 80.0})
    judged = slow.model_copy(update={"checks": gates.judge(design, slow)})
    assert not judged.passed
    assert judged.reason == "scoring 500 candidates, p99 80.00 ms, designed <= 50 ms"


def test_a_candidate_that_was_never_judged_has_not_passed() -> None:
    assert not GOOD.passed


def fired(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if not check.passed]


@pytest.mark.parametrize(
    ("rows", "positives", "expected"),
    [
        (0, 0, ["labelled rows", "labels of both classes"]),
        (1, 1, ["labelled rows", "labels of both classes"]),
        (50, 5, ["labelled rows"]),
        (5000, 0, ["labels of both classes"]),
        (5000, 5000, ["labels of both classes"]),
        (5000, 100, []),
    ],
)
def test_too_few_rows_or_one_class_are_refused(design: Design, rows: int, positives: int, expected: list[str]) -> None:
    assert fired(gates.judge_amount(design, rows=rows, positives=positives)) == expected


def test_no_labels_yet_is_told_from_too_few(design: Design) -> None:
    [labels] = [c for c in gates.judge_amount(design, rows=5000, positives=0) if not c.passed]
    assert "label outage" in labels.measured


def test_a_part_without_enough_requests_to_judge_is_refused(design: Design) -> None:
    enough = from_frame(training_frame(FEATURES, requests=60), FEATURES)
    few = from_frame(training_frame(FEATURES, requests=10), FEATURES)
    assert fired(gates.judge_parts(design, {"train": enough, "test": few})) == ["test: requests with a positive"]


def test_a_planted_leak_is_found_by_name(design: Design) -> None:
    """3.26: a column that knows the answer, in either direction."""
    frame = training_frame(FEATURES, requests=100)
    assert fired(gates.judge_leaks(design, from_frame(frame, FEATURES), FEATURES)) == []
    noise = np.random.default_rng(0).normal(0, 0.05, len(frame))
    frame["d"] = -frame["label"] + noise
    [check] = gates.judge_leaks(design, from_frame(frame, FEATURES), FEATURES)
    assert not check.passed and "(d)" in check.measured


def passes(differences: np.ndarray, margin: float) -> float:
    """Share of runs [R] over requests [R, n] whose 95 % interval of the mean lies above -margin (normal, n >= 200)."""
    n = differences.shape[1]
    low = differences.mean(axis=1) - 1.96 * differences.std(axis=1, ddof=1) / np.sqrt(n)
    return float(np.mean([gates.not_inferior("x", margin, difference=0.0, low=x, high=1.0).passed for x in low]))


def test_non_inferiority_has_the_error_rates_it_says(design: Design) -> None:
    """4.08: worse by the margin passes at most once in 40, an equal model nearly always, at the design's sample.

    Paired differences of NDCG@10 between two good models: two of three requests are ranked alike, the others differ by
    about 0.2 (standard deviation 0.12 in all).
    """
    rng = np.random.default_rng(0)
    runs, n, margin = 4000, design.training.retrain_test_requests, design.training.gates.max_champion_loss
    noise = rng.normal(0, 0.2, (runs, n)) * (rng.random((runs, n)) < 1 / 3)
    assert passes(noise - margin, margin) < 0.025 + 4 * np.sqrt(0.025 * 0.975 / runs)
    assert passes(noise - 2 * margin, margin) == 0
    assert passes(noise, margin) > 0.9
    assert passes(noise + margin, margin) == 1


def test_a_certain_loss_that_does_not_matter_is_no_reason_to_refuse() -> None:
    """-0.004 [-0.007, -0.002] over 8,600 requests was refused once: surely negative, and of no account."""
    seen = {"difference": -0.004, "low": -0.007, "high": -0.002}
    assert gates.not_inferior("the champion", 0.02, **seen).passed
    assert not gates.not_inferior("the champion", 0.005, **seen).passed
    assert not gates.not_inferior("the champion", 0.02, difference=0.01, low=-0.03, high=0.05).passed
    assert not gates.not_inferior("x", 0.02, difference=float("nan"), low=float("nan"), high=float("nan")).passed
