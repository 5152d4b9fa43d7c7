"""How each contestant is started: the same model, the same candidates, the same client."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mlsd.core.home import Home
from mlsd.design.design import load_design
from mlsd.serving.launch import command, environment
from rig.processes import Server, child, free_port, serve
from rig.world import World

WHOLE = '"degraded":[]'
# Side by side every answer is computed in full: nothing pruned, nothing refused, nothing from the cache.
UNSHED: dict[str, Any] = {
    "admission__max_queue_ms": 9_900,  # the patient design's whole budget is 10 s
    "admission__prune_queue_ms": 9_800,
    "popular_cache__when": "never",
}


def bodies(world: World) -> Path:
    """The file with one request a line."""
    path = world.home.root / "bodies.jsonl"
    path.write_text("\n".join(json.dumps(request) for request in world.requests()), encoding="utf-8")
    return path


def floor(world: World, trees: int, seconds: float) -> dict[str, Any]:
    """Percentiles of the bare predict."""
    matrices = world.home.root / "matrices.npy"
    if not matrices.exists():
        np.save(matrices, np.stack(world.matrices()))
    model = world.home.root / f"model-{trees}.txt"
    found: dict[str, Any] = child(["rig.floor", str(model), str(matrices), str(seconds)])
    return found


@contextmanager
def ours(
    world: World,
    trees: int,
    engine: str,
    *,
    log: bool = True,
    slot: str | None = None,
    workers: int = 1,
    of: int | None = None,
    shed: bool = False,
    redis_url: str | None = None,
    **serving: Any,
) -> Iterator[Server]:
    """The template's own server: so many workers, each with its share of the cores among `of` of them (all of them).

    It reads its users from the Redis at `redis_url`, or from the file. `shed` leaves its protection as designed,
    `serving` changes fields of that section.
    """
    changed = ({} if shed else UNSHED) | {"engine": engine, "workers": of or workers} | serving
    design_file = world.design(patient=not shed, store="redis" if redis_url else "sqlite", **changed)
    kind = f"{'' if log else '-nolog'}{f'-of-{of}' if of else ''}"
    port, name = free_port(), f"ours-{engine}-{trees}{kind}"
    slot = slot or name  # each server has a BentoML folder of its own
    told = os.environ | environment(world.home, slot, world.release(trees)) | {"MLSD_REDIS_URL": redis_url or ""}
    told |= {"MLSD_DESIGN": str(design_file), "MLSD_WORKERS": str(workers), "BENCH_FEATURE_LOG": "on" if log else "off"}
    argv = command(load_design(design_file), port)
    output = world.home.logs / f"{slot}.log"
    with serve(
        name, argv, told, port, output, path="/rank", bodies=bodies(world), ready="/readyz", full=WHOLE
    ) as server:
        yield server


def _surroundings(world: World, trees: int, home: Home) -> dict[str, str]:
    own = world.home.root / "run"
    own.mkdir(exist_ok=True)
    return os.environ | {
        "BENCH_WORLD": str(world.home.root),
        "BENCH_FEAST": str(home.feast),
        "BENCH_FEATURE_SERVICE": load_design(world.design()).features.service,
        "BENCH_TREES": str(trees),
        "BENTOML_HOME": str(own),
        "BENTOML_DO_NOT_TRACK": "True",
        "OMP_NUM_THREADS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


@contextmanager
def plain(world: World, kind: str, trees: int, home: Home | None = None) -> Iterator[Server]:
    """Another contestant: bentoml_feast, bentoml_memory, fastapi_feast or mlflow_model."""
    port, env = free_port(), _surroundings(world, trees, home or world.home)
    asked, path, ready = bodies(world), "/rank", "/livez"
    place = ["--host", "127.0.0.1", "--port", str(port)]
    if kind == "fastapi_feast":
        argv = ["uvicorn", f"plain.{kind}:app", *place, "--no-access-log"]
    elif kind == "mlflow_model":
        asked, path, ready = _invocations(world), "/invocations", "/ping"
        argv = ["mlflow", "models", "serve", "-m", str(_saved(world, env)), "--env-manager", "local", "-h", "127.0.0.1"]
        argv += ["-p", str(port), "-w", "1"]
    else:
        argv, ready = ["bentoml", "serve", f"plain.{kind}:Ranker", *place], "/readyz"
    output = world.home.logs / f"{kind}-{trees}.log"
    with serve(kind, [sys.executable, "-m", *argv], env, port, output, path=path, bodies=asked, ready=ready) as server:
        yield server


def _invocations(world: World) -> Path:
    path = world.home.root / "invocations.jsonl"
    path.write_text("\n".join(json.dumps({"dataframe_records": [each]}) for each in world.requests()), encoding="utf-8")
    return path


def _saved(world: World, env: dict[str, str]) -> Path:
    """The model as MLflow keeps it."""
    folder = world.home.root / "mlflow-model"
    if not folder.exists():
        code = Path(__file__).parents[1] / "plain" / "mlflow_model.py"
        save = (
            "import sys, mlflow; mlflow.pyfunc.save_model(sys.argv[1], python_model=sys.argv[2], pip_requirements=[])"
        )
        subprocess.run([sys.executable, "-c", save, str(folder), str(code)], env=env, check=True, capture_output=True)
    return folder
