"""The training frame: labelled rows joined by Feast with the values that were stored at their time."""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from mlsd.core.errors import UserError
from mlsd.core.home import write_json
from mlsd.data.storage import digest, load_tables, write_frame
from mlsd.features.point_in_time import assemble_rows
from mlsd.features.repository.definitions import offline_folder
from mlsd.features.repository.store import open_store
from mlsd.problem.context import Context
from mlsd.problem.problem import Problem


def _code_digest(problem: Problem) -> str:
    total = hashlib.sha256()
    for path in sorted(problem.feature_repo.parent.rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()[:12]


def _identity(context: Context, now: datetime) -> dict[str, str]:
    design, home, problem = context.design, context.home, context.problem
    at = load_tables(home).impressions["at"]
    newest_mature = at[at <= now - timedelta(hours=design.label.maturity_h)].max()
    return {
        "tables_digest": digest(home),
        "design_digest": design.digest,
        "code_digest": _code_digest(problem),
        "labels_until": str(newest_mature),
    }


def _stored_identity(meta_path: Path, names: Iterable[str]) -> dict[str, Any]:
    try:
        known = json.loads(meta_path.read_text(encoding="utf-8"))
        return {name: known[name] for name in names}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return {}  # not there or damaged: the frame is joined anew


def build(context: Context, now: datetime) -> Path:
    """Write `training.parquet` unless the one that lies there was made from the same data, design and code.

    Raises:
        UserError: there is no matured label, `mlsd features` did not run, or the join lost a row.
    """
    design, home, problem = context.design, context.home, context.problem
    frame_path, meta_path = home.data / "training.parquet", home.data / "training.json"
    identity = _identity(context, now)
    if frame_path.exists() and _stored_identity(meta_path, identity) == identity:
        return frame_path
    if not offline_folder(home).exists():
        raise UserError(f"{offline_folder(home)}: not found; run `mlsd features` first")
    rows = problem.labels(load_tables(home), design, now)
    if rows.empty:
        raise UserError(f"no label is older than label.maturity_h {design.label.maturity_h:g}: nothing to train on yet")
    frame = assemble_rows(open_store(design, home), context, rows)
    meta_path.unlink(missing_ok=True)
    write_frame(home, "training", frame)
    window = [frame["at"].min().isoformat(), frame["at"].max().isoformat()]
    counts = {"rows": len(frame), "requests": frame["request_id"].nunique(), "positives": int(frame["label"].sum())}
    write_json(meta_path, {**identity, **counts, "window": window})
    return frame_path
