"""The stack as users meet it: the template's Envoy in front of two slots."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import psutil

from mlsd.core.errors import UserError
from mlsd.core.home import Home
from mlsd.delivery.edge.routing import Traffic
from mlsd.delivery.releases.records import Release as Ledgered
from mlsd.design.design import load_design
from mlsd.local import envoy, processes
from mlsd.local.ports import COUNT, Ports, find_ports, require_free
from mlsd.local.target import LocalTarget, process_name
from mlsd.serving import launch
from rig.client import Job
from rig.contestants import WHOLE, bodies
from rig.world import World

Slot = Literal["a", "b"]


def _free_ports() -> Ports:
    for first in random.sample(range(20_000, 32_000, COUNT), 100):
        try:
            for port in range(first, first + COUNT):
                require_free(port, "bench")
        except UserError:
            continue
        os.environ["MLSD_PORT"] = str(first)
        return find_ports()
    raise OSError("no five free ports in a row")


@dataclass
class Edge:
    """A running stack, and when it was swapped (seconds of `time.perf_counter`)."""

    world: World
    target: LocalTarget
    ports: Ports
    slot: Slot = "a"
    stretches: list[tuple[float, float]] = field(default_factory=list)

    def job(self, seconds: float, connections: int, **more: Any) -> Job:
        """A job for the client, through Envoy."""
        return Job(self.ports.edge, "/rank", str(bodies(self.world)), seconds, connections, full=WHOLE, **more)

    def swap(self, release_id: int) -> None:
        """Start the next release in the other slot, send everyone there, end the one before."""
        began = time.perf_counter()
        following: Slot = "b" if self.slot == "a" else "a"
        self.target.start(following, Ledgered(id=release_id), allow_faults=False)
        self.target.router.apply(Traffic(following))
        self.target.stop(self.slot)
        self.slot = following
        self.stretches.append((began, time.perf_counter()))

    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        found = []
        leader = processes.find(self.world.home, process_name(self.slot))
        for each in leader.children(recursive=True) if leader else ():
            with suppress(psutil.NoSuchProcess):
                if "worker" in " ".join(each.cmdline()):
                    found.append(each)
        return found


@contextmanager
def edge(world: World, engine: str, workers: int) -> Iterator[Edge]:
    """Envoy and one model server in slot a."""
    home: Home = world.home
    path = world.design(engine=engine, workers=workers, popular_cache__when="never")
    os.environ |= {"MLSD_DESIGN": str(path), "MLSD_HOME": str(home.root)}
    design, ports = load_design(path), _free_ports()
    told = world.release(min(world.size.trees))

    def arguments(slot: Slot, port: int, release: Ledgered, allow_faults: bool) -> tuple[list[str], dict[str, str]]:
        pinned = told.model_copy(update={"release_id": release.id})
        return launch.command(design, port), launch.environment(home, slot, pinned, allow_faults=allow_faults)

    stack = Edge(world, LocalTarget(design, home, ports, arguments), ports)
    try:
        stack.target.start("a", Ledgered(id=1), allow_faults=False)
        envoy.start(design, home, ports, Traffic("a"))
        yield stack
    finally:
        processes.stop_all(home, first=[envoy.NAME])
