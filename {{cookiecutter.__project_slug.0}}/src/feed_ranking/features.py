"""Model features of a feed, pure NumPy: the same functions compute a training row and a request.

Only additions, multiplications, divisions and comparisons are used here, element by element and in a fixed order, so
that a row has the same bits alone, in a request of 500 and in a training batch. Logarithms are taken before values are
stored.
"""

import numpy as np
from numpy.typing import NDArray

from feed_ranking.columns import CONTEXT_COLUMNS, DEVICES, ITEM_COLUMNS, RANK, SLOTS, USER_COLUMNS, numbered
from mlsd.core.errors import UserError

Floats = NDArray[np.float32]

EPOCH = np.datetime64("2000-01-01T00:00:00", "us")
"""Times are stored as hours since then: float32 resolves one minute."""
_TASTES = (np.float32(-1.5), np.float32(1.5))
"""Bounds of what a group's taste adds to the logarithm of a count: at most 4.5 times as popular, or as unpopular."""
_YEAR_H = np.float32(8760)
_REQUEST = 4096
_U = {name: k for k, name in enumerate(USER_COLUMNS)}
_I = {name: k for k, name in enumerate(ITEM_COLUMNS)}
_C = {name: k for k, name in enumerate(CONTEXT_COLUMNS)}

_FROM_USER = (
    "user_country",
    "user_age_band",
    "user_impressions",
    "user_interactions",
    "user_ctr",
    "user_weekend_ctr",
    "user_value",
    "session_engagements",
    "session_positives",
)
_FROM_ITEM = (
    "item_followers",
    "item_impressions",
    "item_positives",
    "item_positives_1d",
    "item_positives_7d",
    "item_positives_90d",
    "item_positives_365d",
    "item_ctr",
    "item_velocity",
    "item_value",
    "item_author_ctr",
    "item_slots",
    *numbered("slot", SLOTS),
)
_CROSSED = (
    "item_age_h",
    "item_freshness",
    "account_age_h",
    "user_idle_h",
    "session_idle_h",
    "affinity_match",
    "recent_match",
    "embedding_match",
    "ctr_product",
    "affinity_ctr",
    "popularity_gap",
    "age_gap_h",
    "weekend_lift",
)
FEATURE_NAMES = (*_CROSSED, *_FROM_ITEM, *_FROM_USER, "hour", "weekday", "weekend", "device")


def hours(at: NDArray[np.datetime64]) -> Floats:
    """Hours since `EPOCH` as float32, [n] from UTC times [n]."""
    micros = at.astype("datetime64[us]") - EPOCH
    return (micros.astype(np.int64) / 3.6e9).astype(np.float32)


def context(at: NDArray[np.datetime64], device: NDArray[np.str_]) -> Floats:
    """[n, 5]: hours since the epoch, hour of day, day of week (0 Monday), weekend, device code (3: not known)."""
    days = at.astype("datetime64[D]")
    weekday = ((days.astype(np.int64) + 3) % 7).astype(np.float32)
    hour = (at.astype("datetime64[h]") - days).astype(np.int64)
    rows = np.empty((len(at), len(CONTEXT_COLUMNS)), dtype=np.float32)
    for k, column in enumerate((hours(at), hour, weekday, weekday >= 5, len(DEVICES))):
        rows[:, k] = column
    for k, name in enumerate(DEVICES):
        rows[np.asarray(device) == name, -1] = k
    return rows


def _block(names: tuple[str, ...], place: dict[str, int]) -> NDArray[np.intp]:
    return np.array([place[name] for name in names], dtype=np.intp)


_ITEM_BLOCK, _USER_BLOCK = _block(_FROM_ITEM, _I), _block(_FROM_USER, _U)
_CONTEXT_BLOCK = _block(("hour", "weekday", "weekend", "device"), _C)


def _dot(left: Floats, left_at: int, right: Floats, right_at: int, width: int) -> Floats:
    """Sum of products, [n], of `width` columns each, which lie in rows here; added one after the other.

    NumPy adds whole rows in their order, but a single column pairwise: that would be other bits.
    """
    products = np.multiply(left[left_at : left_at + width], right[right_at : right_at + width], order="C")
    if products.shape[1] > 1:
        whole: Floats = np.add.reduce(products, axis=0)
        return whole
    total: Floats = products[0].copy()
    for product in products[1:]:
        total += product
    return total


