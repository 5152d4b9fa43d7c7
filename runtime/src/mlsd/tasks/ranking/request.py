"""A request, checked field by field before anything is computed from it."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from mlsd.tasks.ranking.json_bounds import BadRequestError, ids_of, is_id, json_object, shown

DEVICES = ("mobile", "desktop", "tablet")
NO_DEVICE = "unknown"
FIELDS = {"user_id", "candidates", "device"}
NO_CANDIDATES = np.zeros(0, dtype=np.int64)
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


@dataclass(frozen=True)
class RankRequest:
    """One user and the candidates to order."""

    user_id: int
    candidates: NDArray[np.int64]
    device: str = NO_DEVICE


def _candidates(value: Any, most: int) -> NDArray[np.int64]:
    rule = f"1 to {most} different item ids"
    if not isinstance(value, list):
        raise BadRequestError("candidates", shown(value), rule)
    if not 1 <= len(value) <= most:
        raise BadRequestError("candidates", f"{len(value)} ids", rule)
    ids = ids_of(value)
    if ids is None:
        at, wrong = next((at, each) for at, each in enumerate(value) if not is_id(each))
        raise BadRequestError(f"candidates[{at}]", shown(wrong), "an integer of at least 0")
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
    content = json_object(body, FIELDS)
    for field in ("user_id",) if optional else ("user_id", "candidates"):
        if field not in content:
            raise BadRequestError(field, "nothing", "a value")
    if not is_id(content["user_id"]):
        raise BadRequestError("user_id", shown(content["user_id"]), "an integer of at least 0")
    device = content.get("device", NO_DEVICE)
    if "device" in content and device not in DEVICES:
        raise BadRequestError("device", shown(device), f"one of {', '.join(DEVICES)}")
    candidates = _candidates(content["candidates"], most) if "candidates" in content else NO_CANDIDATES
    return RankRequest(content["user_id"], candidates, device)


def request_id(given: str | None) -> str:
    """The caller's own id when it is harmless, else a new one."""
    return given if given and REQUEST_ID.fullmatch(given) else uuid4().hex
