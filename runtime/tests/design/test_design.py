"""`design.yaml` is typed: each rule fires and names the file, the field, the value and what was expected."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from mlsd.core.errors import UserError
from mlsd.design.design import Design, design_path, load_design


@pytest.fixture
def content() -> dict[str, Any]:
    """The project's own design as plain data."""
    loaded: dict[str, Any] = yaml.safe_load(design_path().read_text(encoding="utf-8"))
    return loaded


def refusal(content: Any, folder: Path) -> str:
    path = folder / "design.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_design(path)
    assert all(line.startswith(f"{path}: ") for line in str(caught.value).splitlines())
    return str(caught.value)


def put(content: dict[str, Any], field: str, value: Any) -> None:
    *sections, last = field.split(".")
    part = content
    for section in sections:
        part = part[section]
    part[last] = value


WRONG = [
    ("name", "My Service", "'My Service'"),
    ("problem", "feed-ranking", "'feed-ranking'"),
    ("cloud", "moon", "'gcp', 'aws' or 'azure'"),
    ("ranking", "setwise", "'pointwise', 'pairwise' or 'listwise'"),
    ("scale.peak_rps", 0, "greater than 0"),
    ("scale.peak_rps", 10**400, "less than or equal to 1000000000"),
    ("scale.peak_rps", "many", "integer"),
    ("scale.candidates", 501, "less than or equal to 500"),
    ("latency.p99_ms", -5, "greater than 0"),
    ("latency.p99_ms", float("nan"), "finite"),
    ("latency.p99_ms", float("inf"), "finite"),
    ("latency.hops_ms.features", 0, "greater than 0"),
    ("capacity.load", 1.0, "less than 1"),
    ("capacity.concurrency", 2.5, "integer"),
    ("success.metric", "Happiness!", "pattern"),
    ("success.because", "", "at least 8 characters"),
    ("label.event", "view", "'click', 'like' or 'comment'"),
    ("label.min_dwell_s", -1, "greater than or equal to 0"),
    ("label.min_dwell_s", 86_401, "less than or equal to 86400"),
    ("data.seed", -1, "greater than or equal to 0"),
    ("data.live_share", 0.5, "less than or equal to 0.2"),
    ("data.synthetic.users", 3, "greater than or equal to 50"),
    ("features.max_age_h.user", 0, "greater than 0"),
    ("training.leaves", 1, "greater than or equal to 2"),
    ("training.bootstrap_rounds", 5, "greater than or equal to 100"),
    ("training.gates.min_auc", 0.4, "greater than or equal to 0.5"),
    ("training.gates.max_auc", 1.0, "less than 1"),
    ("training.gates.min_lift", float("nan"), "finite"),
    ("training.gates.min_lift", -1.0, "greater than -1"),
    ("training.gates.max_slice_loss", 1.0, "less than 1"),
    ("serving.max_body_kib", 0, "greater than 0"),
    ("serving.engine", "lleave", "one of auto, lightgbm, remote, lleaves, onnx, onnx_int8, nearest 'lleaves'"),
    ("serving.engine", [1], "found a list, expected: Input should be a valid string"),
    ("features.online_store", "Redis", "one of sqlite, redis, nearest 'redis'"),
    ("serving.feature_log.full_sample", 2, "less than or equal to 1"),
    ("load_test.rps", 0, "greater than 0"),
    ("delivery.shadow.percent", 101, "less than or equal to 100"),
    ("delivery.gates.max_error_rate", -0.1, "greater than or equal to 0"),
    ("delivery.gates.max_slow_rate", 1, "less than 1"),
    ("delivery.gates.min_rank_correlation", 2, "less than 1"),
    ("delivery.gates.min_rank_correlation", -1, "greater than -1"),
    ("delivery.gates.max_score_psi", 11, "less than or equal to 10"),
    ("monitoring.critical_features", [], "at least 1 item"),
    ("monitoring.max_metric_drop", 0, "greater than 0"),
]


@pytest.mark.parametrize(("field", "value", "rule"), WRONG, ids=[f"{field}={value}" for field, value, _ in WRONG])
def test_each_field_has_a_rule(content: dict[str, Any], tmp_path: Path, field: str, value: Any, rule: str) -> None:
    put(content, field, value)
    message = refusal(content, tmp_path)
    assert f": {field}: " in message
    assert rule in message
    if not isinstance(value, list):
        assert f"found {value!r}" in message


def numbers(part: Any, *path: str | int) -> Iterator[tuple[str | int, ...]]:
    """Where the numbers of a design stand."""
    if isinstance(part, (dict, list)):
        for name, inner in part.items() if isinstance(part, dict) else enumerate(part):
            yield from numbers(inner, *path, name)
    elif isinstance(part, (int, float)) and not isinstance(part, bool):
        yield path


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 10**30, -(10**30), 1e300])
def test_no_number_is_without_bounds(content: dict[str, Any], value: float) -> None:
    """A limit that is no number, or beyond anything that can be measured, never fires or never passes."""
    places = list(numbers(content))
    assert len(places) > 80
    for *path, last in places:
        part: Any = content
        for name in path:
            part = part[name]
        kept, part[last] = part[last], value
        with pytest.raises(ValidationError) as caught:
            Design.model_validate(content)
        (problem,) = caught.value.errors()
        assert problem["loc"], (path, last)
        assert (*path, last)[: len(problem["loc"])] == problem["loc"]
        part[last] = kept
    Design.model_validate(content)


def test_yes_is_no_number(content: dict[str, Any], tmp_path: Path) -> None:
    put(content, "serving.workers", True)
    put(content, "success.target", True)
    message = refusal(content, tmp_path)
    assert "serving.workers: found True, expected: a number or text, no switch" in message
    assert "success.target: found True, expected: a number or text, no switch" in message