def _rows(table: Floats) -> Floats:
    """Columns as rows: a copy for a request, a view of a large batch, which has no need of another copy."""
    return np.ascontiguousarray(table.T) if len(table) <= _REQUEST else table.T


def _crossed(u: Floats, i: Floats, c: Floats) -> list[Floats]:
    now = c[_C["now_h"]]
    age = np.maximum(now - i[_I["item_created_h"]], np.float32(0))
    slots = np.maximum(i[_I["item_slots"]], np.float32(1))
    affinity = _dot(u, _U["affinity_00"], i, _I["slot_00"], SLOTS) / slots
    item_ctr = i[_I["item_ctr"]]
    return [
        age,
        np.float32(24) / (np.float32(24) + age),
        np.maximum(now - u[_U["user_created_h"]], np.float32(0)),
        np.minimum(np.maximum(now - u[_U["user_active_h"]], np.float32(0)), _YEAR_H),
        np.minimum(np.maximum(now - u[_U["session_at_h"]], np.float32(0)), _YEAR_H),
        affinity,
        _dot(u, _U["recent_00"], i, _I["slot_00"], SLOTS) / slots,
        _dot(u, _U["user_e_00"], i, _I["item_e_00"], RANK),
        u[_U["user_ctr"]] * item_ctr,
        affinity * item_ctr,
        i[_I["item_positives"]] - u[_U["user_popularity_taste"]],
        age - u[_U["user_age_taste"]],
        i[_I["item_weekend_lift"]] * (np.float32(2) * c[_C["weekend"]] - np.float32(1)),
    ]


def assemble(user: Floats, items: Floats, context: Floats) -> Floats:
    """Model matrix [n, F] from user [n or 1, U], items [n, I] and context [n or 1, K]; no row depends on another.

    Columns are crossed as rows of the transposed tables, whose values lie side by side: half the time for 500 items.
    """
    matrix = np.empty((len(items), len(FEATURE_NAMES)), dtype=np.float32)
    crossed = _crossed(*(_rows(table) for table in (user, items, context)))
    for k, column in enumerate(crossed):
        matrix[:, k] = column
    at = len(crossed)
    for table, block in ((items, _ITEM_BLOCK), (user, _USER_BLOCK), (context, _CONTEXT_BLOCK)):
        matrix[:, at : at + len(block)] = table[:, block]
        at += len(block)
    return matrix


def check_names() -> None:
    """Each crossed feature has a name and each name a value; told when the pack is loaded, not by a training.

    Raises:
        UserError: one of the two lists is longer.
    """
    nobody = (np.zeros((len(names), 1), np.float32) for names in (USER_COLUMNS, ITEM_COLUMNS, CONTEXT_COLUMNS))
    values = len(_crossed(*nobody))
    if values != len(_CROSSED):
        raise UserError(
            f"{__name__}: found {len(_CROSSED)} names in _CROSSED and {values} values in _crossed(), expected one "
            f"value for each name; the last name is {_CROSSED[-1]!r}"
        )


check_names()


def interactions(user: Floats) -> float:
    """Engagements of any kind that the user row [U] stands for."""
    return float(user[_U["user_interactions"]])


def popularity(items: Floats) -> NDArray[np.float64]:
    """Fallback score in [0, 1), rising with the (logarithm of the) count of earlier positives; [n] from [n, I]."""
    count = items[:, _I["item_positives"]].astype(np.float64)
    return count / (count + 2.0)


def cold_start(items: Floats, user: Floats) -> NDArray[np.float64]:
    """`popularity` of posts whose positives are weighed by what the user's group makes of their categories, [n].

    The mean of the categories' logarithms of a rate over everyone's, within `_TASTES`, is added to the logarithm of the
    count; from items [n, I] and user [U].
    """
    rows = _rows(items)
    match = _dot(_rows(user[None, :]), _U["group_taste_00"], rows, _I["slot_00"], SLOTS)
    taste = np.clip(match / np.maximum(rows[_I["item_slots"]], np.float32(1)), *_TASTES)
    count: NDArray[np.float64] = np.maximum(rows[_I["item_positives"]].astype(np.float64) + taste, 0.0)
    return count / (count + 2.0)
