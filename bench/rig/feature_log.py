"""The feature log on against off, what it stores for a request, and whether every record replays to its scores."""

import statistics
from pathlib import Path
from typing import Any

from bench_pack.problem import PROBLEM
from mlsd.core.home import Home
from mlsd.prediction_log.framing import ReadCount
from mlsd.prediction_log.writer import read_records
from mlsd.serving.inference.replay import replay, snapshots
from rig.contestants import ours
from rig.processes import ask
from rig.world import World

REPLAYED = 2_000


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _replayed(home: Home) -> dict[str, int]:
    """Of the newest records, how many give the same scores again, bit for bit."""
    count, load = ReadCount(), snapshots(home)
    newest = list(read_records(home.feature_log, count=count))[-REPLAYED:]
    exact = sum(bool((replay(home, PROBLEM, each, load) == each.scores).all()) for each in newest)
    return {"records": count.records, "torn": count.torn, "replayed": len(newest), "exact": exact}


def measure(world: World, engine: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Throughput at 8 connections with and without the log, in turn; bytes of a request; replay."""
    trees, home = min(world.size.trees), world.home
    for old in home.feature_log.rglob("*"):
        if old.is_file():
            old.unlink()
    with ours(world, trees, engine, slot="a") as on, ours(world, trees, engine, slot="b", log=False) as off:
        for server in (on, off):
            ask(server.job(1.0, 8))
        pairs = []
        for turn in range(rounds):
            order = (on, off) if turn % 2 == 0 else (off, on)
            seen = {server.name: ask(server.job(seconds, 8)) for server in order}
            pairs.append((seen[on.name], seen[off.name]))
    # The servers are stopped: everything they logged is written.
    found = _replayed(home)
    ratios = [a["rps"] / b["rps"] for a, b in pairs]
    return {
        "engine": engine,
        "on_rps": statistics.median(a["rps"] for a, _ in pairs),
        "off_rps": statistics.median(b["rps"] for _, b in pairs),
        "on_against_off": statistics.median(ratios),
        "bytes_a_request": _bytes(home.feature_log) / max(found["records"], 1),
        **found,
    }
