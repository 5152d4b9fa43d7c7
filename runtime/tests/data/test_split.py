"""The split goes by time, never at random (4.16)."""

import numpy as np
import pandas as pd
import pytest

from mlsd.core.errors import UserError
from mlsd.data.split import check, split, split_newest


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


def test_beside_a_model_in_service_the_newest_requests_are_the_test() -> None:
    data = frame()
    train, validation, test = split_newest(data, 0.1, 15, data["at"].min().to_pydatetime())
    assert test["request_id"].nunique() == 15
    assert test["at"].max() == data["at"].max()
    assert sorted([*train["x"], *validation["x"], *test["x"]]) == list(range(300))


@pytest.mark.parametrize("wanted", [5, 50, 1000])
def test_what_the_model_in_service_has_learnt_from_is_never_in_the_test(wanted: int) -> None:
    """However many requests are asked for, and whatever window it was trained on."""
    data = frame()
    until = data["at"].iloc[3 * 80].to_pydatetime()
    train, validation, test = split_newest(data, 0.1, wanted, until)
    assert test["at"].min() > until
    assert test["request_id"].nunique() == min(wanted, 19)
    assert train["at"].max() < validation["at"].min()


def test_a_model_that_knows_every_row_cannot_be_challenged() -> None:
    data = frame()
    with pytest.raises(UserError, match=r"no labelled request after .* retrain once newer labels are mature"):
        split_newest(data, 0.1, 15, data["at"].max().to_pydatetime())
