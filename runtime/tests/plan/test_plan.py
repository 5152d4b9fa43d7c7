"""The arithmetic of steps 1-2 (1.02, 1.10, 1.11, 1.20, 4.01, 5.05, 5.15)."""

from typing import Any

import pytest

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.plan import plan
from mlsd.plan.model_costs import Family, families, fit


def changed(design: Design, **sections: Any) -> Design:
    content = design.model_dump(mode="json")
    for section, values in sections.items():
        content[section] |= values
    return Design.model_validate(content)


@pytest.fixture
def card(design: Design) -> Design:
    """The numbers of the walkthrough, whatever the project's own are."""
    return changed(
        design,
        scale={"peak_rps": 10_000, "candidates": 500},
        latency={"p99_ms": 200, "hops_ms": {"retrieval": 50, "edge": 10, "features": 10, "inference": 50, "post": 10}},
        capacity={"concurrency": 32, "load": 0.7, "replica_cpu": 2, "replica_memory_mib": 1024},
        success={"metric": "ctr", "target": 0.03},
        training={"trees": 150, "leaves": 31},
    )


def test_board_line(card: Design) -> None:
    """1.10"""
    assert plan.board_line(card) == "Scale: 10K RPS, Latency: <200ms p99, Metric: CTR"
    slower = changed(card, scale={"peak_rps": 2_500_000}, success={"metric": "watch_time"})
    assert plan.board_line(slower) == "Scale: 2.5M RPS, Latency: <200ms p99, Metric: Watch time"


def test_sentence_holds_every_number(card: Design) -> None:
    """1.11"""
    text = plan.sentence(card)
    for number in (
        "500 candidates",
        "10K requests",
        "200 ms",
        "inference 50",
        "70 free",
        "at least 0.03",
        "30 s",
        "24 h",
    ):
        assert number in text
    assert card.success.because in text


def test_replicas(card: Design) -> None:
    """5.15: 10K RPS x 50 ms = 500 in flight; at 32 concurrent and 70 % load 23 replicas."""
    need = plan.capacity(card)
    assert need.in_flight == 500
    assert need.by_concurrency == 23
    assert need.replicas == 23
    assert need.formula == "10000 rps x 0.05 s / (32 x 0.7) = 23"
    assert need.memory_gib == 23


def test_numbers_of_the_design_change_the_plan(card: Design) -> None:
    """1.02, 1.20"""
    double = plan.capacity(changed(card, scale={"peak_rps": 20_000}))
    assert double.by_concurrency == 45
    assert double.monthly_usd > 1.9 * plan.capacity(card).monthly_usd
    assert plan.capacity(changed(card, capacity={"concurrency": 64})).by_concurrency == 12
    assert plan.capacity(changed(card, training={"trees": 500})).replicas > 23
    assert plan.capacity(changed(card, capacity={"replica_cpu": 4})).by_cpu < plan.capacity(card).by_cpu


def test_cost_follows_the_price_table(card: Design) -> None:
    cpu, gib = plan.PRICES[card.cloud]
    need = plan.capacity(card)
    assert need.monthly_usd == pytest.approx(23 * 730 * (2 * cpu + gib))


def test_families_that_fit(card: Design) -> None:
    """4.01: each family with why or why not; a tighter budget rules more of them out."""
    heavy = Family("heavy", 60.0)
    assert not fit(card, heavy).fits
    assert "over the budget of 50 ms" in fit(card, heavy).why
    assert fit(changed(card, scale={"candidates": 250}), heavy).fits
    found = {each.family: each.fits for each in (fit(card, family) for family in families(card))}
    assert found["boosted trees 150 x 31"]
    assert not found["text cross-encoder, 6 layers x 384"]


def test_plan_passes(card: Design, home: Home) -> None:
    result = plan.run(card, home)
    assert result.passed
    assert result.checks[0].measured == "130 ms"
    assert "attention over 50 events per candidate" in result.summary


def test_plan_fails_when_no_ranker_can_meet_the_budget(card: Design, home: Home) -> None:
    """1.03: the gate fires before any data is read."""
    hops = {"retrieval": 1, "edge": 1, "features": 1, "inference": 1, "post": 1}
    admission = {"max_queue_ms": 4, "prune_queue_ms": 2, "prune_to": 200}
    tight = changed(card, latency={"p99_ms": 10, "hops_ms": hops}, serving={"admission": admission})
    result = plan.run(tight, home)
    assert [check.name for check in result.checks if not check.passed] == ["boosted trees within inference"]


def test_plan_fails_when_the_queue_takes_what_the_hops_need(card: Design, home: Home) -> None:
    """70 ms are free beside the hops: a request that waited longer and was let in comes late."""

    def failing(max_queue_ms: float) -> list[str]:
        admission = card.serving.admission.model_dump() | {"max_queue_ms": max_queue_ms}
        result = plan.run(changed(card, serving={"admission": admission}), home)
        return [check.name for check in result.checks if not check.passed]

    assert failing(70) == []
    assert failing(71) == ["serving.admission.max_queue_ms"]


def test_plan_fails_when_a_replica_is_too_small(card: Design, home: Home) -> None:
    result = plan.run(changed(card, capacity={"replica_memory_mib": 256}), home)
    assert [check.name for check in result.checks if not check.passed] == ["memory per replica"]
