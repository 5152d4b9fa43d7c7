"""The Feast source tables: when each row is written, and that a row at time t has seen only events before t."""

from datetime import datetime

import numpy as np
import pandas as pd

from feed_ranking.history.embedding import Embedding, refit_times
from feed_ranking.history.events import arrays
from feed_ranking.history.pit import Schedule
from feed_ranking.history.post_history import post_history
from feed_ranking.history.rates import DAY, HOUR
from feed_ranking.history.user_history import session_history, user_history
from mlsd.design.design import Design
from mlsd.problem.tables import Tables


def feature_tables(tables: Tables, design: Design, now: datetime) -> dict[str, pd.DataFrame]:
    """Sources `user`, `interaction` and `post`, no row after `now`.

    A view's rows are written when something happened, at the latest after half its max_age_h, and for all users and
    posts together when the embedding is refitted, so that both sides of a match always come from the same fit.
    """
    events, age = arrays(tables, design), design.max_age_h
    end = int(pd.Timestamp(now).timestamp() * 1_000_000)
    pos, imp, engaged = events.positives, events.impressions, events.engagements
    fits = refit_times(pos.at, DAY)
    embedding = Embedding(pos.user, pos.item, pos.at, len(tables.items), fits)

    def schedule(max_age_h: float) -> Schedule:
        gap = max(int(max_age_h * HOUR / 2), HOUR)
        return Schedule(int(imp.at.min()) - gap if len(imp.at) else end, end, min(gap // 4, DAY), gap, fits)

    users = schedule(age.user).rows(events.user_created, engaged.user, engaged.at)
    happened = [(engaged.item, engaged.at), (np.arange(len(tables.items)), events.item_created)]
    if design.data.source not in design.data.mappings:
        happened.append((imp.item, imp.at))  # a mapped source has no log of what was shown: its impressions are samples
    posts = schedule(age.item).rows(events.item_created, *map(np.concatenate, zip(*happened, strict=True)))
    return {
        "user": user_history(tables.users, events, *users, embedding),
        "interaction": session_history(tables.users, events, end),
        "post": post_history(tables.items, events, *posts, embedding),
    }
