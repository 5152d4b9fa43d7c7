"""Delivery in miniature: the real Envoy, ledger and processes around the small model server of `upstream.py`."""

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.delivery.edge.routing import Slot
from mlsd.delivery.releases.ledger import Ledger
from mlsd.delivery.releases.records import Model, Release
from mlsd.design.design import Design
from mlsd.local import stack
from mlsd.local.ports import COUNT, Ports, find_ports, require_free
from mlsd.local.target import LocalTarget
from mlsd.registry.trainings import newest
from support.trained import trained

UPSTREAM = Path(__file__).with_name("upstream.py")
CANDIDATES = list(range(1, 41))
LOST = 0  # in place of a status code: no answer at all


@dataclass
class ListedModels:
    """Models by number; no registry."""

    known: dict[int, str] = field(default_factory=lambda: {1: "one", 2: "two", 3: "three"})
    waiting: int | None = 2
    refused: list[int | None] = field(default_factory=list)

    def challenger(self) -> int | None:
        return self.waiting

    def describe(self, version: int) -> Model:
        if version not in self.known:
            raise UserError(f"version {version} is not registered")
        return Model(version, self.known[version] * 8, "ranking_v1", "test")

    def folder(self, release: Release) -> Path:
        return Path("/nowhere") / str(release.model_version)

    def is_cached(self, release: Release) -> bool:
        return True

    def mirror(self, ledger: Ledger, keep: int, refused: int | None) -> str:
        self.refused.append(refused)
        return "mirrored"


@dataclass
class Miniature:
    """A stack with one champion, release 1 on model 1; `limits` plants crashes by model version."""

    design: Design
    home: Home
    limits: dict[int, dict[str, int]] = field(default_factory=dict)
    models: ListedModels = field(default_factory=ListedModels)

    @property
    def ports(self) -> Ports:
        return find_ports()

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.home.releases_db)

    @property
    def target(self) -> LocalTarget:
        return LocalTarget(self.design, self.home, self.ports, self._launch)

    def _launch(self, slot: Slot, port: int, release: Release, allow_faults: bool) -> tuple[list[str], dict[str, str]]:
        told = {
            "release_id": release.id,
            "model_version": release.model_version,
            "model_dir": str(self.models.folder(release)),
            "model_digest": release.model_digest,
        }
        limits = json.dumps(self.limits.get(release.model_version, {}))
        env = {"MLSD_SLOT": slot, "MLSD_RELEASE": json.dumps(told), "TEST_LIMITS": limits}
        return [sys.executable, str(UPSTREAM), str(port)], env

    def up(self) -> None:
        if newest(self.home) is None:
            trained(self.home)
        stack.start(self.design, self.home, self.target, self.models, [])

    def rank(self, user: str | None = None) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=10) as client:
            return ask(client, self.ports, user)

    @contextmanager
    def load(self, rps: float = 120.0) -> Iterator["Load"]:
        load = Load(self.ports, rps)
        try:
            yield load
        finally:
            load.end()


def first_free_port() -> int:
    """The first of five free ports in a row, below the range that the system hands out."""
    for first in random.sample(range(20_000, 32_000, COUNT), 100):
        try:
            for port in range(first, first + COUNT):
                require_free(port, "test")
        except UserError:
            continue
        return first
    raise AssertionError("no five free ports in a row")


def ask(client: httpx.Client, ports: Ports, user: str | None) -> httpx.Response:
    headers = {"x-user-id": user} if user is not None else {}
    body = {"user_id": 1, "candidates": CANDIDATES}
    return client.post(f"{ports.edge_url}/rank", headers=headers, json=body)


class Load:
    """Requests of many users in the background, at a steady rate."""

    def __init__(self, ports: Ports, rps: float) -> None:
        self.codes: Counter[int] = Counter()
        self.versions: Counter[int] = Counter()
        self._begun: list[tuple[float, int]] = []
        self._ports, self._period = ports, 1.0 / rps
        self._next, self._lock, self._stop = 0, threading.Lock(), threading.Event()
        self._began = time.monotonic()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(16)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        with httpx.Client(trust_env=False, timeout=10) as client:
            while not self._stop.is_set():
                with self._lock:
                    number = self._next
                    self._next += 1
                time.sleep(max(0.0, self._began + number * self._period - time.monotonic()))
                begun = time.monotonic()
                try:
                    answer = ask(client, self._ports, f"user-{number}")
                except httpx.TransportError:
                    with self._lock:
                        self.codes[LOST] += 1
                    continue
                with self._lock:
                    self.codes[answer.status_code] += 1
                    if answer.status_code == 200:
                        version = int(answer.headers["x-mlsd-model-version"])
                        self.versions[version] += 1
                        self._begun.append((begun, version))

    def since(self, moment: float) -> Counter[int]:
        """Versions that answered what was asked after that moment of time.monotonic."""
        with self._lock:
            return Counter(version for begun, version in self._begun if begun > moment)

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)
