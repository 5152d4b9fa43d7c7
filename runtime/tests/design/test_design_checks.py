"""Each rule across sections fires on the numbers that contradict each other, names both, and is silent beside them."""

from typing import Any

import pytest
import yaml

from mlsd.core.errors import UserError
from mlsd.design.design import Design, design_path, load_design

HOPS_OF_30_MS = {"retrieval": 7.5, "edge": 1.5, "features": 1.5, "inference": 7.5, "post": 1.5}
BROKEN: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "queue longer than the budget": (
        {"latency.p99_ms": 30, "latency.hops_ms": HOPS_OF_30_MS},
        "serving.admission.max_queue_ms: found 50, expected below 21,",
        {"serving.admission.max_queue_ms": 20.9},
    ),
    "pruning that keeps all": (
        {"scale.candidates": 200, "batch.pool": 200},
        "serving.admission.prune_to: found 200, expected below scale.candidates 200",
        {"serving.admission.prune_to": 199},
    ),
    "labels later than the history": (
        {"label.maturity_h": 336},
        "label.maturity_h: found 336, expected below 336",
        {"data.min_history_days": 15},
    ),
    "log shorter than its labels": (
        {"serving.feature_log.retention_days": 8, "monitoring.max_model_age_days": 7, "label.maturity_h": 25},
        "serving.feature_log.retention_days: found 8, expected at least 8.04167",
        {"label.maturity_h": 24},
    ),
    "log shorter than the model's life": (
        {"monitoring.max_model_age_days": 31},
        "serving.feature_log.retention_days: found 30, expected at least monitoring.max_model_age_days 31",
        {"serving.feature_log.retention_days": 31},
    ),
    "hybrid pool larger than a request": (
        {"serving_mode": "hybrid", "batch.pool": 501},
        "batch.pool: found 501, expected at most scale.candidates 500",
        {"serving_mode": "batch"},
    ),
}


def changed(**values: Any) -> dict[str, Any]:
    """The numbers of the walkthrough, whatever the project's own are, with some of them replaced."""
    content: dict[str, Any] = yaml.safe_load(design_path().read_text(encoding="utf-8"))
    content["latency"] = {
        "p99_ms": 200,
        "hops_ms": {"retrieval": 50, "edge": 10, "features": 10, "inference": 50, "post": 10},
    }
    content["serving"]["admission"] = {"max_queue_ms": 50, "prune_queue_ms": 15, "prune_to": 200}
    for field, value in values.items():
        *sections, last = field.split(".")
        part = content
        for section in sections:
            part = part[section]
        part[last] = value
    return content


@pytest.mark.parametrize("name", BROKEN)
def test_rule_fires_and_is_silent(name: str) -> None:
    wrong, message, mended = BROKEN[name]
    with pytest.raises(ValueError) as caught:
        Design.model_validate(changed(**wrong))
    assert message in str(caught.value)
    Design.model_validate(changed(**wrong | mended))


def test_every_broken_rule_is_a_line(tmp_path: Any) -> None:
    path = tmp_path / "design.yaml"
    path.write_text(yaml.safe_dump(changed(**{"scale.candidates": 150, "label.maturity_h": 400})), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_design(path)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{path}: serving.admission.prune_to: found 200")
    assert second.startswith(f"{path}: label.maturity_h: found 400")
