"""The contract of a feed: users, items, impressions, engagements."""

from feed_ranking.columns import DEVICES
from feed_ranking.labels import RATING
from mlsd.design.design import Design
from mlsd.problem.contract import Column, Contract, TableRules

_DAY_S = 86400.0


_USER = Column("user_id", "integer", refers_to=("users", "user_id"))
_ITEM = Column("item_id", "integer", refers_to=("items", "item_id"))
_USERS = TableRules(
    "users",
    (
        Column("user_id", "integer", low=0),
        Column("created_at", "UTC time"),
        Column("country", "text"),
        Column("age_band", "text"),
    ),
    key=("user_id",),
)
_ITEMS = TableRules(
    "items",
    (
        Column("item_id", "integer", low=0),
        Column("author_id", "integer", low=0),
        Column("author_followers", "integer", low=0),
        Column("title", "text"),
        Column("categories", "list of text"),
        Column("created_at", "UTC time"),
    ),
    key=("item_id",),
)
_IMPRESSIONS = TableRules(
    "impressions",
    (
        Column("impression_id", "integer", low=1),
        Column("request_id", "text"),
        _USER,
        _ITEM,
        Column("position", "integer", low=0, high=10_000),
        Column("device", "text", allowed=(*DEVICES, "unknown")),
        Column("at", "UTC time"),
    ),
    key=("impression_id",),
)


def _engagements(low: float, high: float) -> TableRules:
    return TableRules(
        "engagements",
        (
            Column("impression_id", "integer", nullable=True, refers_to=("impressions", "impression_id")),
            _USER,
            _ITEM,
            Column("event", "text", allowed=("click", "like", "comment", RATING)),
            Column("value", "number", low=low, high=high),
            Column("at", "UTC time"),
        ),
        key=("user_id", "item_id", "event", "at"),
        may_be_empty=True,
    )


def contract(design: Design) -> Contract:
    """Rules of the four tables; the range of a mapped source's values comes from its mapping."""
    mapping = design.data.mappings.get(design.data.source)
    low, high = mapping.value_range if mapping else (0.0, _DAY_S)
    return Contract((_USERS, _ITEMS, _IMPRESSIONS, _engagements(low, high)))
