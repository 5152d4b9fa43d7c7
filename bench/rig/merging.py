"""Would it pay to score waiting requests together? Predict of 1, 2, 4 and 8 requests' rows in one call, per request.

`python -m rig.merging WORLD RELEASE ENGINE...` prints JSON. This is the most that adaptive batching could win: the call
alone, without the time that a request waits for others to be merged with.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from mlsd.core.home import Home
from mlsd.models.release import Release
from mlsd.models.selection import load_engine

MERGED = (1, 2, 4, 8)
CALLS = 120


def main(root: Path, release: Release, engines: list[str]) -> dict[str, Any]:
    """Milliseconds per request by engine and by how many requests share a call."""
    matrices = np.load(root / "matrices.npy")
    found: dict[str, Any] = {}
    for engine in engines:
        bundle = load_engine(engine, Path(release.model_dir), release.model_digest, Home(root))
        rows = {count: [np.concatenate(matrices[k : k + count]) for k in range(0, 16, count)] for count in MERGED}
        taken: dict[int, list[float]] = {count: [] for count in MERGED}
        for turn in range(CALLS):
            for count in MERGED:
                matrix = rows[count][turn % len(rows[count])]
                started = time.perf_counter()
                bundle.score(matrix)
                taken[count].append((time.perf_counter() - started) / count * 1e3)
        found[engine] = {str(count): statistics.median(each) for count, each in taken.items()}
    return found


if __name__ == "__main__":
    told = Release.model_validate_json(sys.argv[2])
    print(json.dumps(main(Path(sys.argv[1]), told, sys.argv[3:])))
