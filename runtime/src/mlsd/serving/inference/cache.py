"""Answers given before, for a short while: when the queue is long, an answer a few seconds old beats a thinner one."""

import time
from collections import OrderedDict
from dataclasses import dataclass, replace

from mlsd.design.online_sections import PopularCache
from mlsd.tasks.ranking.ranking import NOT_FULL, Ranking
from mlsd.tasks.ranking.request import RankRequest

Key = tuple[int, bytes, str, str]


@dataclass(frozen=True)
class Cached:
    """An answer without what only its log record needed."""

    ranking: Ranking
    items: bytes  # JSON
    at: float  # time.monotonic


class AnswerCache:
    """The answers used last, by user, candidates, device and item snapshot; one process serves one release."""

    def __init__(self, settings: PopularCache) -> None:
        """Empty."""
        self._settings = settings
        self._entries: OrderedDict[Key, Cached] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def wanted(self, *, pressure: bool) -> bool:
        """Whether to look here before ranking."""
        return self._settings.when == "always" or (pressure and self._settings.when == "pressure")

    @staticmethod
    def key(request: RankRequest, snapshot_version: str) -> Key:
        """What makes two requests the same."""
        return request.user_id, request.candidates.tobytes(), request.device, snapshot_version

    def find(self, key: Key) -> tuple[Ranking, bytes] | None:
        """An answer that is young enough, marked as `cached` and with its age in seconds under `cache`."""
        found = self._entries.get(key)
        if found is None:
            return None
        age = time.monotonic() - found.at
        if age > self._settings.max_age_s:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        ranking = found.ranking
        gathered = replace(ranking.gathered, ages_s=ranking.gathered.ages_s | {"cache": age})
        hops = dict.fromkeys(ranking.hops_ms, 0.0)
        return replace(ranking, gathered=gathered, hops_ms=hops, degraded=[*ranking.degraded, "cached"]), found.items

    def keep(self, key: Key, ranking: Ranking, items: bytes) -> None:
        """Remember a full answer; the one unused the longest makes room."""
        if self._settings.when == "never" or not NOT_FULL.isdisjoint(ranking.degraded):
            return
        empty = ranking.gathered.items[:0].copy()
        slim = replace(ranking, gathered=replace(ranking.gathered, items=empty), features=None)
        self._entries[key] = Cached(slim, items, time.monotonic())
        self._entries.move_to_end(key)
        if len(self._entries) > self._settings.entries:
            self._entries.popitem(last=False)
