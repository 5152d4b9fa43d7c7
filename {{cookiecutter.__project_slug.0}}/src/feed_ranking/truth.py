"""The planted truth of the synthetic world: who likes what, and what a person does with a shown post."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from feed_ranking.columns import SLOTS
from mlsd.data.storage import utc
from mlsd.design.design import Design

WORLD_END = np.datetime64("2026-03-04T00:00:00", "us")
"""A Wednesday: the newest tenth of four weeks then holds a Sunday, the tenth before it a Saturday."""
FIRST_USER, FIRST_ITEM = 1, 100_001
HOUR = np.timedelta64(1, "h").astype("timedelta64[us]")
EVERGREEN_H = 10 * 24
"""A post that is older is evergreen: what the shifted traffic of the demo consists of."""
_GROUPS = 6

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]


@dataclass(frozen=True)
class Truth:
    """Arrays by user index [U] and item index [N]; categories are one-hot or two-hot over `SLOTS`."""

    taste: Floats
    weekend_taste: Floats
    leaning: Floats
    freshness: Floats
    activity: Floats
    group: NDArray[np.int64]
    country: NDArray[np.int64]
    user_created: Times
    slots: Floats
    quality: Floats
    bait: Floats
    author: NDArray[np.int64]
    followers: NDArray[np.int64]
    item_created: Times


def _tastes(rng: np.random.Generator, group: NDArray[np.int64]) -> Floats:
    """Each group leans to four categories, each person to two or three of their own besides."""
    shared = rng.gamma(0.25, 1.0, (_GROUPS, SLOTS))
    own = rng.gamma(0.12, 1.0, (len(group), SLOTS))
    shared, own = (x / x.sum(axis=1, keepdims=True) for x in (shared, own))
    return np.asarray(0.45 * shared[group] + 0.55 * own)


def plant(design: Design) -> Truth:
    """Draw the truth of `design.data.synthetic` from `design.data.seed`; the same design gives the same truth."""
    size = design.data.synthetic
    rng = np.random.default_rng([design.data.seed, 1])
    start = WORLD_END - size.days * 24 * HOUR
    group = rng.integers(0, _GROUPS, size.users)
    old = rng.random(size.users) < 0.7
    joined = np.where(old, -rng.uniform(0, 400 * 24, size.users), rng.uniform(0, size.days * 24, size.users))
    posted = np.where(
        rng.random(size.items) < 0.2, -rng.exponential(96, size.items), rng.uniform(0, size.days * 24, size.items)
    )
    authors = max(size.items // 10, 5)
    author = rng.integers(0, authors, size.items)
    talent = rng.normal(0, 0.5, authors)
    first = rng.choice(SLOTS, size.items, p=rng.dirichlet(np.full(SLOTS, 4.0)))
    slots = np.zeros((size.items, SLOTS))
    slots[np.arange(size.items), first] = 1
    slots[np.arange(size.items), (first + rng.integers(1, 6, size.items)) % SLOTS] += rng.random(size.items) < 0.35
    return Truth(
        taste=_tastes(rng, group),
        weekend_taste=_tastes(rng, group),
        leaning=rng.normal(0, 0.4, size.users),
        freshness=np.where(group % 2 == 0, 2.2, -2.0) + rng.normal(0, 0.2, size.users),
        activity=np.minimum(rng.pareto(1.6, size.users) + 0.3, 15),
        group=group,
        country=(group + rng.integers(0, 2, size.users)) % 4,
        user_created=start + (np.sort(joined) * 3.6e9).astype("timedelta64[us]"),
        slots=slots,
        quality=talent[author] + rng.normal(0, 0.5, size.items),
        bait=rng.beta(1, 8, size.items),
        author=author,
        followers=np.exp(5 + 2 * talent + rng.normal(0, 0.7, authors)).astype(np.int64)[author],
        item_created=start + (np.sort(posted) * 3.6e9).astype("timedelta64[us]"),
    )


def chance(
    truth: Truth, user: NDArray[np.int64], item: NDArray[np.int64], at: Times, device: NDArray[np.str_]
) -> Floats:
    """Probability of a real engagement, [n] from user and item indices [n], times and devices."""
    weekend = ((at.astype("datetime64[D]").astype(np.int64) + 3) % 7) >= 5
    taste = np.where(weekend[:, None], truth.weekend_taste[user], truth.taste[user])
    match = np.minimum((taste * truth.slots[item]).sum(axis=1), 0.6)
    age = np.maximum((at - truth.item_created[item]) / HOUR, 0.0)
    mood = truth.freshness[user] * (np.exp(-age / 24) - 0.4)
    quality = truth.quality[item] * (0.1 + 2.2 * (match > 0.12))
    # The planted change: once the world has ended, what everybody knows of the evergreen posts has worn off, and the
    # overlooked ones are liked. A model learns it from new labels only, so retraining on them has something to gain.
    quality = np.where((age > EVERGREEN_H) & (at >= WORLD_END), -quality, quality)
    small = np.where(device == "mobile", 0.6, -0.6) * np.where(truth.slots[item, : SLOTS // 2].any(axis=1), 1, -1)
    tired = -1.0 * (age > 120)
    z = -3.8 + truth.leaning[user] + 7.0 * match + quality + mood + small + tired
    return np.asarray(1 / (1 + np.exp(-z)))


def react(
    truth: Truth, shown: pd.DataFrame, luck: Floats, user: NDArray[np.int64], item: NDArray[np.int64]
) -> pd.DataFrame:
    """Engagements with shown posts, decided by uniform `luck` [n, 6]. A click is known once its dwell has ended."""
    at = shown["at"].dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    liked = luck[:, 0] < chance(truth, user, item, at, shown["device"].to_numpy(dtype=str))
    bounced = ~liked & (luck[:, 0] > 1 - 0.5 * truth.bait[item])
    dwell = np.where(liked, 30 - 70 * np.log(luck[:, 1]), 2 + 27 * luck[:, 1])
    late = np.where(luck[:, 2] < 0.05, 12 * 3600 * luck[:, 3], 0.0)
    told = at + ((2 + 18 * luck[:, 4] + dwell + late) * 1e6).astype("timedelta64[us]")
    parts = [
        (liked | bounced, "click", dwell, told),
        (liked & (luck[:, 5] < 0.2), "like", np.ones(len(at)), told + (luck[:, 3] * 6e7).astype("timedelta64[us]")),
        (liked & (luck[:, 5] > 0.95), "comment", np.ones(len(at)), told + (luck[:, 3] * 9e9).astype("timedelta64[us]")),
    ]
    frames = [
        shown.loc[mask, ["impression_id", "user_id", "item_id"]].assign(
            event=event, value=value[mask], at=utc(when[mask])
        )
        for mask, event, value, when in parts
    ]
    return pd.concat(frames).sort_values(["at", "impression_id"], ignore_index=True)
