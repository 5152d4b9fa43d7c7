"""Stored columns of users and posts, in the order in which `features.assemble` reads them, and their defaults."""

import numpy as np
from numpy.typing import NDArray

SLOTS = 20
"""Category slots."""
RANK = 16
"""Dimensions of the collaborative embedding."""
PRIOR_RATE = 0.05
"""Engagement rate of who or what has no history yet."""
_JUST_NOW = 1e9
DEVICES = ("mobile", "desktop", "tablet")


def numbered(name: str, count: int) -> tuple[str, ...]:
    """`name_00`, `name_01` and so on."""
    return tuple(f"{name}_{k:02d}" for k in range(count))


USER_VIEW = (
    "user_created_h",
    "user_country",
    "user_age_band",
    "user_impressions",
    "user_interactions",
    "user_ctr",
    "user_weekend_ctr",
    "user_value",
    "user_popularity_taste",
    "user_age_taste",
    "user_active_h",
    *numbered("affinity", SLOTS),
    *numbered("user_e", RANK),
    *numbered("group_taste", SLOTS),
)
INTERACTION_VIEW = ("session_at_h", "session_engagements", "session_positives", *numbered("recent", SLOTS))
POST_VIEW = (
    "item_created_h",
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
    "item_weekend_lift",
    "item_slots",
    *numbered("slot", SLOTS),
    *numbered("item_e", RANK),
)
USER_VIEWS = {"user": USER_VIEW, "interaction": INTERACTION_VIEW}
USER_COLUMNS = (*USER_VIEW, *INTERACTION_VIEW)
ITEM_COLUMNS = POST_VIEW
CONTEXT_COLUMNS = ("now_h", "hour", "weekday", "weekend", "device")


def _defaults(names: tuple[str, ...]) -> NDArray[np.float32]:
    usual = {
        "user_created_h": _JUST_NOW,
        "item_created_h": _JUST_NOW,
        "user_country": -1.0,
        "user_age_band": -1.0,
        "user_ctr": PRIOR_RATE,
        "user_weekend_ctr": PRIOR_RATE,
        "item_ctr": PRIOR_RATE,
        "item_velocity": PRIOR_RATE,
        "item_author_ctr": PRIOR_RATE,
        "item_weekend_lift": 1.0,
    }
    return np.array([usual.get(name, 0.0) for name in names], dtype=np.float32)


USER_DEFAULTS = _defaults(USER_COLUMNS)
ITEM_DEFAULTS = _defaults(ITEM_COLUMNS)
