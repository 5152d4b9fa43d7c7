"""Score every user of the world in one batch: `python -m rig.batch_run WORLD DESIGN RELEASE ENGINE` prints JSON."""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench_pack.problem import PROBLEM
from mlsd.core.home import Home
from mlsd.design.design import load_design
from mlsd.features.snapshot import current
from mlsd.models.release import Release
from mlsd.models.selection import load_engine
from mlsd.problem.context import Context
from mlsd.tasks.ranking.batch.run import Model, write


def peak_mb() -> float:
    """Largest resident size of this process; `ru_maxrss` would count the parent's, whose copy a child starts as."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6


def main(root: Path, design_file: Path, release: Release, engine: str) -> dict[str, Any]:
    """Scores a second, reading and writing included, and the process's largest size."""
    os.environ["MLSD_HOME"] = str(root)
    home = Home(root)
    bundle = load_engine(engine, Path(release.model_dir), release.model_digest, home)
    model = Model(release.model_version, bundle)
    found = write(Context.of(load_design(design_file), home, PROBLEM), model, current(home), datetime.now(UTC))
    return {
        "engine": engine,
        "users": found.users,
        "scores": found.scores,
        "seconds": found.seconds,
        "scores_a_second": found.per_second,
        "grown_mib": found.grown_mib,
        "peak_mb": peak_mb(),
    }


if __name__ == "__main__":
    told = Release.model_validate_json(sys.argv[3])
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), told, sys.argv[4])))
