"""Gates of a rollout: each fires, and each stays silent."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsd.delivery.analysis.verdict import Gate, Verdict, binomial_tail, correlation_gate, overall, psi_gate, share_gate


@pytest.mark.parametrize(
    ("bad", "total", "verdict"),
    [
        (0, 0, "inconclusive"),
        (0, 29, "inconclusive"),
        (0, 30, "pass"),
        (1, 1, "inconclusive"),  # one answer condemns nobody
        (1, 30, "pass"),  # one slow answer among 30 is chance: 26 %
        (2, 2, "fail"),
        (2, 3, "fail"),
        (2, 30, "inconclusive"),  # 3.6 %: look longer
        (2, 60, "pass"),
        (3, 30, "fail"),  # 0.3 %
        (30, 30, "fail"),
    ],
)
def test_share_of_bad_answers(bad: int, total: int, verdict: Verdict) -> None:
    gate = share_gate("slow rate", (bad, total), (0, 1000), most=0.01, minimum=30)
    assert (gate.verdict, gate.bad, gate.samples) == (verdict, bad > 0, total)


def test_a_stall_of_the_shared_machine_is_not_the_candidates_fault() -> None:
    assert share_gate("slow rate", (4, 30), (0, 500), 0.01, 30).verdict == "fail"
    assert share_gate("slow rate", (4, 30), (75, 500), 0.01, 30).verdict == "pass"
    assert share_gate("slow rate", (20, 30), (75, 500), 0.01, 30).verdict == "fail"


def test_nothing_allowed() -> None:
    assert share_gate("error rate", (0, 30), (0, 0), 0.0, 30).verdict == "pass"
    assert share_gate("error rate", (1, 30), (0, 0), 0.0, 30).verdict == "inconclusive"
    assert share_gate("error rate", (2, 300), (0, 0), 0.0, 30).verdict == "fail"


@given(st.integers(1, 60), st.floats(0.001, 0.999), st.data())
def test_binomial_tail_is_exact(total: int, rate: float, data: st.DataObject) -> None:
    """Against the plain sum; at or below the mean the answer is 1: nobody is condemned there."""
    bad = data.draw(st.integers(0, total))
    expected = sum(math.comb(total, k) * rate**k * (1 - rate) ** (total - k) for k in range(bad, total + 1))
    found = binomial_tail(bad, total, rate)
    assert found == (1.0 if bad <= total * rate else pytest.approx(expected, rel=1e-6, abs=1e-300))


def test_false_alarms_are_rare() -> None:
    """Ten looks at 30 answers each well below the allowed rate."""
    assert binomial_tail(3, 300, 0.01) == 1.0
    assert all(share_gate("x", (0, n), (0, 0), 0.01, 30).verdict != "fail" for n in range(1000))


@pytest.mark.parametrize(
    ("correlations", "verdict"),
    [
        ([], "inconclusive"),
        ([0.9] * 199, "inconclusive"),
        ([0.9] * 200, "pass"),
        ([0.31] * 200, "pass"),
        ([0.29] * 200, "fail"),
        ([-1.0] * 19, "inconclusive"),
        ([-1.0, -0.9] * 10, "fail"),  # clear long before 200 pairs
        ([0.2, 0.4] * 10, "inconclusive"),  # not clear yet
    ],
)
def test_rank_correlation(correlations: list[float], verdict: Verdict) -> None:
    assert correlation_gate(correlations, least=0.3, minimum=200).verdict == verdict


@pytest.mark.parametrize(
    ("psi", "pairs", "verdict"),
    [
        (0.0, 0, "inconclusive"),
        (9.0, 19, "inconclusive"),
        (4.1, 20, "fail"),
        (3.9, 20, "inconclusive"),
        (2.0, 200, "pass"),
        (2.1, 200, "fail"),
    ],
)
def test_score_psi(psi: float, pairs: int, verdict: Verdict) -> None:
    assert psi_gate(psi, pairs, most=2.0, minimum=200).verdict == verdict


def test_overall() -> None:
    passed, failed, open_ = (Gate("x", "", "", v, 1) for v in ("pass", "fail", "inconclusive"))  # type: ignore[arg-type]
    assert overall([passed, passed]) == "pass"
    assert overall([passed, open_]) == "inconclusive"
    assert overall([open_, failed, passed]) == "fail"
    assert overall([]) == "inconclusive"
