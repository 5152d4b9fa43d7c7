"""Planted faults: one release made sick, to see a rollout catch it. Off unless the process was started for that."""

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mlsd.core.home import Home, replacing
from mlsd.models.release import ALLOW_FAULTS, SLOT

Milliseconds = Annotated[float, Field(ge=0, le=60_000, allow_inf_nan=False)]


class Faults(BaseModel):
    """What is wrong with this process on purpose."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    slow_ms: Milliseconds = 0.0  # answers come so much later
    hang_ms: Milliseconds = 0.0  # the scorer hangs for so long
    invert: bool = False
    error: bool = False


HEALTHY = Faults()


def allowed() -> bool:
    """Whether this process may be made sick; never the default."""
    return os.environ.get(ALLOW_FAULTS) == "1"


def faults_file(home: Home, slot: str) -> Path:
    """Where all workers of a slot find what is wrong with them."""
    return home.run / f"faults-{slot}.json"


class FaultBoard:
    """The faults in force, the same in every worker of a slot, also in one that started later."""

    def __init__(self, path: Path | None) -> None:
        """`path` None: never any fault, and no file is looked at."""
        self._path = path
        self._read_at, self._faults = (-1, -1), HEALTHY

    @classmethod
    def of(cls, home: Home) -> "FaultBoard":
        """This process's, by its environment."""
        return cls(faults_file(home, os.environ.get(SLOT, "a")) if allowed() else None)

    @property
    def allowed(self) -> bool:
        """Whether faults may be planted here."""
        return self._path is not None

    def now(self) -> Faults:
        """What is wrong at this moment."""
        if self._path is None:
            return HEALTHY
        try:
            found = self._path.stat()
            changed = (found.st_mtime_ns, found.st_ino)
            if changed != self._read_at:
                self._faults = Faults.model_validate_json(self._path.read_bytes())
                self._read_at = changed
        except FileNotFoundError:
            self._faults, self._read_at = HEALTHY, (-1, -1)
        return self._faults

    def plant(self, faults: Faults) -> None:
        """Make every worker of the slot sick from its next request on, where that is allowed."""
        if self._path is not None:
            with replacing(self._path) as file:
                file.write_text(faults.model_dump_json(), encoding="utf-8")


NO_FAULTS = FaultBoard(None)
