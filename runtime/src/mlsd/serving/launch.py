"""How a slot's model server is started: BentoML on 127.0.0.1, its workers told which release to serve."""

import os
import sys
from pathlib import Path

import mlsd
from mlsd.core.home import Home
from mlsd.design.design import Design, design_path, load_design
from mlsd.models import packs
from mlsd.models.release import ALLOW_FAULTS, RELEASE, SLOT, WORKERS, Release
from mlsd.serving.faults import faults_file

KEEP_ALIVE_S = (
    75  # longer than the proxy in front keeps an idle connection, so that it never sends on one we just closed
)
LEAVE_S = 8  # less than whoever stops the process waits before SIGKILL, so that its log is written


def command(design: Design, port: int, pack: str | None = None) -> list[str]:
    """The arguments of the process; it listens on `127.0.0.1:port`. `pack`: default the one that the design names."""
    target = f"{pack or design.problem}.service:SERVICE"
    place = ["--host", "127.0.0.1", "--port", str(port)]
    limits = ["--timeout-keep-alive", str(KEEP_ALIVE_S), "--timeout-graceful-shutdown", str(LEAVE_S)]
    return [sys.executable, "-m", "bentoml", "serve", target, *place, *limits]


def environment(home: Home, slot: str, release: Release, *, allow_faults: bool = False) -> dict[str, str]:
    """Variables to add to the process's environment.

    The pack that the model was trained with comes first on the Python path, before the one that lies in the project.
    Each slot has a BentoML home of its own: BentoML empties the folder of its metrics at start.
    """
    own = home.run / f"bentoml-{slot}"
    own.mkdir(parents=True, exist_ok=True)
    faults_file(home, slot).unlink(missing_ok=True)  # of an earlier release; a worker that is restarted keeps its own
    own_pack = packs.kept(home, Path(release.model_dir))
    path = [*([str(own_pack)] if own_pack else []), str(Path(mlsd.__file__).parents[1])]
    path += filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return {
        "MLSD_HOME": str(home.root),
        "MLSD_DESIGN": str(design_path()),
        SLOT: slot,
        WORKERS: str(load_design().serving.workers),
        RELEASE: release.model_dump_json(),
        ALLOW_FAULTS: "1" if allow_faults else "0",
        "BENTOML_HOME": str(own),
        "BENTOML_DO_NOT_TRACK": "True",
        # Its tracing costs 0.15 ms of an answer, and nobody is told the spans.
        "BENTOML_CONFIG_OPTIONS": "tracing.excluded_urls=/rank",
        "TMPDIR": str(own),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # a helper of one prediction must not spin on a core until the next
    }
