"""Rows of users, written and read in every way there is."""

import asyncio
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import redis

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.online_stores.base import Reader
from mlsd.features.online_stores.redis import RedisStore
from mlsd.features.repository.store import open_store
from mlsd.problem.problem import Problem

STRANGER = 123_456_789


def on_redis(design: Design) -> Design:
    """The same design with its users on Redis."""
    return design.model_copy(update={"features": design.features.model_copy(update={"online_store": "redis"})})


def online(home: Home, design: Design, view: str, columns: tuple[str, ...], key: str, ids: list[int]) -> Any:
    """Feast's own answer as an array."""
    references = [f"{view}:{name}" for name in columns]
    answer = open_store(design, home).get_online_features(references, [{key: one} for one in ids]).to_dict()
    return np.array([answer[name] for name in columns], dtype=np.float32).T


def session(problem: Problem, user: int, at: datetime, value: float) -> pd.DataFrame:
    columns = problem.user_views["interaction"]
    row = {"user_id": user, "event_timestamp": pd.Timestamp(at)} | dict.fromkeys(columns, value)
    return pd.DataFrame([row]).astype(dict.fromkeys(columns, "float32"))


def stored(reader: Reader, problem: Problem, user: int) -> tuple[float, datetime]:
    """Value and time of the view that is pushed to."""
    row = reader.read(user)
    assert row
    values = set(row.values[len(problem.user_views["user"]) :].tolist())
    assert len(values) == 1
    return values.pop(), row.written["interaction"]


def write(home: Home, design: Design, problem: Problem, user: int, at: datetime, value: float) -> None:
    """Straight through Feast's SDK, past all checks of ours."""
    open_store(design, home).write_to_online_store("interaction", session(problem, user, at, value))


async def read(store: RedisStore, user: int, within_s: float = 5.0) -> Any:
    reading = store.begin(user)
    assert reading is not None
    try:
        return await asyncio.wait_for(reading, within_s)
    except redis.ConnectionError:
        return "lost"
    except TimeoutError:
        return "late"


def same(found: Any, expected: Any) -> bool:
    return bool(np.array_equal(found.values, expected.values, equal_nan=True)) and found.written == expected.written
