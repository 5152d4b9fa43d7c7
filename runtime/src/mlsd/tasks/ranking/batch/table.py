"""Precomputed rankings, as they lie on disk: one record per user in a memory map, found by its id in microseconds."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from mlsd.core import arrays
from mlsd.core.errors import UserError
from mlsd.core.home import Home, replacing

KEPT = 2  # runs of one model: the one in use, and the one a process may still be reading
ABANDONED_S = 86_400


class Meta(BaseModel):
    """What a run rests on; whoever has it can replay every score."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_version: int
    model_digest: str
    engine: str
    snapshot_version: str
    written_at: datetime  # the moment that every score is for, on the world's clock
    item_age_s: float  # of the snapshot at that moment
    context: list[float]  # [K]
    views: list[str]
    user_columns: list[str]
    reasons: list[list[str]]  # ways in which a user's values were not what they should be
    top: int
    pool: int


def user_record(meta: Meta) -> np.dtype[np.void]:
    """One user: which reasons, whether the popular items answered, ages [V], values [U], best scores and places."""
    return np.dtype(
        [
            ("reasons", np.uint16),
            ("popular", np.bool_),
            ("ages_s", np.float64, (len(meta.views),)),
            ("row", np.float32, (len(meta.user_columns),)),
            ("scores", np.float64, (meta.top,)),
            ("places", np.uint32, (meta.pool,)),  # in `items`, best first
        ]
    )


@dataclass(frozen=True)
class Table:
    """One run: user ids [N] ascending, a record per user, the ids [M] of the items that were scored."""

    meta: Meta
    ids: NDArray[np.int64]
    users: NDArray[np.void]
    items: NDArray[np.int64]  # the most popular first

    @classmethod
    def load(cls, folder: Path) -> "Table":
        """Map a run's files.

        Raises:
            UserError: absent, incomplete or damaged.
        """
        try:
            meta = Meta.model_validate_json((folder / "meta.json").read_bytes())
            ids, items = arrays.read(folder / "ids.npy", mapped=True), arrays.read(folder / "items.npy")
            users = np.memmap(folder / "users.bin", user_record(meta), "r")
        except FileNotFoundError as error:
            raise UserError(f"{error.filename}: not found; run `mlsd batch` first") from None
        except (ValueError, ValidationError, TypeError) as error:
            raise UserError(f"{folder}: damaged ({str(error).splitlines()[0]}); run `mlsd batch` again") from None
        if len(users) != len(ids):
            raise UserError(f"{folder}: found {len(users)} records of {len(ids)} users; run `mlsd batch` again")
        return cls(meta, ids, users, items)

    def find(self, user_id: int) -> Any | None:
        """The record of a user, None for one that the run did not know."""
        place = int(np.searchsorted(self.ids, user_id))
        return self.users[place] if place < len(self.ids) and self.ids[place] == user_id else None


def model_folder(home: Home, model_version: int, model_digest: str) -> Path:
    """Where the runs of one model lie: answers of another model are never taken for its own."""
    return home.batch / f"{model_version}-{model_digest[:12]}"


def current(home: Home, model_version: int, model_digest: str) -> Path | None:
    """The newest complete run of a model."""
    folder = model_folder(home, model_version, model_digest)
    with suppress(FileNotFoundError):
        return folder / (folder / "current").read_text(encoding="utf-8").strip()
    return None


@contextmanager
def new_run(home: Home, model_version: int, model_digest: str, name: str) -> Iterator[Path]:
    """A folder to fill; on success it becomes the model's current run at once, on failure nothing is left of it."""
    parent = model_folder(home, model_version, model_digest)
    parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=parent, prefix=".new-"))
    try:
        yield temporary
        temporary.chmod(0o755)
        shutil.rmtree(parent / name, ignore_errors=True)
        temporary.rename(parent / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    with replacing(parent / "current") as pointer:
        pointer.write_text(name, encoding="utf-8")
    _delete_old(parent, name)


def _made_at(run: Path) -> float:
    try:
        return (run / "meta.json").stat().st_mtime
    except FileNotFoundError:  # another process deletes as well
        return 0.0


def forget_before(home: Home, moment: datetime) -> None:
    """Delete the runs of models whose last one is older: too old to be served again."""
    for folder in home.batch.glob("[0-9]*-*"):
        runs = [meta.parent.name for meta in folder.glob("[!.]*/meta.json")]
        if not runs or max(runs) < run_name(moment, ""):
            shutil.rmtree(folder, ignore_errors=True)


def run_name(at: datetime, snapshot_version: str) -> str:
    """Names of runs sort by their moment."""
    return f"{at:%Y%m%dT%H%M%S%f}-{snapshot_version}"


def _delete_old(parent: Path, now: str) -> None:
    """Runs that newer ones have replaced, and what a killed run has left of itself.

    The names say nothing about which is newer: a synthetic world's clock goes back when it is made anew.
    """
    others = [meta.parent for meta in parent.glob("[!.]*/meta.json") if meta.parent.name != now]
    runs = [*sorted(others, key=_made_at), parent / now]
    left = [path for path in parent.glob(".new-*") if time.time() - path.stat().st_mtime > ABANDONED_S]
    for old in (*runs[:-KEPT], *left):
        shutil.rmtree(old, ignore_errors=True)
