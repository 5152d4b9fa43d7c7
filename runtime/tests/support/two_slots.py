"""A stack of two slots with real model servers behind the real Envoy, for tests that hurt it."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from mlsd.core.home import Home
from mlsd.delivery.edge.routing import Slot
from mlsd.delivery.releases.records import Model, Release
from mlsd.design.design import Design
from mlsd.local import processes
from mlsd.local.ports import Ports
from mlsd.local.target import LocalTarget, process_name
from mlsd.models import release as serving
from support.miniature import ListedModels


class Trained(ListedModels):
    """Models that were trained here."""

    def __init__(self, releases: list[serving.Release]) -> None:
        super().__init__()
        self._releases = {release.model_version: release for release in releases}

    def describe(self, version: int) -> Model:
        return Model(version, self._releases[version].model_digest, "ranking_v1", "test")

    def folder(self, release: Release) -> Path:
        return Path(self._releases[release.model_version].model_dir)


@dataclass
class Stack:
    """Release 1 in slot a is champion, release 2 runs in slot b; Envoy is in front of them."""

    home: Home
    target: LocalTarget
    design: Design
    ports: Ports
    asked: list[bytes]

    def ask(self, number: int) -> bytes:
        """Candidates for some user with a history."""
        return self.asked[number % len(self.asked)]

    def plant(self, slot: Slot, **faults: float) -> None:
        httpx.put(f"http://127.0.0.1:{self.ports.slot(slot)}/faults", json=faults, timeout=30).raise_for_status()

    def workers(self, slot: Slot) -> set[int]:
        """Processes that answer; their parent only starts them."""
        leader = processes.find(self.home, process_name(slot))
        assert leader is not None
        found = set()
        for child in leader.children(recursive=True):
            with suppress(psutil.Error):  # it has just ended
                if any("worker" in part for part in child.cmdline()):
                    found.add(child.pid)
        return found
