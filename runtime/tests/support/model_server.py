"""A real BentoML process with a small real model, for the tests of the serving path."""

import json
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.design.design import Design
from mlsd.evaluation.calibration import Calibration
from mlsd.features.online_stores.sqlite import table_name
from mlsd.features.snapshot import Snapshot, current, write
from mlsd.features.values import entity_key
from mlsd.local.ports import require_free
from mlsd.models.bundle import Manifest, save_bundle, sha256
from mlsd.models.release import WORKERS, Release
from mlsd.problem.problem import Problem
from mlsd.serving.launch import command, environment

START_S = 200
ANSWER_S = 30  # a late answer is for the tests to judge, by bounds of their own
STOP_S = 60


def store_users(home: Home, design: Design, problem: Problem, users: int, at: datetime) -> None:
    """Random users in Feast's own format (test_online.py proves it); user k has k % 40 interactions.

    Without a write-ahead log, so that a writer can lock readers out.
    """
    rng = np.random.default_rng(0)
    home.feast.mkdir(parents=True, exist_ok=True)
    stored = at.replace(tzinfo=None).timestamp()
    with sqlite3.connect(home.online_store) as connection:
        for view, columns in problem.user_views.items():
            table = table_name(design.name, view)
            connection.execute(
                f"CREATE TABLE {table} (entity_key BLOB, feature_name TEXT, value BLOB, vector_value BLOB,"
                "event_ts timestamp, created_ts timestamp, PRIMARY KEY(entity_key, feature_name))"
            )
            for user in range(1, users + 1):
                values = np.abs(rng.normal(size=len(columns))).astype(np.float32)
                values[[name == "user_interactions" for name in columns]] = user % 40
                rows = [
                    (entity_key("user_id", user), name, b"\x35" + struct.pack("<f", value), None, stored, stored)
                    for name, value in zip(columns, values, strict=True)
                ]
                connection.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.close()


def store_items(home: Home, problem: Problem, items: int, at: datetime) -> None:
    """Random items as a snapshot, ids from 1."""
    columns = np.abs(np.random.default_rng(1).normal(size=(items, len(problem.item_columns)))).astype(np.float32)
    write(home, np.arange(1, items + 1), columns, tuple(problem.item_columns), at)


def train(home: Home, design: Design, problem: Problem, version: int = 1, **changes: Any) -> Release:
    """A boosted model on rows of the snapshot, bundled as the registry would lay it down."""
    import lightgbm

    rng = np.random.default_rng(version)
    items = current(home).columns[rng.integers(len(current(home).ids), size=4000)]
    users = np.abs(rng.normal(problem.user_defaults, 2.0, (4000, len(problem.user_columns)))).astype(np.float32)
    context = problem.context(np.full(4000, "2026-01-05T10:00", "datetime64[us]"), np.full(4000, "mobile"))
    matrix = problem.assemble(users, items, context)
    label = (problem.popularity(items) + rng.normal(0, 0.1, 4000) > 0.5).astype(int)
    settings = {"objective": "binary", "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(settings, lightgbm.Dataset(matrix, label), 30)
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
        return self.workers[0]

    @property
    def workers(self) -> list[psutil.Process]:
        """All of them that live."""
        found = []
        for child in self.process.children():
            with suppress(psutil.NoSuchProcess):  # a zombie has no command line
                if "worker" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def rank(self, content: Any, **headers: str) -> httpx.Response:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(f"{self.url}/rank", content=body, headers=names, timeout=ANSWER_S)

    def metrics(self) -> dict[str, float]:
        lines = httpx.get(f"{self.url}/metrics", timeout=ANSWER_S).text.splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}


def _answers(url: str) -> int:
    with suppress(httpx.HTTPError):
        return httpx.get(url, timeout=5).status_code
    return 0


def _free_port() -> int:
    for port in random.sample(range(32_000, 32_700), 100):  # below the range that the system hands out
        with suppress(UserError):
            require_free(port, "test")
            return port
    raise AssertionError("no free port")


@contextmanager
def running(
    home: Home,
    design: Design,
    release: Release,
    slot: str = "b",
    *,
    faults: bool = False,
    under: Sequence[str] = (),
    workers: int = 1,
) -> Iterator[Server]:
    """Start a server, wait until it is alive, stop all its processes at the end; one at a time per slot.

    `under` is a command that prepares something and then becomes the server.
    """
    port, log = _free_port(), home.logs / f"server-{slot}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    described = home.root / "design.json"  # JSON is YAML
    described.write_text(design.model_dump_json(), encoding="utf-8")
    extra = environment(home, slot, release, allow_faults=faults)
    extra |= {"MLSD_DESIGN": str(described), WORKERS: str(workers)}
    with log.open("wb") as output:
        argv = [*under, *command(design, port)]
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
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def candidates(snapshot: Snapshot, count: int, seed: int = 0) -> list[int]:
    """Different item ids that the snapshot knows."""
    found: list[int] = np.random.default_rng(seed).choice(snapshot.ids, count, replace=False).tolist()
    return found


def asked(server: Server, user: int, count: int = 300, seed: int = 0) -> dict[str, object]:
    return {"user_id": user, "candidates": candidates(current(server.home), count, seed), "device": "mobile"}


def faults(server: Server, **wanted: object) -> int:
    return httpx.put(f"{server.url}/faults", json=wanted, timeout=ANSWER_S).status_code
