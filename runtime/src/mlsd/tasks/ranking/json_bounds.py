"""JSON within bounds: one object, numbers that are numbers, ids as integers; what is wrong is named by its place."""

import json
import math
from collections.abc import Iterator, Set
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

LARGEST_ID = 2**63 - 1


class BadRequestError(Exception):
    """The field at fault, what was found there, and what would have been right."""

    def __init__(self, field: str, found: str, expected: str) -> None:
        super().__init__(f"{field}: found {found}, expected {expected}")
        self.answer = {"error": {"field": field, "found": found, "expected": expected}}


def shown(value: Any) -> str:
    """A value, short and harmless, for an answer."""
    if isinstance(value, (list, dict)):
        return f"{'list' if isinstance(value, list) else 'object'} of {len(value)}"
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _places(value: Any, path: str) -> Iterator[tuple[str, float]]:
    """Where a number stands that orjson takes for none: not finite, or longer than 64 bits."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _places(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for k, inner in enumerate(value):
            yield from _places(inner, f"{path}[{k}]")
    elif (isinstance(value, float) and not math.isfinite(value)) or (type(value) is int and abs(value) > LARGEST_ID):
        yield path, value


def _name_what_is_no_number(body: bytes) -> None:
    """Refuse a body that is wrong only in holding NaN, Infinity, 1e400 or a giant integer by the name of that field."""
    try:
        place, value = next(_places(json.loads(body), ""))
    except (ValueError, RecursionError, StopIteration):
        return
    named = place[:60].encode(errors="backslashreplace").decode()  # half a surrogate pair fits into no answer
    raise BadRequestError(named or "body", str(value)[:60], "a finite number of 64 bits")


def json_object(body: bytes, fields: Set[str]) -> dict[str, Any]:
    """The object that a body holds.

    Raises:
        BadRequestError: no JSON, no object, a number out of bounds, or another field than these.
    """
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # NaN, Infinity, 1e400, broken UTF-8 and bottomless nesting all end here.
        _name_what_is_no_number(body)
        raise BadRequestError("body", f"no JSON: {error}", "a JSON object of finite numbers") from None
    if not isinstance(content, dict):
        raise BadRequestError("body", shown(content), "a JSON object")
    if unknown := content.keys() - fields:
        raise BadRequestError(min(unknown)[:60], "an unknown field", f"only {', '.join(sorted(fields))}")
    return content


def is_id(value: Any) -> bool:
    """Whether it is an integer that an id can be."""
    return type(value) is int and 0 <= value <= LARGEST_ID  # a bool is an int to isinstance


def ids_of(values: list[Any]) -> NDArray[np.int64] | None:
    """All of them as one array; None if one is no id."""
    if set(map(type, values)) != {int}:
        return None
    try:
        ids = np.array(values, dtype=np.int64)
    except OverflowError:
        return None
    return ids if ids.min() >= 0 else None
