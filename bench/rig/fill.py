"""Materialise the world once more, into the store that `$MLSD_REDIS_URL` names.

`python -m rig.fill WORLD DESIGN SIZE`
"""

import json
import os
import sys
from datetime import datetime
from pathlib import Path

from bench_pack.problem import PROBLEM
from mlsd.core.home import Home
from mlsd.design.design import load_design
from mlsd.features.materialise import materialise
from mlsd.features.snapshot import current
from mlsd.problem.context import Context
from rig.world import Size, frames


def main(root: Path, design: Path, size: Size) -> None:
    """The same rows, of the same time."""
    home = Home(root / "redis" / "home")
    os.environ["MLSD_HOME"] = str(home.root)
    at: datetime = current(Home(root)).written_at
    materialise(Context.of(load_design(design), home, PROBLEM), frames(size, at), end=at, now=at)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Size(**json.loads(sys.argv[3])))
