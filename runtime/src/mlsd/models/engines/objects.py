"""Compiled trees on disk: one folder per model and machine, made here from the verified text and checked before use.

Native code is never downloaded: the folder is this user's alone, and an object of another machine has another name.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError

from mlsd.core import arrays
from mlsd.core.home import write_json
from mlsd.models.bundle import sha256
from mlsd.models.engines.base import EQUAL, EngineUnavailable
from mlsd.models.engines.object_record import OWN, Record, place, toolchain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

OBJECT, PROBE, RECORD = "forest.o", "probe.npz", "record.json"


def _require_own(engines: Path) -> None:
    found = engines.stat()
    if found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise EngineUnavailable(f"{engines}: others may write here, so native code in it is not loaded; chmod 700 it")


def _verified(path: Path, expected: str) -> bytes:
    content = path.read_bytes()
    if sha256(content) != expected:
        raise EngineUnavailable(f"{path}: damaged or altered, not loaded")
    return content


def verified(engines: Path, model_sha256: str) -> tuple[Path, NDArray[np.float32], NDArray[np.float64]]:
    """A model's object, if it is the one that was compiled here, with the rows and LightGBM's raw scores to try it by.

    Returns:
        Path of the object, rows [n, F], raw scores [n].

    Raises:
        EngineUnavailable: there is none, or it is damaged, altered or somebody else's.
    """
    folder = place(engines, model_sha256)
    try:
        _require_own(engines)
        record = Record.model_validate_json((folder / RECORD).read_bytes())
        _verified(folder / OBJECT, record.object_sha256)
        _verified(folder / PROBE, record.probe_sha256)
        probe = arrays.read_all(folder / PROBE)
        rows, raw = probe["rows"], probe["raw"]
    except FileNotFoundError as error:
        raise EngineUnavailable(f"{error.filename}: not compiled yet") from None
    except (OSError, ValidationError, ValueError, KeyError) as error:
        raise EngineUnavailable(f"{folder}: not readable: {' '.join(str(error).split())[:200]}") from None
    if record.model_sha256 != model_sha256 or record.max_difference > EQUAL:
        raise EngineUnavailable(f"{folder / RECORD}: of another model, not loaded")
    return folder / OBJECT, rows, raw


@contextmanager
def making(engines: Path, model_sha256: str) -> Iterator[Path]:
    """A new folder that becomes the model's place on success; one process at a time, the others wait."""
    engines.mkdir(mode=OWN, parents=True, exist_ok=True)
    _require_own(engines)
    final = place(engines, model_sha256)
    with final.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with tempfile.TemporaryDirectory(dir=engines, prefix=".making-") as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            yield made
            if (made / RECORD).exists():
                shutil.rmtree(final, ignore_errors=True)
                made.replace(final)


def describe(folder: Path, model_sha256: str, max_difference: float, seconds: float) -> None:
    """Write the record, which comes last: a folder without one counts as empty."""
    record = Record(
        model_sha256=model_sha256,
        object_sha256=sha256((folder / OBJECT).read_bytes()),
        probe_sha256=sha256((folder / PROBE).read_bytes()),
        toolchain=toolchain(),
        max_difference=max_difference,
        seconds=seconds,
    )
    write_json(folder / RECORD, record.model_dump())
