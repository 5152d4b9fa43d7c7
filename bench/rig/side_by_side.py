"""Every contestant in turn, round after round, so that the machine's moods hit all alike; medians over the rounds."""

import statistics
from collections import defaultdict
from typing import Any

from rig.contestants import floor
from rig.processes import Server, ask
from rig.world import World

CONNECTIONS = (1, 8, 32)
SLOW_MS = 40.0  # a contestant slower than this is asked for longer


MEDIANS = ("p50_ms", "p99_ms", "rps", "client_us", "answer_bytes", "p50_x", "rps_x")


def _median(rounds: list[dict[str, Any]]) -> dict[str, float]:
    found = {name: statistics.median(each[name] for each in rounds) for name in MEDIANS}
    return found | {name: sum(each[name] for each in rounds) for name in ("sent", "whole")}


def measure(
    world: World, trees: int, servers: list[Server], rounds: int, seconds: float, connections: tuple[int, ...]
) -> dict[str, Any]:
    """Percentiles and throughput of the floor and of each server.

    Returns:
        `floor` with its own numbers, and each server's name with numbers by connections; `p50_x` and
        `rps_x` are times the floor of the same round.
    """
    floors: list[dict[str, Any]] = []
    seen: dict[str, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    pace = {server.name: ask(server.job(seconds / 2, warmup_s=0.0, least=3))["p50_ms"] for server in servers}
    for turn in range(rounds):
        floors.append(floor(world, trees, seconds / 2))
        for count in connections:
            for server in servers if turn % 2 == 0 else reversed(servers):
                slow = pace[server.name] > SLOW_MS
                if slow and turn and count > 1:
                    continue  # one round says enough of a queue of seconds
                long = max(seconds, count * pace[server.name] / 1e3) if slow else seconds
                found = ask(server.job(long, count, least=3 * count))
                found["p50_x"] = found["p50_ms"] / floors[-1]["p50_ms"]
                found["rps_x"] = found["rps"] / floors[-1]["rps"]
                seen[server.name][count].append(found)
    names = ("p50_ms", "p90_ms", "p99_ms", "rps")
    base = {name: statistics.median(each[name] for each in floors) for name in names}
    by_name = {name: {str(count): _median(each) for count, each in by_count.items()} for name, by_count in seen.items()}
    return {"floor": base, **by_name}
