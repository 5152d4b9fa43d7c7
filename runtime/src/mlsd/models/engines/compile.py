"""`python -m mlsd.models.engines.compile TEXT SHA256 ENGINES NICENESS`: compile one model's trees on its own.

Exit code 0: the object lies there and equals LightGBM; 2: these trees cannot be compiled, with the reason in one line.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np

from mlsd.core.errors import UserError
from mlsd.models.bundle import ModelRefused, sha256
from mlsd.models.engines import objects
from mlsd.models.engines.base import EQUAL, NOT_NEEDED, EngineUnavailable, hidden
from mlsd.models.engines.compiled import Compiled
from mlsd.models.engines.native import LightGbm
from mlsd.models.engines.trees_text import plain, probe


def _make(text: str, digest: str, folder: Path) -> None:
    with hidden(NOT_NEEDED):
        import lleaves
    told = folder / "told.txt"
    told.write_text(plain(text), encoding="utf-8")
    started = time.monotonic()
    lleaves.Model(str(told)).compile(cache=str(folder / objects.OBJECT), raw_score=True)
    seconds = time.monotonic() - started
    rows = probe(text)
    raw = LightGbm(text, threads=1).raw(rows)
    difference = float(np.abs(Compiled(told, folder / objects.OBJECT).raw(rows) - raw).max())
    if not difference <= EQUAL:
        raise EngineUnavailable(f"compiled trees differ from LightGBM by {difference:g}, not used")
    told.unlink()
    np.savez(folder / objects.PROBE, rows=rows, raw=raw)
    objects.describe(folder, digest, difference, seconds)


def run(path: Path, digest: str, engines: Path) -> None:
    """Compile the model text at `path`, unless that is done.

    Raises:
        ModelRefused: the text is not the one with this digest.
        EngineUnavailable: it cannot be compiled, or what came out does not equal LightGBM.
    """
    content = path.read_bytes()
    if sha256(content) != digest:
        raise ModelRefused(f"{path}: sha256 is not {digest[:12]}..., not compiled")
    with objects.making(engines, digest) as folder:
        try:
            objects.verified(engines, digest)
        except EngineUnavailable:
            _make(content.decode(), digest, folder)


def main() -> int:
    """The process."""
    path, digest, engines, niceness = sys.argv[1:]
    os.nice(int(niceness))
    try:
        run(Path(path), digest, Path(engines))
    except (UserError, OSError, ImportError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
