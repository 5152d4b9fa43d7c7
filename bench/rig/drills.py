"""Under load: the online store frozen and killed, a worker killed, the release swapped."""

import signal
import time
from typing import Any

from mlsd.design.design import load_design
from rig.client import percentiles
from rig.contestants import ours
from rig.edge import edge
from rig.processes import Asking, ask
from rig.redis_store import redis
from rig.world import World

IN_A_ROW = 10


def _back(timeline: list[list[float]], moment: float) -> float:
    """Seconds from `moment` until answers are whole again and stay so; infinity when they never are."""
    row, first = 0, 0.0
    for due, _, _, whole in timeline:
        if due < moment:
            continue
        first = due if whole and not row else first
        row = row + 1 if whole else 0
        if row >= IN_A_ROW:
            return first - moment
    return float("inf")


def _until(start: float, moment: float) -> None:
    time.sleep(max(0.0, start + moment - time.perf_counter()))


def store(world: World, engine: str, rate: float, phase_s: float) -> dict[str, Any]:
    """Redis frozen, let go, killed, started again, `phase_s` seconds each, while `rate` requests a second come in."""
    with (
        redis(world) as server,
        ours(world, min(world.size.trees), engine, redis_url=server.url) as service,
    ):
        ask(service.job(1.0, 2))
        frozen, thawed = phase_s, 2 * phase_s
        killed, end = 3.5 * phase_s, 6.5 * phase_s
        asking = Asking(service.job(end, 64, rate=rate, timeline=True, hops=True, warmup_s=0.0, reconnect=True))
        start = asking.started + 0.15  # its imports; a tenth of a second does not matter to seconds
        _until(start, frozen)
        server.signal(signal.SIGSTOP)
        _until(start, thawed)
        server.signal(signal.SIGCONT)
        _until(start, killed)
        server.signal(signal.SIGKILL)
        _until(start, killed + phase_s)
        server.start()
        again = time.perf_counter() - start
        found = asking.result()
    timeline, deadline_ms = found["timeline"], load_design(world.design()).latency.hops_ms.features
    gone = [took / 1e3 for due, took, *_ in timeline if frozen <= due < thawed or killed <= due < again]
    return {
        "requests": found["sent"],
        "statuses": found["statuses"],
        "errors_5xx": sum(count for status, count in found["statuses"].items() if status[0] in "05"),
        "deadline_ms": deadline_ms,
        "features_hop": found["hops"]["features"],
        "while_gone": percentiles(gone),
        "back_after_freeze_s": _back(timeline, thawed),
        "back_after_kill_s": _back(timeline, again),
    }


def worker(world: World, engine: str, rate: float, seconds: float) -> dict[str, Any]:
    """One of two workers killed with SIGKILL in the middle of the load."""
    with edge(world, engine, workers=2) as stack:
        ask(stack.job(1.0, 4))
        before = stack.workers()
        asking = Asking(stack.job(seconds, 32, rate=rate, reconnect=True))
        time.sleep(seconds / 3)
        before[0].kill()
        found = asking.result()
        after = stack.workers()
    return {
        "requests": found["sent"],
        "statuses": found["statuses"],
        "answered": found["statuses"].get("200", 0) / max(found["sent"], 1),
        "degraded": found["degraded"],
        "workers": [len(before), len(after)],
        "p99_ms": found["any"]["p99_ms"],
        "max_ms": found["any"]["max_ms"],
    }


def swap(world: World, engine: str, rate: float, requests: int, swaps: int = 2) -> dict[str, Any]:
    """The next release takes over, slot by slot, while `rate` requests a second come in."""
    seconds = requests / rate + 1.0
    with edge(world, engine, workers=1) as stack:
        ask(stack.job(2.0, 4))
        asking = Asking(stack.job(seconds, 64, rate=rate, reconnect=True, timeline=True))
        for number in range(swaps):
            _until(asking.started, seconds * (number + 0.5) / swaps)
            stack.swap(number + 2)
        found = asking.result()
        stretches = [(begin - asking.started, end - asking.started + 1.0) for begin, end in stack.stretches]
    inside: list[float] = []
    outside: list[float] = []
    for due, took, *_ in found["timeline"]:
        (inside if any(begin <= due < end for begin, end in stretches) else outside).append(took / 1e3)
    return {
        "requests": found["sent"],
        "errors": found["sent"] - found["statuses"].get("200", 0),
        "statuses": found["statuses"],
        "degraded": found["degraded"],
        "swaps": swaps,
        "steady_p99_ms": percentiles(outside)["p99_ms"],
        "p99_ms": percentiles(inside)["p99_ms"],
        "max_ms": percentiles(inside)["max_ms"],
        "whole_p99_ms": percentiles(inside + outside)["p99_ms"],
    }
