"""`mlsd data`: read or make the tables, check the contract, write them and the traffic to send."""

import json
import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from mlsd.core import clock
from mlsd.core.home import Home, replacing
from mlsd.core.result import Check, StepResult
from mlsd.data.live import save_live
from mlsd.data.mapped import hold_back, read_tables
from mlsd.data.storage import TABLE_NAMES, digest, save_tables
from mlsd.design.design import Design
from mlsd.design.sources import SYNTHETIC, remember, resolve
from mlsd.problem.context import Context
from mlsd.problem.names import require_known_names
from mlsd.problem.problem import Problem
from mlsd.problem.tables import Tables

if TYPE_CHECKING:
    import pandas as pd


def _world_end(tables: Tables) -> datetime:
    """The first full hour after everything in the tables."""
    columns = (
        tables.users["created_at"],
        tables.items["created_at"],
        tables.impressions["at"],
        tables.engagements["at"],
    )
    newest: pd.Timestamp = max(column.max() for column in columns if len(column))
    return newest.ceil("h").to_pydatetime()


def write_traffic(home: Home, name: str, requests: "pd.DataFrame") -> None:
    """One request body a line, as JSON."""
    rows = requests[["user_id", "candidates", "device"]].to_dict("records")
    with replacing(home.data / f"{name}.jsonl") as temporary:
        lines = (json.dumps(row, separators=(",", ":")) for row in rows)
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _checks(design: Design, rows: int, days: float, rate: float, rules: int) -> list[Check]:
    wanted = design.data
    return [
        Check(name="data contract", designed=f"{rules} rules", measured="all hold", passed=True),
        Check(
            name="history",
            designed=f">= {wanted.min_history_days} days",
            measured=f"{days:.1f} days",
            passed=days >= wanted.min_history_days - 0.5,
        ),
        Check(name="rows", designed=f">= {wanted.min_rows:,}", measured=f"{rows:,}", passed=rows >= wanted.min_rows),
        Check(name="labels of both kinds", designed="0 % < rate < 100 %", measured=f"{rate:.2%}", passed=0 < rate < 1),
    ]


def _read(design: Design, problem: Problem) -> tuple[Tables, Tables | None]:
    """(history, held-back rows if the source has any), contract checked."""
    mapped = design.data.source != SYNTHETIC
    tables = read_tables(design) if mapped else problem.synthesise(design)
    problem.contract(design).check(tables)
    return hold_back(tables, design.data.live_share) if mapped else (tables, None)


def _known_to_traffic(tables: Tables, live: Tables | None) -> Tables:
    """Every user and item, and of the requests those held back, if any are."""
    import pandas as pd

    if live is None or live.impressions.empty:
        return tables
    users, items = (pd.concat([getattr(tables, name), getattr(live, name)]) for name in ("users", "items"))
    return Tables(users, items, live.impressions, live.engagements)


def _set_aside(folder: Path) -> None:
    """What was served is never deleted: the log of the world before is renamed to `feature_log.1`, `.2` and so on."""
    if folder.exists() and any(folder.iterdir()):
        number = next(n for n in range(1, 10_000) if not folder.with_name(f"{folder.name}.{n}").exists())
        folder.rename(folder.with_name(f"{folder.name}.{number}"))


def _save(design: Design, context: Context, tables: Tables, live: Tables | None) -> None:
    """A new world replaces the old one with everything that was computed from it; it is complete before it does."""
    home, problem = context.home, context.problem
    with tempfile.TemporaryDirectory(dir=home.root, prefix=".new-") as folder:
        new = Home(Path(folder))
        save_tables(new, tables)
        if live is not None:
            save_live(new, live)
        for name, shifted in (("traffic", False), ("traffic_shifted", True)):
            write_traffic(new, name, problem.traffic(_known_to_traffic(tables, live), design, shifted=shifted))
        remember(design, new)
        if home.data.exists():
            home.data.rename(new.root / "before")
        new.data.rename(home.data)
    _set_aside(home.feature_log)
    shutil.rmtree(home.batch, ignore_errors=True)
    clock.set_world_time(_world_end(tables))


def run(context: Context, path: Path | None = None) -> StepResult:
    """Write tables, traffic and the world's clock.

    Args:
        context: the design as it lies in design.yaml; `data.source` picks the synthetic world or a mapping.
        path: folder of the user's own files; overrides `data.path`.

    Raises:
        UserError: a file is missing or not readable, or the data breaks its contract; nothing is written. Nor is it
            when a check fails.
    """
    home, problem = context.home, context.problem
    design = resolve(context.declared, path)
    require_known_names(design, problem)
    tables, live = _read(design, problem)
    result = _judged(design, problem, tables, live)
    if not result.passed:
        said = f"{result.summary}; nothing was written: what lay there before is as it was"
        return result.model_copy(update={"summary": said})
    home.root.mkdir(parents=True, exist_ok=True)
    _save(design, context, tables, live)
    return result.model_copy(update={"details": result.details | {"digest": digest(home)}, "at": clock.now()})


def _judged(design: Design, problem: Problem, tables: Tables, live: Tables | None) -> StepResult:
    """What the tables hold, against what the design asks for."""
    matured = _world_end(tables) + timedelta(hours=design.label.maturity_h)
    labels = problem.labels(tables, design, matured)
    at = tables.impressions["at"]
    days = (at.max() - at.min()).total_seconds() / 86400
    rate = float(labels["label"].mean())
    counts: dict[str, JsonValue] = {name: len(getattr(tables, name)) for name in TABLE_NAMES}
    summary = (
        f"{design.data.source}: {counts['users']:,} users, {counts['items']:,} items, "
        f"{len(labels):,} rows, {rate:.1%} positive"
    )
    details: dict[str, JsonValue] = {
        "source": design.data.source,
        "counts": counts,
        "requests": int(tables.impressions["request_id"].nunique()),
        "span": [at.min().isoformat(), at.max().isoformat()],
        "label_rate": rate,
        "held_back_requests": 0 if live is None else int(live.impressions["request_id"].nunique()),
    }
    checks = _checks(design, len(labels), days, rate, problem.contract(design).rules)
    return StepResult(step="data", summary=summary, checks=checks, details=details, at=clock.now())
