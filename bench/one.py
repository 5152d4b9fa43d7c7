"""One measurement: the floor, then ours, at 1, 8 and 32 connections.

python bench/one.py [--trees 100] [--engine lightgbm] [--connections 1 8 32] [--seconds 4] [--log on|off] [--rounds 1]
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from rig.contestants import floor, ours
from rig.processes import ask
from rig.world import FULL, world


def main() -> None:
    """Parse, measure, print."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # unwinds every `with`
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(os.environ.get("BENCH_FOLDER", ".build/bench")))
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--engine", default="lightgbm")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--log", choices=["on", "off"], default="on")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--wait", action="store_true", help="only serve: print the port and wait for a signal")
    parser.add_argument("--floor", action="store_true", help="only the floor")
    asked = parser.parse_args()
    made = world(asked.folder.absolute(), Path(os.environ["MLSD_DESIGN"]), FULL)
    if asked.floor:
        print(floor(made, asked.trees, asked.seconds))
        return
    with ours(made, asked.trees, asked.engine, log=asked.log == "on", workers=asked.workers) as server:
        pids = " ".join(str(each.pid) for each in server.processes())
        print(f"{server.name}: port {server.port}, pids {pids}, log {server.log}, ready {server.ready_s:.1f} s")
        if asked.wait:
            server.process.wait()
        ask(server.job(1.0, 4))
        for _ in range(asked.rounds):
            base = floor(made, asked.trees, asked.seconds / 2)
            print(f"floor  p50 {base['p50_ms']:.3f}  p99 {base['p99_ms']:.3f} ms  {base['rps']:.0f}/s")
            for connections in asked.connections:
                seen = ask(server.job(asked.seconds, connections, hops=True))
                print(
                    f"{connections:3d} conn  p50 {seen['p50_ms']:.3f} ({seen['p50_ms'] / base['p50_ms']:.2f} x floor)  "
                    f"p99 {seen['p99_ms']:.2f} ms  {seen['rps']:.0f}/s ({seen['rps'] / base['rps']:.2f} x floor)  "
                    f"{seen['statuses']}  whole {seen['whole']}/{seen['sent']}  client {seen['client_us']:.0f} us, "
                    f"{seen['answer_bytes']:.0f} B"
                )
                print("          p50 of hops:", {name: round(hop["p50_ms"], 3) for name, hop in seen["hops"].items()})
        print(f"RSS {server.rss_mb():.0f} MB")


if __name__ == "__main__":
    main()
