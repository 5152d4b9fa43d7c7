"""Temporal split: train on the past, validate and test on what came after; never random."""

from typing import TYPE_CHECKING

from mlsd.core.errors import UserError

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd


def split(
    frame: "pd.DataFrame", validation_share: float, test_share: float
) -> tuple["pd.DataFrame", "pd.DataFrame", "pd.DataFrame"]:
    """(train, validation, test) by the time of each request: shares of the time span, the test part the newest.

    frame: request_id, at, ...; all rows of a request go where its first row goes.

    Raises:
        UserError: a part would be empty.
    """
    first = frame.groupby("request_id")["at"].transform("min")
    start, span = first.min(), first.max() - first.min()
    test_from = start + span * (1 - test_share)
    validation_from = start + span * (1 - test_share - validation_share)
    parts = (
        frame[first < validation_from],
        frame[(first >= validation_from) & (first < test_from)],
        frame[first >= test_from],
    )
    return _checked(parts)


def split_newest(
    frame: "pd.DataFrame", validation_share: float, requests: int, learnt_until: "datetime"
) -> tuple["pd.DataFrame", "pd.DataFrame", "pd.DataFrame"]:
    """(train, validation, test) where a model serves: the test part is the newest `requests` requests.

    Of them only those after `learnt_until`, up to which the model in service has seen labels: on a row that it was
    fitted on it would look better than it is.

    Raises:
        UserError: a part would be empty.
    """
    first = frame.groupby("request_id")["at"].transform("min")
    starts = first.groupby(frame["request_id"]).first().sort_values()
    fresh = starts[starts > learnt_until]
    if fresh.empty:
        raise UserError(
            f"temporal split: no labelled request after {learnt_until.isoformat(timespec='minutes')}, up to when the "
            "model in service was trained; retrain once newer labels are mature"
        )
    test_from = fresh.iloc[-min(requests, len(fresh))]
    validation_from = starts.iloc[0] + (test_from - starts.iloc[0]) * (1 - validation_share)
    parts = (
        frame[first < validation_from],
        frame[(first >= validation_from) & (first < test_from)],
        frame[first >= test_from],
    )
    return _checked(parts)


def _checked(
    parts: tuple["pd.DataFrame", "pd.DataFrame", "pd.DataFrame"],
) -> tuple["pd.DataFrame", "pd.DataFrame", "pd.DataFrame"]:
    sizes = dict(zip(("train", "validation", "test"), map(len, parts), strict=True))
    if not all(sizes.values()):
        raise UserError(f"temporal split: found {sizes} rows, expected some in each; more history is needed")
    check(*parts)
    return parts


def check(train: "pd.DataFrame", validation: "pd.DataFrame", test: "pd.DataFrame") -> None:
    """Refuse parts that overlap in time or share a request, as a shuffled split does.

    Raises:
        UserError: naming the parts and the times.
    """
    for name, earlier, later in (("train, validation", train, validation), ("validation, test", validation, test)):
        if earlier["at"].max() >= later["at"].min():
            raise UserError(
                f"split: {name}: the earlier part ends at {earlier['at'].max()}, after the later one starts at "
                f"{later['at'].min()}; a split by time never does"
            )
    shared = set(train["request_id"]) & set(test["request_id"])
    if shared:
        raise UserError(f"split: {len(shared)} requests are in both train and test, first: {min(shared)}")
