"""The features hop against Feast's SDK, on SQLite and on Redis: one user and 500 items."""

from typing import Any

from rig.contestants import bodies, ours
from rig.processes import ask, child
from rig.redis_store import redis
from rig.world import World


def _ours(world: World, seconds: float, redis_url: str | None) -> dict[str, Any]:
    with ours(world, min(world.size.trees), "lightgbm", redis_url=redis_url) as server:
        ask(server.job(1.0))
        seen = ask(server.job(seconds, hops=True))
    return {"requests": seen["sent"], "whole": seen["whole"], **seen["hops"]["features"]}


def _sdk(world: World, feast: str, reads: int) -> dict[str, Any]:
    found: dict[str, Any] = child(["rig.sdk_read", feast, str(world.home.root), str(reads)])
    return found


def measure(world: World, seconds: float, reads: int) -> dict[str, Any]:
    """Milliseconds by store: `ours` is the hop as the server reports it, `sdk` the calls alone in a process."""
    bodies(world)
    found = {"sqlite": {"ours": _ours(world, seconds, None), "sdk": _sdk(world, str(world.home.feast), reads)}}
    with redis(world) as server:
        feast = server.folder / "home" / "feast"
        found["redis"] = {"ours": _ours(world, seconds, server.url), "sdk": _sdk(world, str(feast), reads)}
    return found
