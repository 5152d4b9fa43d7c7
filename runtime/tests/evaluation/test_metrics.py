"""Metrics against values worked out by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import log_loss as sk_log_loss
from sklearn.metrics import ndcg_score, roc_auc_score

from mlsd.evaluation import ranking_metrics
from mlsd.evaluation.bootstrap import interval


def test_ranking_metrics_by_hand() -> None:
    """2.11: NDCG@10, precision@k and recall@k."""
    request = np.array([0, 0, 0, 1, 1, 2])
    score = np.array([0.9, 0.5, 0.1, 0.2, 0.8, 0.5])
    label = np.array([0, 1, 1, 1, 0, 0], dtype=np.int8)
    found = ranking_metrics.per_request(request, score, label, cut=2)
    assert found.request.tolist() == [0, 1]  # the third request has no positive
    best = 1 + 1 / np.log2(3)
    assert found.ndcg == pytest.approx([(1 / np.log2(3)) / best, 1 / np.log2(3)])
    assert found.precision == pytest.approx([0.5, 0.5])
    assert found.recall == pytest.approx([0.5, 1.0])


def test_ndcg_equals_scikit_learn_with_ties_and_long_lists() -> None:
    random = np.random.default_rng(3)
    sizes = random.integers(2, 40, 60)
    request = np.repeat(np.arange(60), sizes)
    score = np.round(random.random(len(request)), 1)  # many ties
    label = (random.random(len(request)) < 0.3).astype(np.int8)
    found = ranking_metrics.per_request(request, score, label)
    expected = [
        ndcg_score(label[request == r][None], score[request == r][None], k=10)
        for r in range(60)
        if label[request == r].any()
    ]
    assert found.ndcg == pytest.approx(expected)


def test_the_order_of_rows_changes_nothing() -> None:
    random = np.random.default_rng(4)
    request = np.repeat(np.arange(30), 12)
    score, label = np.round(random.random(360), 1), (random.random(360) < 0.2).astype(np.int8)
    mixed = random.permutation(360)
    before = ranking_metrics.per_request(request, score, label)
    after = ranking_metrics.per_request(request[mixed], score[mixed], label[mixed])
    assert after.ndcg == pytest.approx(before.ndcg)


def test_auc_and_log_loss_equal_scikit_learn() -> None:
    random = np.random.default_rng(5)
    label = (random.random(800) < 0.2).astype(np.int8)
    score = np.clip(np.round(0.3 * label + random.random(800) * 0.7, 2), 0.01, 0.99)
    assert ranking_metrics.auc(score, label) == pytest.approx(roc_auc_score(label, score))
    assert ranking_metrics.log_loss(score, label) == pytest.approx(sk_log_loss(label, score))


def test_auc_by_hand() -> None:
    assert ranking_metrics.auc(np.array([0.1, 0.4, 0.4, 0.8]), np.array([0, 0, 1, 1], dtype=np.int8)) == pytest.approx(
        3.5 / 4
    )
    assert np.isnan(ranking_metrics.auc(np.array([0.1, 0.4]), np.array([1, 1], dtype=np.int8)))


def test_calibration_error_by_hand() -> None:
    """4.19: two bins, predicted 0.2 and 0.6, observed 0 and 1."""
    curve = ranking_metrics.reliability(np.array([0.6, 0.2, 0.2, 0.6]), np.array([1, 0, 0, 1], dtype=np.int8), bins=2)
    assert curve.predicted == pytest.approx([0.2, 0.6])
    assert curve.observed == [0.0, 1.0]
    assert curve.error == pytest.approx(0.5 * 0.2 + 0.5 * 0.4)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(6)
    inside = 0
    for seed in range(200):
        found = interval(random.normal(0.3, 1.0, 80), rounds=300, seed=seed)
        inside += found.low <= 0.3 <= found.high
    assert 178 <= inside <= 200


def test_the_same_seed_gives_the_same_interval_and_no_values_give_none() -> None:
    values = np.random.default_rng(7).random(5000)
    assert interval(values, 2000, 1) == interval(values, 2000, 1)
    assert interval(values, 2000, 1) != interval(values, 2000, 2)
    assert np.isnan(interval(np.zeros(0), 100, 1).mean)
