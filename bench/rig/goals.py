"""The numbers to reach, what was known before, what was measured: one row each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """One row of the table; `read` gives what was measured and whether it is enough, from the results."""

    measure: str
    known: str
    reach: str
    read: Callable[[Results], tuple[str, bool]]


def _most(value: float, limit: float, shown: str) -> tuple[str, bool]:
    return shown, value <= limit


def _least(value: float, limit: float, shown: str) -> tuple[str, bool]:
    return shown, value >= limit


def _at(found: Results, trees: int, name: str, connections: int = 1) -> Any:
    rank = sorted(found["side_by_side"], key=int)[0 if trees == 100 else -1]
    table = found["side_by_side"][rank]
    return table[name.format(rank)][str(connections)] if name != "floor" else table["floor"]


def _native(found: Results) -> tuple[str, bool]:
    names = ("ours-lightgbm-{}", "ours-lightgbm-{}-of-2", "bentoml_memory")
    ours, single, plain = (_at(found, 100, name)["p50_x"] for name in names)
    shown = f"{ours:.2f} x (100 trees; {single:.2f} x on one core); plain BentoML here {plain:.2f} x"
    return _most(ours, 1.4, shown)


def _compiled(found: Results) -> tuple[str, bool]:
    few, many = (_at(found, trees, "ours-lleaves-{}")["p50_x"] for trees in (100, 500))
    return f"{few:.2f} x at 100 trees, {many:.2f} x at 500", few <= 0.8 and many <= 0.35


def _quick_start(found: Results) -> tuple[str, bool]:
    slow = _at(found, 100, "bentoml_feast")["p50_ms"]
    ours = {name: _at(found, 100, f"ours-{name}-{{}}")["p50_ms"] for name in ("lleaves", "lightgbm")}
    shown = ", ".join(f"{slow / each:.0f} x ({name})" for name, each in ours.items())
    return _least(slow / ours["lleaves"], 100, f"{slow:.0f} ms: {shown}")


def _throughput(found: Results) -> tuple[str, bool]:
    plain = _at(found, 100, "bentoml_memory", 8)["rps"]
    ours = {name: _at(found, 100, f"ours-{name}-{{}}", 8)["rps"] for name in ("lleaves", "lightgbm")}
    shown = ", ".join(f"{each:.0f}/s = {each / plain:.2f} x ({name})" for name, each in ours.items())
    return _least(ours["lleaves"] / plain, 2.0, f"{shown}; plain {plain:.0f}/s")


def _log(found: Results) -> tuple[str, bool]:
    log = found["feature_log"]
    good = log["on_against_off"] >= 0.9 and log["bytes_a_request"] <= 8_000 and log["exact"] == log["replayed"] > 0
    shown = f"{log['on_against_off']:.2f} x, {log['bytes_a_request']:.0f} B a request"
    return f"{shown}, {log['exact']:,} of {log['replayed']:,} replayed to the bit", good


def _read(found: Results) -> tuple[str, bool]:
    lite, redis = (found["feature_read"][store]["ours"]["p99_ms"] for store in ("sqlite", "redis"))
    return f"{lite:.2f} ms SQLite, {redis:.2f} ms Redis", lite <= 1.0 and redis <= 1.5


def _calm(found: Results) -> tuple[str, bool]:
    load = found["overload"]
    calm = load["at_70"]["answered"]["p99_ms"]
    return _most(calm, 15, f"{calm:.1f} ms at {0.7 * load['knee_rps']:.0f}/s of {load['knee_rps']:.0f}")


def _flood(found: Results) -> tuple[str, bool]:
    flood, most = found["overload"]["at_300"], found["overload"]["designed_ms"]
    p99, goodput = flood["answered"]["p99_ms"], flood["goodput_of_knee"]
    return f"admitted p99 {p99:.0f} ms (design {most:.0f}), goodput {goodput:.0%}", p99 <= most and goodput >= 0.8


def _footprint(found: Results) -> tuple[str, bool]:
    size = found["footprint"]
    shown = f"{size['ready_s']:.1f} s, {size['rss_mb']:.0f} MB"
    return shown, size["ready_s"] <= 5 and size["rss_mb"] <= 260


def _store(found: Results) -> tuple[str, bool]:
    drill = found["store_drill"]
    back = max(drill["back_after_freeze_s"], drill["back_after_kill_s"])
    shown = (
        f"{drill['errors_5xx']} 5xx of {drill['requests']:,}, features hop p99 {drill['features_hop']['p99_ms']:.1f}"
    )
    shown += f" and at most {drill['features_hop']['max_ms']:.1f} ms (deadline {drill['deadline_ms']:.0f}), back in"
    good = drill["errors_5xx"] == 0 and drill["features_hop"]["p99_ms"] <= drill["deadline_ms"] * 1.2 and back <= 5
    return f"{shown} {drill['back_after_freeze_s']:.1f} and {drill['back_after_kill_s']:.1f} s", good


def _worker(found: Results) -> tuple[str, bool]:
    drill = found["worker_drill"]
    return _least(drill["answered"], 0.999, f"{drill['answered']:.4f} of {drill['requests']:,}")


def _swap(found: Results) -> tuple[str, bool]:
    drill = found["swap_drill"]
    all_ms, inside_ms, steady_ms = (drill[f"{name}p99_ms"] for name in ("whole_", "", "steady_"))
    shown = f"{drill['errors']} of {drill['requests']:,}, p99 of all {all_ms:.1f} ms, steady {steady_ms:.1f}"
    shown += f" ({all_ms / steady_ms:.2f} x; {inside_ms:.1f} ms in the seconds of a swap)"
    good = drill["errors"] == 0 and drill["requests"] >= 10_000 and all_ms <= 2 * steady_ms
    return shown, good


def _batch(found: Results) -> tuple[str, bool]:
    batch = found["batch"]
    shown = f"{batch['scores_a_second'] / 1e6:.2f} million, {batch['peak_mb']:.0f} MB at most"
    return shown, batch["scores_a_second"] >= 1e6 and batch["peak_mb"] <= 1000


GOALS = (
    Goal(
        "p50, one connection, LightGBM engine, against the floor",
        "plain BentoML without a store or a log 1.18 x",
        "<= 1.4 x",
        _native,
    ),
    Goal(
        "p50, one connection, compiled engine, against the floor",
        "lleaves alone 0.19 x",
        "<= 0.8 x at 100 trees, <= 0.35 x at 500",
        _compiled,
    ),
    Goal("p50 against the quick start way (Feast SDK + BentoML)", "150 ms", ">= 100 x faster", _quick_start),
    Goal("requests/s, one worker, 8 connections, against plain BentoML", "511/s", ">= 2 x", _throughput),
    Goal(
        "the same with the feature log on, against off",
        "a Parquet thread in the worker: 0.29 x",
        ">= 0.9 x, <= 8 kB stored a request, exact replay",
        _log,
    ),
    Goal(
        "features hop, 1 user + 500 items, p99",
        "Feast SDK 282 ms (SQLite), 228 (Redis); store itself 19 / 13",
        "<= 1 ms SQLite, <= 1.5 ms Redis",
        _read,
    ),
    Goal(
        "open loop at 70 % of the measured knee, p99 from schedule",
        "plain BentoML 61 ms at 300/s of 350",
        "<= 15 ms",
        _calm,
    ),
    Goal(
        "three times the knee",
        "queue grows to 8 s",
        "admitted p99 <= the design's, goodput >= 80 % of the knee",
        _flood,
    ),
    Goal(
        "ready after start; memory of a worker with 100,000 items",
        "7.9 s, 401 MB (17 s with MLflow imported)",
        "<= 5 s, <= 260 MB",
        _footprint,
    ),
    Goal(
        "Redis frozen or killed under load",
        "SDK hangs > 60 s",
        "0 5xx, features hop at its deadline, back within 5 s",
        _store,
    ),
    Goal("one worker SIGKILLed under load", "12.5 s outage", ">= 0.999 of requests answered", _worker),
    Goal(
        "model swap under load",
        "0 errors of 8,000",
        "0 of >= 10,000, p99 not above twice the steady one",
        _swap,
    ),
    Goal("batch: scores a second on 2 cores", "-", ">= 1,000,000, <= 1 GB", _batch),
)
