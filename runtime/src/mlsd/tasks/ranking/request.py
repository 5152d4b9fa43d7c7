"""A request, checked field by field before anything is computed from it."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
import orjson
from numpy.typing import NDArray

DEVICES = ("mobile", "desktop", "tablet")
NO_DEVICE = "unknown"
FIELDS = {"user_id", "candidates", "device"}
LARGEST_ID = 2**63 - 1
NO_CANDIDATES = np.zeros(0, dtype=np.int64)
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class BadRequestError(Exception):
    """The field at fault, what was found there, and what would have been right."""

    def __init__(self, field: str, found: str, expected: str) -> None:
        super().__init__(f"{field}: found {found}, expected {expected}")
        self.answer = {"error": {"field": field, "found": found, "expected": expected}}


@dataclass(frozen=True)
class RankRequest:
    """One user and the candidates to order."""

    user_id: int
    candidates: NDArray[np.int64]
    device: str = NO_DEVICE


def _shown(value: Any) -> str:
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


def _object(body: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # NaN, Infinity, 1e400, broken UTF-8 and bottomless nesting all end here.
        _name_what_is_no_number(body)
        raise BadRequestError("body", f"no JSON: {error}", "a JSON object of finite numbers") from None
    if not isinstance(content, dict):
        raise BadRequestError("body", _shown(content), "a JSON object")
    if unknown := content.keys() - FIELDS:
        raise BadRequestError(min(unknown)[:60], "an unknown field", f"only {', '.join(sorted(FIELDS))}")
    return content


def _is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST_ID  # a bool is an int to isinstance


def _ids(values: list[Any]) -> NDArray[np.int64] | None:
    """All of them as one array; None if one is no id."""
    if set(map(type, values)) != {int}:
        return None
    try:
        ids = np.array(values, dtype=np.int64)
    except OverflowError:
        return None
    return ids if ids.min() >= 0 else None


def _candidates(value: Any, most: int) -> NDArray[np.int64]:
    rule = f"1 to {most} different item ids"
    if not isinstance(value, list):
        raise BadRequestError("candidates", _shown(value), rule)
    if not 1 <= len(value) <= most:
        raise BadRequestError("candidates", f"{len(value)} ids", rule)
    ids = _ids(value)
    if ids is None:
        at, wrong = next((at, each) for at, each in enumerate(value) if not _is_id(each))
        raise BadRequestError(f"candidates[{at}]", _shown(wrong), "an integer of at least 0")
    if len(set(value)) < len(value):
        first = next(each for at, each in enumerate(value) if each in value[:at])
        raise BadRequestError("candidates", f"{first} twice", rule)
    return ids


def parse(body: bytes, most: int, *, optional: bool = False) -> RankRequest:
    """Read a request.

    Args:
        body: JSON, already within the size limit.
        most: candidates allowed.
        optional: whether the candidates may be left out; there are none then.

    Raises:
        BadRequestError: not JSON, a field missing, unknown, of a wrong type or out of range, or a candidate twice.
    """
    content = _object(body)
    for field in ("user_id",) if optional else ("user_id", "candidates"):
        if field not in content:
            raise BadRequestError(field, "nothing", "a value")
    if not _is_id(content["user_id"]):
        raise BadRequestError("user_id", _shown(content["user_id"]), "an integer of at least 0")
    device = content.get("device", NO_DEVICE)
    if "device" in content and device not in DEVICES:
        raise BadRequestError("device", _shown(device), f"one of {', '.join(DEVICES)}")
    candidates = _candidates(content["candidates"], most) if "candidates" in content else NO_CANDIDATES
    return RankRequest(content["user_id"], candidates, device)


def request_id(given: str | None) -> str:
    """The caller's own id when it is harmless, else a new one."""
    return given if given and REQUEST_ID.fullmatch(given) else uuid4().hex
