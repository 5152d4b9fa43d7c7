"""Bad input is answered with the field at fault, before anything is computed from it."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlsd.tasks.ranking.json_bounds import BadRequestError
from mlsd.tasks.ranking.request import parse, request_id

MOST = 500
BAD = [
    (b"", "body"),
    (b"\xff", "body"),
    (b"[" * 100_000, "body"),
    (b"[1]", "body"),
    (b'{"user_id": NaN, "candidates": [1]}', "user_id"),
    (b'{"user_id": 1, "candidates": [2, -Infinity]}', "candidates[1]"),
    (b'{"user_id": 1, "candidates": [1e400]}', "candidates[0]"),
    (b'{"user_id": 1, "candidates": [1], "extra": {"deep": [NaN]}}', "extra.deep[0]"),
    (b'{"user_id": 1e400, "candidates": [1}', "body"),
    (b'{"candidates": [1]}', "user_id"),
    (b'{"user_id": 1}', "candidates"),
    (b'{"user_id": "1", "candidates": [1]}', "user_id"),
    (b'{"user_id": 1.0, "candidates": [1]}', "user_id"),
    (b'{"user_id": true, "candidates": [1]}', "user_id"),
    (b'{"user_id": -1, "candidates": [1]}', "user_id"),
    (b'{"user_id": null, "candidates": [1]}', "user_id"),
    (b'{"user_id": 9223372036854775808, "candidates": [1]}', "user_id"),
    (b'{"user_id": 1, "candidates": {}}', "candidates"),
    (b'{"user_id": 1, "candidates": []}', "candidates"),
    (b'{"user_id": 1, "candidates": [1, 2, 1]}', "candidates"),
    (b'{"user_id": 1, "candidates": [1, "2"]}', "candidates[1]"),
    (b'{"user_id": 1, "candidates": [1, 2.5]}', "candidates[1]"),
    (b'{"user_id": 1, "candidates": [false]}', "candidates[0]"),
    (b'{"user_id": 1, "candidates": [3, -1]}', "candidates[1]"),
    (b'{"user_id": 1, "candidates": [3, 18446744073709551615]}', "candidates[1]"),
    (b'{"user_id": 1, "candidates": [1], "device": "toaster"}', "device"),
    (b'{"user_id": 1, "candidates": [1], "device": null}', "device"),
    (b'{"user_id": 1, "candidates": [1], "device": ["mobile"]}', "device"),
    (b'{"user_id": 1, "candidates": [1], "limit": 3}', "limit"),
    (orjson.dumps({"user_id": 1, "candidates": list(range(501))}), "candidates"),
]


@pytest.mark.parametrize(("body", "field"), BAD, ids=[f"{field}-{k}" for k, (_, field) in enumerate(BAD)])
def test_each_fault_names_its_field(body: bytes, field: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        parse(body, MOST)
    error = caught.value.answer["error"]
    assert error["field"] == field
    assert error["found"]
    assert error["expected"]


def test_a_good_request_keeps_the_order_of_its_candidates() -> None:
    found = parse(
        b'{"user_id": 9223372036854775807, "candidates": [5, 3, 9223372036854775807], "device": "tablet"}', MOST
    )
    assert found.user_id == 2**63 - 1
    assert found.candidates.tolist() == [5, 3, 2**63 - 1]
    assert found.device == "tablet"
    assert len(parse(orjson.dumps({"user_id": 1, "candidates": list(range(500))}), MOST).candidates) == 500


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_nothing_else_happens(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        parse(body, MOST)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None)
@given(st.fixed_dictionaries({}, optional={"user_id": VALUES, "candidates": VALUES, "device": VALUES, "extra": VALUES}))
def test_random_json_is_either_right_or_refused_with_a_serialisable_answer(content: dict[str, object]) -> None:
    try:
        found = parse(orjson.dumps(content), MOST)
    except BadRequestError as error:
        assert orjson.dumps(error.answer)
    else:
        assert found.user_id == content["user_id"]
        assert found.candidates.tolist() == content["candidates"]


def test_only_a_harmless_request_id_is_taken_over() -> None:
    assert request_id("0af7-65.x_Y") == "0af7-65.x_Y"
    for given_id in (None, "", "a" * 129, "a b", "a\r\nset-cookie: x", "é"):
        made = request_id(given_id)
        assert made != given_id
        assert len(made) == 32
