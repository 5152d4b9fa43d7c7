"""Which online store this process reads: Redis when `$MLSD_REDIS_URL` is set, else the SQLite file."""

import logging
from collections.abc import Callable

from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.features.online_stores.address import redis_url
from mlsd.features.online_stores.sqlite import UserReader
from mlsd.problem.problem import Problem
from mlsd.serving.dispatch.circuit_breaker import Breaker
from mlsd.serving.inference.users import Awaited, Blocking, UserStore

LOGGER = logging.getLogger("mlsd.users")
SHARE = 0.9
"""Of the features hop for the user; the rest is for the items, so that a late user makes no late hop."""


def _store(design: Design, home: Home, problem: Problem, deadline_s: float) -> Awaited | Blocking:
    url = redis_url()
    if url is None:
        return Blocking(lambda: UserReader(home.online_store, design.name, problem.user_views, timeout_s=deadline_s))
    from mlsd.features.online_stores.redis import RedisStore

    return RedisStore(url, design.name, problem.user_views)


def open_users(
    design: Design, home: Home, problem: Problem, told: Callable[[bool], None] = lambda _: None
) -> UserStore:
    """The users' stored values, read within the features hop; `told` hears when the breaker opens and closes.

    Raises:
        UserError: `$MLSD_REDIS_URL` is not an address of Redis.
    """
    deadline_ms = SHARE * design.latency.hops_ms.features
    settings = design.serving.store_breaker

    def say(opened: bool) -> None:
        LOGGER.warning("online store: %s", "circuit open after failures in a row" if opened else "answers again")
        told(opened)

    breaker = Breaker(settings.failures, settings.open_s, say)
    return UserStore(_store(design, home, problem, deadline_ms / 1e3), deadline_ms, breaker)
