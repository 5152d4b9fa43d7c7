"""What the prediction log says was shown to users, as rows."""

from datetime import datetime
from typing import TYPE_CHECKING

from mlsd.core.home import Home

if TYPE_CHECKING:
    import pandas as pd


def served(home: Home, after: datetime | None = None) -> "pd.DataFrame":
    """Answers to users, one row per item: request_id, user_id, item_id, position (its rank), device, at.

    A user id is as it was logged: a keyed hash (text) where the design says so.
    """
    import numpy as np
    import pandas as pd

    from mlsd.prediction_log.writer import read_records

    columns = ["request_id", "user_id", "item_id", "position", "device", "at"]
    parts = []
    for record in read_records(home.feature_log, after):
        if record.role == "live":
            rank = np.empty(len(record.item_ids), dtype=np.int64)
            rank[np.argsort(-record.scores, kind="stable")] = np.arange(len(rank))
            one = {"request_id": record.request_id, "user_id": record.user_id, "device": record.device, "at": record.at}
            parts.append(pd.DataFrame({**one, "item_id": record.item_ids, "position": rank}))
    if not parts:
        return pd.DataFrame(columns=columns)
    frame = pd.concat(parts, ignore_index=True)[columns]
    frame["at"] = pd.to_datetime(frame["at"], utc=True).dt.as_unit("us")
    return frame.drop_duplicates(["request_id", "item_id"])


def identified(home: Home, new: "pd.DataFrame", users: "pd.Series") -> "pd.DataFrame":
    """Hashed user ids as the ids of known users; -1, which is nobody, for the others."""
    from mlsd.prediction_log.pseudonyms import known_as

    if not any(isinstance(user, str) for user in new["user_id"].unique()):
        return new
    behind = known_as(home, users)
    ids = {user: behind.get(user, -1) if isinstance(user, str) else user for user in new["user_id"].unique()}
    return new.assign(user_id=new["user_id"].map(ids).astype("int64"))
