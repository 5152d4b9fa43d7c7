"""How this process reads the online store that the design names."""

import logging
from collections.abc import Callable

from mlsd.features.online_stores.base import Awaited, online_store
from mlsd.problem.context import Context
from mlsd.serving.dispatch.circuit_breaker import Breaker
from mlsd.serving.inference.users import Blocking, UserStore

LOGGER = logging.getLogger("mlsd.users")
SHARE = 0.9
"""Of the features hop for the user; the rest is for the items, so that a late user makes no late hop."""


def _store(context: Context, deadline_s: float) -> Awaited | Blocking:
    design, home, problem = context.design, context.home, context.problem
    store = online_store(design, home)
    awaited = store.awaited(problem.user_views)
    if awaited is not None:
        return awaited
    return Blocking(lambda: store.reader(problem.user_views, timeout_s=deadline_s))


def open_users(context: Context, told: Callable[[bool], None] = lambda _: None) -> UserStore:
    """The users' stored values, read within the features hop; `told` hears when the breaker opens and closes.

    Raises:
        UserError: the store's address is missing, or is not one.
    """
    design = context.design
    deadline_ms = SHARE * design.latency.hops_ms.features
    settings = design.serving.store_breaker

    def say(opened: bool) -> None:
        LOGGER.warning("online store: %s", "circuit open after failures in a row" if opened else "answers again")
        told(opened)

    breaker = Breaker(settings.failures, settings.open_s, say)
    return UserStore(_store(context, deadline_ms / 1e3), deadline_ms, breaker)
