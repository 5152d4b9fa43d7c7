"""The split goes by time, never at random (4.16)."""

import numpy as np
import pandas as pd
import pytest

from mlsd.core.errors import UserError
from mlsd.data.split import check, split


def frame(requests: int = 100, rows: int = 3) -> pd.DataFrame:
    at = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(np.arange(requests), unit="h")
    return pd.DataFrame(
        {
            "request_id": np.repeat([f"r{k:03d}" for k in range(requests)], rows),
            "at": np.repeat(at, rows),
            "x": np.arange(requests * rows),
        }
    )


def test_parts_follow_each_other_and_nothing_is_lost() -> None:
    data = frame().sample(frac=1, random_state=1)
    train, validation, test = split(data, 0.1, 0.2)
    assert train["at"].max() < validation["at"].min()
    assert validation["at"].max() < test["at"].min()
    assert sorted([*train["x"], *validation["x"], *test["x"]]) == list(range(300))
    assert test["request_id"].nunique() == 20
    assert validation["request_id"].nunique() == 10


def test_a_request_is_never_torn_apart() -> None:
    data = frame()
    data.loc[data.index % 3 == 2, "at"] += pd.Timedelta(minutes=20)
    parts = split(data, 0.1, 0.2)
    names = [set(part["request_id"]) for part in parts]
    assert not names[0] & names[1]
    assert not names[1] & names[2]


def test_a_shuffled_split_is_refused() -> None:
    data = frame()
    mixed = data.sample(frac=1, random_state=2)
    with pytest.raises(UserError, match="a split by time never does"):
        check(mixed.iloc[:200], mixed.iloc[200:250], mixed.iloc[250:])


def test_too_little_history_is_refused() -> None:
    with pytest.raises(UserError, match="more history is needed"):
        split(frame(requests=2), 0.1, 0.2)
