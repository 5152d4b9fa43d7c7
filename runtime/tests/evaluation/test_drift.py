"""Drift metrics: values that are right, thresholds that fire and stay silent (6.02 to 6.06)."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import ks_2samp

from mlsd.design.design import Design
from mlsd.evaluation.binning import inner_edges, tally
from mlsd.evaluation.bins import Bins
from mlsd.evaluation.drift import add, judge, kl, ks, psi, psi_categories, size

Normal = Callable[..., np.ndarray]


@pytest.fixture
def generator() -> np.random.Generator:
    """The same numbers whichever tests ran before."""
    return np.random.default_rng(3)


@pytest.fixture
def normal(generator: np.random.Generator) -> Normal:
    return lambda count, mean=0.0: generator.normal(mean, 1.0, count).astype(np.float32)


def against(reference: np.ndarray, current: np.ndarray) -> float:
    edges = inner_edges(reference)
    return psi(tally(reference, edges), tally(current, edges))


def test_psi_by_hand() -> None:
    before, after = Bins(edges=[0.0], counts=[500_000, 500_000]), Bins(edges=[0.0], counts=[400_000, 600_000])
    expected = 0.1 * np.log(0.6 / 0.5) - 0.1 * np.log(0.4 / 0.5)
    assert psi(before, after) == pytest.approx(expected, abs=1e-4)
    assert kl(before, after) == pytest.approx(0.4 * np.log(0.8) + 0.6 * np.log(1.2), abs=1e-4)


def test_a_shift_of_a_half_is_seen_and_no_shift_is_not(normal: Normal) -> None:
    """6.02"""
    assert against(normal(5000), normal(5000, 0.5)) > 0.2
    assert against(normal(5000), normal(5000)) < 0.02


@pytest.mark.fault("Drift on huge sample", "KS significant, effect tiny: no alert")
def test_a_tiny_shift_in_a_huge_window_has_a_small_p_and_a_tiny_psi(normal: Normal) -> None:
    """6.04: p says that something moved, PSI whether it matters."""
    before, after = normal(400_000), normal(400_000, 0.02)
    assert ks(before, after).p < 0.05
    assert against(before, after) < 0.005


@pytest.mark.parametrize(
    ("value", "critical", "verdict"),
    [
        (0.19, True, "warning"),
        (0.21, True, "alert"),
        (0.21, False, "warning"),
        (0.09, True, "ok"),
        (5.0, False, "warning"),
    ],
)
def test_only_critical_features_alert(design: Design, value: float, critical: bool, verdict: str) -> None:
    """6.02: 0.2 is the threshold, and a feature that is not critical only warns."""
    assert judge(value, 1000, critical=critical, limits=design.monitoring) == verdict


@pytest.mark.fault("Drift on tiny sample", "insufficient rows below 200, no alert")
def test_few_rows_get_no_verdict(design: Design) -> None:
    assert judge(9.0, 199, critical=True, limits=design.monitoring) == "insufficient rows"
    assert judge(9.0, 200, critical=True, limits=design.monitoring) == "alert"


def test_below_two_hundred_rows_psi_is_noise_and_above_it_is_not(normal: Normal) -> None:
    """Why there is a floor: false alarms of a window without any drift."""
    reference = normal(20_000)
    small = [against(reference, normal(50)) > 0.2 for _ in range(200)]
    large = [against(reference, normal(200)) > 0.2 for _ in range(200)]
    assert np.mean(small) > 0.2
    assert not any(large)


@pytest.mark.fault("Constant/all-null/unseen category", "defined value, alert")
def test_a_constant_that_moves_is_seen_in_both_directions() -> None:
    constant = np.full(500, 3.0, np.float32)
    assert against(constant, constant) == 0.0
    assert against(constant, constant + 1e-3) > 1
    assert against(constant, constant - 1e-3) > 1


def test_a_rare_flag_is_seen(generator: np.random.Generator) -> None:
    """Nine quantiles of a flag that is set in 5 % of rows are all the same."""
    before, after = (generator.random(5000) < share for share in (0.05, 0.4))
    assert against(before.astype(np.float32), after.astype(np.float32)) > 0.5


@pytest.mark.fault("Constant/all-null/unseen category", "defined value, alert")
def test_a_feature_that_goes_missing_is_seen(generator: np.random.Generator, normal: Normal) -> None:
    before = normal(1000)
    gone = np.where(generator.random(1000) < 0.5, np.float32(np.nan), before)
    assert against(before, gone) > 0.2
    assert against(before, np.full(1000, np.nan, np.float32)) > 1


def test_nothing_at_all_is_defined(normal: Normal) -> None:
    nothing = np.empty(0, np.float32)
    assert against(normal(100), nothing) == 0.0
    assert against(nothing, normal(100)) == 0.0
    assert against(np.full(300, np.nan, np.float32), np.full(300, np.nan, np.float32)) == 0.0
    assert ks(nothing, normal(10)).p == 1.0


@pytest.mark.fault("Constant/all-null/unseen category", "defined value, alert")
def test_new_categories_count() -> None:
    """6.03"""
    before = {"mobile": 700, "desktop": 300}
    assert psi_categories(before, {"mobile": 690, "desktop": 310}) < 0.01
    assert psi_categories(before, {"mobile": 500, "desktop": 250, "watch": 150, "car": 100}) > 0.2
    assert psi_categories(before, {"watch": 1000}) > 1
    assert psi_categories({}, {}) == 0.0


@pytest.mark.parametrize("mean", [0.0, 0.1, 0.4])
def test_ks_agrees_with_scipy(normal: Normal, mean: float) -> None:
    before, after = normal(800), normal(600, mean)
    expected = ks_2samp(before.astype(np.float64), after.astype(np.float64), method="asymp")
    found = ks(before, after)
    assert found.distance == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p == pytest.approx(expected.pvalue, rel=0.1, abs=1e-3)
    assert (found.n, found.reference_n) == (600, 800)


@given(arrays(np.float32, st.integers(0, 60), elements=st.floats(width=32)), st.integers(0, 60))
@example(np.array([np.finfo(np.float32).min], np.float32), 1)
def test_every_value_is_counted_once_like_searchsorted(values: np.ndarray, cut: int) -> None:
    edges = inner_edges(values[:cut])
    assert (np.diff(edges) > 0).all()
    bins = tally(values, edges)
    present = values[~np.isnan(values)]
    expected = np.bincount(np.searchsorted(edges, present, side="left"), minlength=len(edges) + 1)
    assert bins.counts == expected.tolist()
    assert size(bins) == len(values)
    halves = add(tally(values[:cut], edges), tally(values[cut:], edges))
    assert (halves.counts, halves.missing) == (bins.counts, bins.missing)
    assert 0 <= psi(bins, tally(values[:cut], edges)) < 100
