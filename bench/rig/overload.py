"""The knee of one of the workers of a shipped server, and what happens at 70 % of it and at three times it. Open loop.

The other worker's core is the client's: a client that competes with what it measures delays both.
"""

from typing import Any

from mlsd.design.design import load_design
from rig.contestants import UNSHED, ours
from rig.processes import Server, ask
from rig.world import World

POOL = 128  # connections of the open loop
KEPT = 0.98  # a rate is sustained when so much of it is answered
CALM_MS = 100.0  # ... and the last answers are not later than this: the queue does not grow


def _sustained(found: dict[str, Any], rate: float, seconds: float) -> bool:
    late = [took for due, took, *_ in found["timeline"] if due > seconds * 0.6]
    answered = found["whole"] / (rate * (seconds - found["warmup_s"]))
    return bool(late) and answered >= KEPT and sorted(late)[len(late) // 2] <= CALM_MS


def knee(server: Server, seconds: float, start: float) -> tuple[float, list[dict[str, float]]]:
    """The highest rate that is answered as fast as it comes, to 3 %, and the rates tried."""
    low, high = 0.0, 0.0
    tried: list[dict[str, float]] = []
    rate = start
    while not (high and low and high / low < 1.03) and len(tried) < 9:
        warmup = seconds / 5
        found = ask(server.job(seconds - warmup, POOL, rate=rate, timeline=True, warmup_s=warmup))
        found["warmup_s"] = warmup
        good = _sustained(found, rate, seconds)
        tried.append({"rate": rate, "p99_ms": found.get("p99_ms", 0.0), "rps": found["rps"], "sustained": float(good)})
        low, high = (rate, high) if good else (low, rate)
        rate = (low + high) / 2 if low and high else (rate * 1.15 if good else rate * 0.85)
    return low, tried


def _summary(found: dict[str, Any]) -> dict[str, Any]:
    names = ("sent", "statuses", "whole", "degraded", "rps", "p50_ms", "p99_ms", "answered", "lag_p99_ms")
    return {name: found[name] for name in names if name in found}


def measure(world: World, engine: str, seconds: float) -> dict[str, Any]:
    """The knee without protection; then, protected as designed, 70 % and three times of it."""
    trees, of = min(world.size.trees), load_design(world.described).serving.workers
    with ours(world, trees, engine, of=of, **UNSHED) as server:
        ask(server.job(1.0, 8))
        rate, tried = knee(server, seconds / 2, ask(server.job(seconds / 4, 8))["rps"])
        unshed = ask(server.job(seconds, POOL, rate=0.7 * rate, warmup_s=1.0))
    # 64 requests in turn would all be remembered: the cache stays out, admission and pruning are as designed.
    with ours(world, trees, engine, of=of, shed=True, popular_cache__when="never") as server:
        ask(server.job(1.0, 4))
        calm = ask(server.job(seconds, POOL, rate=0.7 * rate, warmup_s=1.0))
        flood = ask(server.job(seconds, 4 * POOL, rate=3.0 * rate, warmup_s=1.0, reconnect=True))
    scored = flood["whole"] + flood["degraded"].get('"pruned"', 0)  # popular or remembered answers do not count
    return {
        "engine": engine,
        "knee_rps": rate,
        "designed_ms": load_design(world.design()).latency.service_ms,
        "tried": tried,
        "at_70_unprotected": _summary(unshed),
        "at_70": _summary(calm),
        "at_300": _summary(flood) | {"goodput_rps": scored / seconds, "goodput_of_knee": scored / seconds / rate},
    }
