"""A real BentoML process with a small real model, for the tests of the serving path."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from mlsd.bundle import Calibration, Manifest, save_bundle, sha256
from mlsd.design import Design
from mlsd.features.snapshot import Snapshot, current
from mlsd.home import Home
from mlsd.problem import Problem
from mlsd.serving.launch import command, environment
from mlsd.serving.release import Release

START_S = 40


def train(home: Home, design: Design, problem: Problem, version: int = 1, **changes: Any) -> Release:
    """A boosted model on rows of the snapshot, bundled as the registry would lay it down."""
    import lightgbm

    rng = np.random.default_rng(version)
    items = current(home).columns[rng.integers(len(current(home).ids), size=4000)]
    users = np.abs(rng.normal(problem.user_defaults, 2.0, (4000, len(problem.user_columns)))).astype(np.float32)
    context = problem.context(np.full(4000, "2026-01-05T10:00", "datetime64[us]"), np.full(4000, "mobile"))
    matrix = problem.assemble(users, items, context)
    label = (problem.popularity(items) + rng.normal(0, 0.1, 4000) > 0.5).astype(int)
    booster = lightgbm.train({"objective": "binary", "verbose": -1, "num_threads": 1}, lightgbm.Dataset(matrix, label), 30)
    text = booster.model_to_string()
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    content = {
        "family": "boosted_trees",
        "objective": "binary",
        "feature_names": list(problem.feature_names),
        "feature_service": design.features.service,
        "user_columns": list(problem.user_columns),
        "item_columns": list(problem.item_columns),
        "model_file": "model.txt",
        "model_sha256": sha256(text.encode()),
        "calibration": Calibration(a=1.5, b=-0.5),
        "created_at": moment,
        "train_window": (moment, moment),
        "tables_digest": "0" * 12,
        "design_digest": design.digest,
        "code_version": "test",
        "metrics": {},
        "reference": {},
    }
    digest = save_bundle(home.models / "new", Manifest.model_validate(content | changes), text)
    folder = home.models / f"{version}-{digest[:12]}"
    shutil.rmtree(folder, ignore_errors=True)
    (home.models / "new").rename(folder)
    return Release(release_id=version + 10, model_version=version, model_dir=str(folder), model_digest=digest)


@dataclass(frozen=True)
class Server:
    """A running model server."""

    url: str
    process: psutil.Popen
    log: Path
    home: Home
    release: Release

    @property
    def worker(self) -> psutil.Process:
        """The process that answers; its parent is BentoML's supervisor."""
        return next(child for child in self.process.children() if "worker" in " ".join(child.cmdline()))

    def rank(self, content: Any, **headers: str) -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(f"{self.url}/rank", content=body, headers=names, timeout=10)

    def metrics(self) -> dict[str, float]:
        lines = httpx.get(f"{self.url}/metrics").text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}


def _answers(url: str) -> int:
    with suppress(httpx.HTTPError):
        return httpx.get(url, timeout=0.5).status_code
    return 0


@contextmanager
def running(home: Home, design: Design, release: Release, port: int, *, allow_faults: bool = False) -> Iterator[Server]:
    """Start a server, wait until it is alive, stop all its processes at the end."""
    log = home.logs / f"server-{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    extra = environment(home, "a" if port % 2 else "b", release, allow_faults=allow_faults)
    with log.open("wb") as output:
        argv = command(design, port)
        process = psutil.Popen(argv, env=os.environ | extra, stdout=output, stderr=output, start_new_session=True)
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + START_S
        while _answers(f"{url}/livez") != 200:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield Server(url, process, log, home, release)
    finally:
        stop(process)


def stop(process: psutil.Popen) -> None:
    """SIGTERM to the supervisor, SIGKILL to what is left of its session."""
    with suppress(psutil.NoSuchProcess):
        process.terminate()
    with suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def candidates(snapshot: Snapshot, count: int, seed: int = 0) -> list[int]:
    """Different item ids that the snapshot knows."""
    found: list[int] = np.random.default_rng(seed).choice(snapshot.ids, count, replace=False).tolist()
    return found
