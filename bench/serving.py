"""Serving against the floor and against what its parts' documentation leads to, written to bench/RESULTS.md.

python bench/serving.py [--quick] [--folder .build/bench] [--output bench/RESULTS.md] [--only PART ...]
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import mlsd
from rig import drills, feature_log, feature_read, footprint, overload, side_by_side
from rig.contestants import bodies, floor, ours, plain
from rig.processes import child
from rig.results import judged, render
from rig.world import FULL, QUICK, World, world

ROOT = Path(__file__).resolve().parents[1]
COMPILED = "lleaves"
ENGINES = ("lightgbm", COMPILED, "onnx")


@dataclass(frozen=True)
class Pace:
    """How long each part measures: seconds of one job, rounds, calls, requests."""

    seconds: float
    rounds: int
    reads: int
    swapped: int
    pooled: int
    starts: int
    phase_s: float
    others: tuple[str, ...]


OTHERS = ("bentoml_memory", "bentoml_feast", "fastapi_feast", "mlflow_model")
SLOWLY = Pace(2.0, rounds=3, reads=120, swapped=10_500, pooled=2_000, starts=3, phase_s=4.0, others=OTHERS)
QUICKLY = Pace(0.3, rounds=1, reads=3, swapped=200, pooled=200, starts=1, phase_s=1.0, others=OTHERS[:2])


def _side_by_side(made: World, pace: Pace) -> dict[str, Any]:
    found = {}
    for trees in made.size.trees:
        first = trees == min(made.size.trees)
        with ExitStack() as stack:
            engines = ENGINES if first else ENGINES[:2]
            servers = [stack.enter_context(ours(made, trees, engine)) for engine in engines]
            servers += [stack.enter_context(ours(made, trees, ENGINES[0], of=2))] if first else []
            others = pace.others if first else pace.others[:1]
            servers += [stack.enter_context(plain(made, kind, trees)) for kind in others]
            counts = side_by_side.CONNECTIONS if first else side_by_side.CONNECTIONS[:2]
            found[str(trees)] = side_by_side.measure(made, trees, servers, pace.rounds, pace.seconds, counts)
    return found


def _release(made: World) -> str:
    return made.release(min(made.size.trees)).model_dump_json()


def _merging(made: World, pace: Pace) -> dict[str, Any]:
    floor(made, min(made.size.trees), 0.1)  # lays down the matrices
    found: dict[str, Any] = child(["rig.merging", str(made.home.root), _release(made), *ENGINES])
    return found


def _batch(made: World, pace: Pace) -> dict[str, Any]:
    most = min(made.size.items, pace.pooled)
    design = made.design(batch={"items": most, "pool": min(500, most), "top": 50})
    found: dict[str, Any] = child(["rig.batch_run", str(made.home.root), str(design), _release(made), COMPILED])
    return found


PARTS: dict[str, Callable[[World, Pace], dict[str, Any]]] = {
    "footprint": lambda made, pace: footprint.measure(made, COMPILED, pace.starts),
    "side_by_side": _side_by_side,
    "feature_log": lambda made, pace: feature_log.measure(made, COMPILED, 2 * pace.rounds, pace.seconds),
    "feature_read": lambda made, pace: feature_read.measure(made, 2 * pace.seconds, pace.reads),
    "merging": _merging,
    "overload": lambda made, pace: overload.measure(made, COMPILED, 4 * pace.seconds),
    "store_drill": lambda made, pace: drills.store(made, COMPILED, 100, pace.phase_s),
    "worker_drill": lambda made, pace: drills.worker(made, COMPILED, 200, 6 * pace.seconds),
    "swap_drill": lambda made, pace: drills.swap(made, COMPILED, 250, pace.swapped),
    "batch": _batch,
}


def measure(made: World, pace: Pace, wanted: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What each part found, and why a part found nothing."""
    found, failed = {}, {}
    for name in wanted:
        began = time.perf_counter()
        try:
            found[name] = PARTS[name](made, pace)
            said = "measured"
        except Exception as error:  # one part that cannot be measured must not hide the others
            failed[name] = f"{type(error).__name__}: {error}"
            said = failed[name]
        print(f"{name}: {said}, {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return found, failed


def _interrupted(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)  # unwinds every `with`, which ends every process


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether everything can be measured at all")
    parser.add_argument("--folder", type=Path, default=ROOT / ".build" / "bench")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "RESULTS.md")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), default=list(PARTS))
    return parser.parse_args()


def main() -> int:
    """Measure, print, write; 0 when everything could be measured, met or missed."""
    asked, began = _arguments(), time.perf_counter()
    signal.signal(signal.SIGTERM, _interrupted)
    own = [str(ROOT / "bench"), str(Path(mlsd.__file__).resolve().parents[1])]
    os.environ["PYTHONPATH"] = os.pathsep.join([*own, *filter(None, [os.environ.get("PYTHONPATH")])])
    described, size = Path(os.environ["MLSD_DESIGN"]).absolute(), QUICK if asked.quick else FULL
    made = world(asked.folder.absolute(), described, size)
    os.environ["MLSD_HOME"] = str(made.home.root)
    bodies(made)
    found, failed = measure(made, QUICKLY if asked.quick else SLOWLY, asked.only)
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(render(found, failed, size, time.perf_counter() - began), encoding="utf-8")
    raw = asked.folder / "results.json"
    raw.write_text(json.dumps({"found": found, "failed": failed}, indent=1), encoding="utf-8")
    for name, _, reach, shown, verdict in judged(found):
        print(f"{verdict.strip('*'):12} {name}: {shown} (to reach: {reach})")
    print(f"{asked.output}: written; raw numbers in {raw}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