@pytest.mark.parametrize("positive_from", [-1, 0.5, 5.5, float("nan")])
def test_a_threshold_that_every_value_or_none_passes(
    content: dict[str, Any], tmp_path: Path, positive_from: float
) -> None:
    put(content, "data.mappings.movielens.positive_from", positive_from)
    message = refusal(content, tmp_path)
    assert "data.mappings.movielens" in message
    assert f"positive_from: found {positive_from:g}" in message


@pytest.mark.parametrize("positive_from", [0.6, 5.0])
def test_a_threshold_within_the_values(content: dict[str, Any], positive_from: float) -> None:
    put(content, "data.mappings.movielens.positive_from", positive_from)
    Design.model_validate(content)


def test_values_without_a_range(content: dict[str, Any], tmp_path: Path) -> None:
    put(content, "data.mappings.movielens.value_range", [5.0, 0.5])
    assert "value_range: found [5, 0.5]" in refusal(content, tmp_path)


def test_hops_over_the_total_are_named(content: dict[str, Any], tmp_path: Path) -> None:
    """5.06"""
    put(content, "latency", {"p99_ms": 100, "hops_ms": dict.fromkeys(content["latency"]["hops_ms"], 30)})
    message = refusal(content, tmp_path)
    assert "at most p99_ms 100" in message
    assert "retrieval 30 + edge 30 + features 30 + inference 30 + post 30 = 150" in message


def test_hops_that_add_up_on_paper_add_up(content: dict[str, Any], design: Design) -> None:
    """5.06: 12.9 + 20.3 + 59.2 + 47.2 + 10.4 is more than 150 in binary."""
    hops = {"retrieval": 12.9, "edge": 20.3, "features": 59.2, "inference": 47.2, "post": 10.4}
    put(content, "latency", {"p99_ms": 150.0, "hops_ms": hops})
    assert Design.model_validate(content).latency.hop_sum_ms == 150
    hops["post"] = 10.41
    with pytest.raises(ValueError, match="at most p99_ms 150"):
        Design.model_validate(content)


@pytest.mark.parametrize("steps", [[10, 100], [5, 25], [5, 5, 100], [0, 100], [5, 50, 25, 100]])
def test_canary_starts_small_and_rises_to_all(content: dict[str, Any], tmp_path: Path, steps: list[int]) -> None:
    """5.21, 5.22"""
    put(content, "delivery.canary.steps", steps)
    message = refusal(content, tmp_path)
    assert "delivery.canary" in message
    assert str(steps) in message


def test_a_cooldown_ends_before_a_model_is_old(content: dict[str, Any], tmp_path: Path) -> None:
    put(content, "monitoring.max_model_age_days", 1)
    put(content, "monitoring.retrain_cooldown_min", 1439)
    Design.model_validate(content)
    put(content, "monitoring.retrain_cooldown_min", 1440)
    assert "retrain_cooldown_min: found 1440, expected below 1440" in refusal(content, tmp_path)


def test_rules_across_fields(content: dict[str, Any], tmp_path: Path) -> None:
    put(content, "monitoring.psi_warning", content["monitoring"]["psi_alert"])
    put(content, "training.test_share", 0.45)
    put(content, "data.source", "somewhere")
    message = refusal(content, tmp_path)
    assert "psi_warning" in message
    assert "validation_share + test_share must be at most 0.5" in message
    assert "somewhere" in message


@pytest.mark.parametrize(
    ("section", "field", "nearest"),
    [
        ("latency", "p99", "p99_ms"),
        ("data.mappings.movielens", "positive_form", "positive_from"),
        ("data.mappings.movielens.items", "seperator", "separator"),
        ("serving.remote", "modell", "model"),
        ("delivery.gates", "max_slow_rat", "max_slow_rate"),
    ],
)
def test_an_unknown_field_is_told_its_nearest(
    content: dict[str, Any], tmp_path: Path, section: str, field: str, nearest: str
) -> None:
    put(content, "serving.engine", "remote")
    put(content, "serving.remote", {"protocol": "triton", "url": "http://127.0.0.1:1", "model": "m"})
    put(content, f"{section}.{field}", 1)
    message = refusal(content, tmp_path)
    assert f": {section}.{field}: found an unknown field, expected one of " in message
    assert message.endswith(f", nearest {nearest!r}")


def test_missing_and_unknown_fields(content: dict[str, Any], tmp_path: Path) -> None:
    del content["scale"]["peak_rps"]
    content["latency"]["p95_ms"] = 100
    content["colour"] = "blue"
    message = refusal(content, tmp_path)
    assert "scale.peak_rps: found nothing, expected a value" in message
    assert "latency.p95_ms: " in message
    assert "colour: " in message
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize("content", [None, [], "text", 3])
def test_not_a_design(content: Any, tmp_path: Path) -> None:
    assert "expected the fields of a design" in refusal(content, tmp_path)


@pytest.mark.parametrize("raw", [b"name: [", b"a: b: c", b"\t- x", b"name: \xff", b"name: {{ x }}: y", b"\x00"])
def test_not_yaml(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "design.yaml"
    path.write_bytes(raw)
    with pytest.raises(UserError, match="not valid YAML") as caught:
        load_design(path)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not found; run in a generated project, or set MLSD_DESIGN"):
        load_design(tmp_path / "design.yaml")
    with pytest.raises(UserError, match="not readable: Is a directory"):
        load_design(tmp_path)


def test_digest_changes_with_any_number(content: dict[str, Any]) -> None:
    first = Design.model_validate(content).digest
    assert Design.model_validate(content).digest == first
    put(content, "label.min_dwell_s", content["label"]["min_dwell_s"] + 1)
    assert Design.model_validate(content).digest != first
