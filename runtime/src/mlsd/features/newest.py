"""The newest row wins on every store, and a row from the future (a clock that was wrong) does not hide later ones.

Feast leaves both to the store, and its stores differ; each of ours says how it sees to that.
"""

import logging
from collections.abc import Mapping
from datetime import datetime

from mlsd.features.online_stores.base import OnlineStore

LOGGER = logging.getLogger("mlsd")


def keep_newest(store: OnlineStore, views: Mapping[str, tuple[str, Mapping[int, datetime]]], now: datetime) -> None:
    """Prepare the store for these rows: what is there of them must not stand in the way of a newer one.

    Args:
        store: the online store.
        views: view to its join key and to the newest time of each key to be written.
        now: stored rows of these keys that are later (by more than clocks may differ) are forgotten.
    """
    forgotten = sum(store.keep_newest(view, key, newest, now) for view, (key, newest) in views.items())
    if forgotten:
        LOGGER.warning("online store: %d rows were from the future, after %s; forgotten", forgotten, now.isoformat())
