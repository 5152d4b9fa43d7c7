"""How long a worker takes to be ready, and what it holds in memory afterwards."""

import statistics
from typing import Any

from rig.contestants import ours, plain
from rig.processes import ask
from rig.world import World


def measure(world: World, engine: str, starts: int) -> dict[str, Any]:
    """Seconds from the start of the command to `/readyz` 200, medians; megabytes after answering under load."""
    ready, memory = [], []
    for _ in range(starts):
        with ours(world, min(world.size.trees), engine) as server:
            ready.append(server.ready_s)
            ask(server.job(1.5, 8))
            memory.append(server.rss_mb())
    with plain(world, "bentoml_memory", min(world.size.trees)) as server:
        ask(server.job(1.5, 8))
        plain_ready, plain_memory = server.ready_s, server.rss_mb()
    return {
        "engine": engine,
        "ready_s": statistics.median(ready),
        "rss_mb": statistics.median(memory),
        "plain_ready_s": plain_ready,
        "plain_rss_mb": plain_memory,
    }
