"""RESULTS.md: what was reached and everything that was measured, written by the command and by nothing else."""

import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from rig.goals import GOALS, Results
from rig.world import Size

PACKAGES = ("lightgbm", "lleaves", "onnxruntime", "bentoml", "fastapi", "feast", "mlflow", "redis", "numpy", "uvicorn")
NAMES = {
    "bentoml_memory": "plain BentoML, features in memory, no log",
    "bentoml_feast": "plain BentoML + Feast SDK (SQLite)",
    "fastapi_feast": "FastAPI + Feast SDK (SQLite)",
    "mlflow_model": "`mlflow models serve`, ids in, features in memory",
}


def machine() -> str:
    """Processor, cores, memory, Python."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = models[0] if models else platform.processor()
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{name}, {psutil.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"
    )


def judged(found: Results) -> list[tuple[str, str, str, str, str]]:
    """Measure, known, reach, measured, verdict of every goal."""
    rows = []
    for goal in GOALS:
        try:
            shown, met = goal.read(found)
            verdict = "met" if met else "**missed**"
        except (KeyError, ZeroDivisionError) as error:
            shown, verdict = f"not measured ({error})", "**not measured**"
        rows.append((goal.measure, goal.known, goal.reach, shown, verdict))
    return rows


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _name(server: str) -> str:
    if server in NAMES:
        return NAMES[server]
    _, engine, kind = server.split("-", 2)
    return f"ours, {engine}{', one core of two' if kind.endswith('-of-2') else ''}"


def _cells(by_count: dict[str, Any]) -> list[str]:
    cells = []
    for count in ("1", "8", "32"):
        found = by_count.get(count)
        if found is None:
            cells += ["", "", ""]
            continue
        cells += [
            f"{found['p50_ms']:.2f} ({found['p50_x']:.2f} x)",
            f"{found['p99_ms']:.2f}",
            f"{found['rps']:.0f} ({found['rps_x']:.2f} x)",
        ]
    return cells


def _side_by_side(trees: str, found: dict[str, Any]) -> str:
    heads = ["", *(f"{count} conn: {what}" for count in (1, 8, 32) for what in ("p50 ms", "p99 ms", "req/s"))]
    base = found["floor"]
    rows = [["floor: `Booster.predict` alone", f"{base['p50_ms']:.2f}", f"{base['p99_ms']:.2f}", f"{base['rps']:.0f}"]]
    rows[0] += [""] * 6
    rows += [[_name(name), *_cells(by_count)] for name, by_count in found.items() if name != "floor"]
    cost = [each["1"]["client_us"] for name, each in found.items() if name != "floor" and "1" in each]
    said = f"The client takes {min(cost):.0f} to {max(cost):.0f} us of processor time a request.\n" if cost else ""
    return f"### {trees} trees\n\n{table(heads, rows)}\n{said}"


def _reads(found: dict[str, Any]) -> str:
    rows = []
    for store, seen in found.items():
        sdk = seen["sdk"]
        kinds = (("ours, in the server", seen["ours"]), ("SDK, one call", sdk["one_call"]))
        for name, each in (*kinds, ("SDK, user + items", sdk["two_calls"])):
            against = f"{each['p50_ms'] / seen['ours']['p50_ms']:.0f} x"
            rows.append([store, name, f"{each['p50_ms']:.2f}", f"{each['p99_ms']:.2f}", against])
    return table(["store", "read", "p50 ms", "p99 ms", "p50 against ours"], rows)


def _merging(found: dict[str, Any]) -> str:
    rows = []
    for engine, by_count in found.items():
        best = min(by_count.values())
        gain = 1 - best / by_count["1"]
        rows.append([engine, *(f"{value:.3f}" for value in by_count.values()), f"{gain:.0%}"])
    heads = ["engine", *(f"{count} merged: ms a request" for count in next(iter(found.values()))), "most that it saves"]
    return table(heads, rows)


def _section(title: str, text: str, content: str) -> str:
    return f"## {title}\n\n{text}\n\n{content}\n"


def _rest(found: Results) -> str:
    parts = []
    if "feature_read" in found:
        text = "One user and 500 items. Ours is the features hop as the server's `Server-Timing` says it, under load."
        parts.append(_section("Feature read", text, _reads(found["feature_read"])))
    if "merging" in found:
        text = (
            "Whether waiting requests should be scored in one call. What the call alone saves is the most that "
            "adaptive batching could win, and a request would wait for the others first: it is off."
        )
        parts.append(_section("Adaptive batching", text, _merging(found["merging"])))
    plain = ("overload", "feature_log", "footprint", "store_drill", "worker_drill", "swap_drill", "batch")
    rows = [[name, key, _plain(value)] for name in plain if name in found for key, value in found[name].items()]
    parts.append(_section("Everything else, as measured", "", table(["part", "what", "value"], rows)))
    return "\n".join(parts)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}"
    if isinstance(value, list):
        return "; ".join(map(_plain, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
    return f"{value:,}" if isinstance(value, int) else str(value)


def render(found: Results, failed: dict[str, str], size: Size, seconds: float) -> str:
    """The whole file."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    rows = judged(found)
    met = sum(row[-1] == "met" for row in rows)
    text = [
        "# Serving, side by side\n",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC in {seconds / 60:.0f} minutes. "
        "Times differ between machines; compare the ratios.\n",
        f"- machine: {machine()}",
        f"- versions: {versions}",
        f"- world: {size.items:,} items x 20 features, {size.users:,} users x 30, a matrix of "
        f"{size.candidates} x 40, {' and '.join(map(str, size.trees))} trees of 31 leaves",
        "- the floor is `Booster.predict(num_threads=1)` alone in a process, on the matrices that the servers assemble",
        "- ours is the template's own server: schema, user row from the store, item rows, predict, sort, feature log "
        "and metrics on; one worker, which uses both cores (LightGBM also for a single request). Nothing is shed, "
        "pruned or cached but at three times the knee, and only whole answers count",
        "- the knee is that of one of two workers, with the one core that is its share; the other core is the client's",
        "- one client for all: raw keep-alive sockets in a process of its own, 64 different requests in turn\n",
        f"## Numbers to reach: {met} of {len(rows)} met\n",
        table(["measure", "known", "reach", "measured", ""], rows),
    ]
    if failed:
        text.append("## Not measured\n\n" + "\n".join(f"- {name}: {why}" for name, why in failed.items()) + "\n")
    text.append("## Side by side\n\nIn brackets: times the floor of the same round. Medians over interleaved rounds.\n")
    text += [_side_by_side(trees, each) for trees, each in found.get("side_by_side", {}).items()]
    text.append(_rest(found))
    return "\n".join(text).rstrip() + "\n"
