"""What the feature log needs is kept, the rest goes: log files by age, item snapshots by who names them."""

import contextlib
import json
import shutil
import time
from pathlib import Path

from mlsd.core.home import Home, write_json
from mlsd.prediction_log.search import named_snapshots
from mlsd.prediction_log.segments import DAY_S, delete_expired


def _remembered(path: Path) -> dict[str, tuple[int, list[str]]]:
    """Size of a log file when it was last read, and the snapshots it named."""
    with contextlib.suppress(FileNotFoundError, ValueError, TypeError, AttributeError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: (int(size), [*map(str, versions)]) for name, (size, versions) in found.items()}
    return {}


def _named_by_log(folder: Path) -> set[str]:
    """Versions named by any file of the log; a file that has not grown since the last time is not read again."""
    memory = folder / "snapshots.json"
    before, now = _remembered(memory), {}
    for path in folder.glob("*.log"):
        with contextlib.suppress(FileNotFoundError):
            size = path.stat().st_size
            known = before.get(path.name)
            now[path.name] = known if known and known[0] == size else (size, sorted(named_snapshots(path)))
    if now != before:
        write_json(memory, now)
    return {version for _, versions in now.values() for version in versions}


def _named_by_batch(home: Home) -> set[str]:
    """Versions that precomputed rankings rest on."""
    named = set()
    for meta in home.batch.glob("*/*/meta.json"):
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
            named.add(json.loads(meta.read_text(encoding="utf-8"))["snapshot_version"])
    return named


def _current(home: Home) -> str | None:
    with contextlib.suppress(FileNotFoundError):
        return (home.snapshots / "current").read_text(encoding="utf-8").strip()
    return None


def _every_log(home: Home) -> list[Path]:
    return [home.feature_log, *home.feature_log.parent.glob(f"{home.feature_log.name}.*")]


def tidy(home: Home, retention_days: int) -> tuple[int, int]:
    """Delete log files past their retention and item snapshots that nothing needs; returns how many of each.

    The logs of worlds before, which `mlsd data` set aside as `feature_log.1` and so on, go by the same rule.
    A snapshot stays while it is the current one, a file of the log or a batch names it, or it is younger than a day:
    a process may be answering from it whose records are not written yet.
    """
    files = sum(delete_expired(folder, retention_days) for folder in _every_log(home))
    current = _current(home)
    if current is None:
        return files, 0
    needed = {current} | _named_by_log(home.feature_log) | _named_by_batch(home)
    old = [
        folder
        for folder in home.snapshots.iterdir()
        if folder.is_dir() and folder.name not in needed and time.time() - folder.stat().st_mtime > DAY_S
    ]
    for folder in old:
        shutil.rmtree(folder, ignore_errors=True)
    return files, len(old)
