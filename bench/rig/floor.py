"""The floor: `Booster.predict(num_threads=1)` alone in a process, on the very matrices that the servers assemble.

`python -m rig.floor MODEL MATRICES SECONDS` prints its percentiles as JSON.
"""

import gc
import json
import sys
import time
from pathlib import Path

import numpy as np
from lightgbm import Booster

from rig.client import percentiles

if __name__ == "__main__":
    booster = Booster(model_str=Path(sys.argv[1]).read_text(encoding="utf-8"))
    matrices = np.load(sys.argv[2])
    gc.collect()
    gc.freeze()
    took: list[float] = []
    warm_until = time.perf_counter() + 0.3
    until = warm_until + float(sys.argv[3])
    while (started := time.perf_counter()) < until:
        booster.predict(matrices[len(took) % len(matrices)], num_threads=1)
        ended = time.perf_counter()
        if started > warm_until:
            took.append(ended - started)
    print(json.dumps({"predictions": len(took), "rps": len(took) / sum(took), **percentiles(took)}))
