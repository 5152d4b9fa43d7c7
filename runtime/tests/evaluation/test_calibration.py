"""Platt's scaling and the reference bins that a release takes along."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from mlsd.evaluation.binning import inner_edges, reference, tally
from mlsd.evaluation.bins import Bins
from mlsd.evaluation.calibration import platt
from mlsd.evaluation.ranking_metrics import reliability


def planted(a: float, b: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    raw = random.normal(2.0, 3.0, n)
    return raw, (random.random(n) < 1 / (1 + np.exp(-(a * raw + b)))).astype(np.int8)


def test_the_planted_slope_and_offset_are_found() -> None:
    raw, label = planted(0.7, -3.0)
    found = platt(raw, label)
    exact = LogisticRegression(C=1e9, tol=1e-10).fit(raw[:, None], label)
    assert found.a == pytest.approx(exact.coef_[0, 0], rel=1e-3)
    assert found.b == pytest.approx(exact.intercept_[0], rel=1e-3)


def test_calibration_removes_the_error_of_a_shifted_score() -> None:
    """4.19."""
    raw, label = planted(0.5, -4.0)
    found = platt(raw, label)
    before = reliability(1 / (1 + np.exp(-raw)), label).error
    after = reliability(1 / (1 + np.exp(-(found.a * raw + found.b))), label).error
    assert before > 0.3
    assert after < 0.01


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_it_converges_for_raw_scores_of_any_scale(scale: float) -> None:
    raw, label = planted(0.7, -3.0)
    found = platt(raw * scale, label)
    assert found.a * scale == pytest.approx(platt(raw, label).a, rel=1e-6)


def test_an_inverted_model_is_not_turned_round() -> None:
    raw, label = planted(0.7, -3.0)
    assert 0 < platt(-raw, label).a <= 1e-6


def test_a_constant_score_becomes_the_base_rate() -> None:
    label = np.array([1, 0, 0, 0] * 500, dtype=np.int8)
    found = platt(np.full(2000, 5.0), label)
    assert 1 / (1 + np.exp(-(found.a * 5.0 + found.b))) == pytest.approx(0.25, abs=0.01)


def bins(values: np.ndarray) -> Bins:
    cut = values.astype(np.float32)
    return tally(cut, inner_edges(cut))


def test_ten_bins_of_equal_counts() -> None:
    """6.02: the reference belongs to the release."""
    found = bins(np.arange(1000.0))
    assert len(found.edges) == 9
    assert found.counts == [100] * 10


def test_repeated_values_give_fewer_bins_and_missing_ones_are_counted_apart() -> None:
    """A value that fills many bins alone has one of its own, with a neighbour on both sides to move to."""
    found = bins(np.array([0.0] * 90 + [1.0] * 10 + [np.nan] * 5))
    assert [count for count in found.counts if count] == [90, 10]
    assert (len(found.counts), found.missing) == (3, 5)
    assert bins(np.full(3, np.nan)) == Bins(edges=[], counts=[0], missing=3)
    assert [count for count in bins(np.full(3, 7.0)).counts if count] == [3]


def test_every_feature_and_the_score_have_a_reference() -> None:
    matrix = np.random.default_rng(1).normal(size=(200, 2)).astype(np.float32)
    found = reference(matrix, ("a", "b"), np.linspace(0, 1, 200))
    assert list(found) == ["a", "b", "score"]
    assert all(sum(part.counts) + part.missing == 200 for part in found.values())
